"""Types, tables, formats and stages: no torch, no network, nothing from above."""
