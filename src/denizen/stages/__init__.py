"""The steps of a run; they never import one another and meet in tables."""
