"""What is loaded and called: encoders, their digests, losses."""
