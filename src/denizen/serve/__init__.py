"""The HTTP server: what a run has measured is what clients get."""
