"""Answers of language models: who gives them, what they are worth, and which expert is asked."""
