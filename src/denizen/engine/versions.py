"""Which version of a package works here."""

from __future__ import annotations

import importlib.metadata


def installed(package: str) -> str:
    """The version of a package; "none" where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
