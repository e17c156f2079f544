"""The libraries that read and clean files: only the extra `ingest` brings them."""

from __future__ import annotations

import importlib.util

from denizen.engine.errors import InputError

# the packages of the extra in pyproject.toml, by the names under which they are imported
LIBRARIES = (
    "defusedxml",
    "ftfy",
    "lxml",
    "lxml_html_clean",
    "markdown_it",
    "openpyxl",
    "phonenumbers",
    "py3langid",
    "pypdf",
    "pypdfium2",
    "trafilatura",
)


def check_libraries() -> None:
    """Makes sure that files can be read, before the first of them fails.

    Raises:
        InputError: Naming the libraries that are missing.
    """
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"reading files needs {', '.join(missing)}: pip install 'denizen[ingest]'")
