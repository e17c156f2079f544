"""How good a retriever is, how sure that is, and what may not get worse."""
