"""Whole runs, each readable as its pipeline from top to bottom."""
