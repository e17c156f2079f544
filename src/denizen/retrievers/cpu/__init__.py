"""Kernels that make encoding and search fast on a plain processor."""
