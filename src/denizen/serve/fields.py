"""What bodies of requests are made of."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import Field

_T = TypeVar("_T")

# one wrong item is enough: a record of each of millions would take minutes and gigabytes
Many = Annotated[list[_T], Field(fail_fast=True)]


def as_text(given: str) -> str:
    """A text that can be written: half of a pair of surrogates, which JSON lets through, is a question mark."""
    return given.encode("utf-8", "replace").decode()
