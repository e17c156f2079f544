"""A query that was written and is not judged yet: what synthesis makes and filters look at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Written:
    """A query that was written.

    Attributes:
        text: The query.
        domain: The domain of its passage.
        split: The side of its documents.
        origin: Its style, or persona, or log.
        sources: The passages that it was written for; none for what a persona asks.
    """

    text: str
    domain: str
    split: str
    origin: str
    sources: tuple[str, ...] = ()
