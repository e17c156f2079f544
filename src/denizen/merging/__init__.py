"""Models between a base and what was trained from it."""
