"""Settings, steps, artifacts, progress and errors; no word of the field, no torch, no network."""
