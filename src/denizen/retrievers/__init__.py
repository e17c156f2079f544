"""What can be searched: bi-encoders, BM25, and what is made of several of them."""
