"""One setting of a command: its default, its help, its bounds, and how a value is checked against them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import field
from typing import Any, Literal, get_args, get_origin

from denizen.core.errors import InputError


def setting(
    default: Any, help: str, *, least: float | None = None, most: float | None = None, metavar: str | None = None
) -> Any:
    """A dataclass field with what the command line says of it and the bounds of its values."""
    return field(default=default, metadata={"help": help, "least": least, "most": most, "metavar": metavar})


def check(spec: dataclasses.Field[Any], hint: Any, value: Any) -> None:
    """Checks a value against its type and bounds.

    Raises:
        InputError: Naming the value and what it may be.
    """
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise InputError(f"{spec.name} is {value!r}; it must be one of {list(get_args(hint))}")
        return
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
            raise InputError(f"{spec.name} is {value!r}; it must be a list of texts")
        return
    fits = (int, float) if hint is float else hint
    if not isinstance(value, fits) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{spec.name} is {value!r}; it must be of type {hint.__name__}")
    # nan is neither below nor above any bound
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{spec.name} is {value}; it must be a finite number")
    least, most = spec.metadata["least"], spec.metadata["most"]
    if (least is not None and value < least) or (most is not None and value > most):
        limit = f"at least {least:.12g}" if most is None else f"between {least:.12g} and {most:.12g}"
        raise InputError(f"{spec.name} is {value}; it must be {limit}")
