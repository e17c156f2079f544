"""Fills the templates of the pages that people read."""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def render(name: str, **values: Any) -> str:
    """A page from the template of that name and the values that it shows; in HTML all of them are escaped."""
    environment = Environment(
        loader=PackageLoader("denizen", "templates"),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(values)


def read_template(name: str) -> str:
    """A file of the templates as it is: a stylesheet, or a script."""
    return (resources.files("denizen") / "templates" / name).read_text(encoding="utf-8")
