"""Routers: which domains a query belongs to, how sure that is, and where it is better not to say."""
