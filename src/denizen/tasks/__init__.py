"""What a domain's language model learns to answer: rows that were given, rows that a teacher writes, and pairs."""
