"""Who says what is relevant, and how that becomes training examples."""
