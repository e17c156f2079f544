"""Whole runs, each reading as its pipeline from top to bottom."""
