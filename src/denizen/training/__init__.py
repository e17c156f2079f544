"""Training of models on examples."""
