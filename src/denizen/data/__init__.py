"""Tables, the formats they come from, splits and leaks: what all retrieval starts from."""
