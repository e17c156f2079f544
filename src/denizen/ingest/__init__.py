"""Files of any kind into a clean corpus; tied to the rest by the corpus table alone."""
