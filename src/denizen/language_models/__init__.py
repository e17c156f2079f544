"""Language models whose weights are here: found, loaded, read as likelihoods, and asked."""
