"""The instruction before queries: the search for a better one, and its proof."""
