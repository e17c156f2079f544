"""Settings of a command: each with its default, help and bounds, filled in, checked, and shown as JSON keeps them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from denizen.engine.errors import InputError


def setting(
    default: Any, help: str, *, least: float | None = None, most: float | None = None, metavar: str | None = None
) -> Any:
    """A dataclass field with what the command line says of it and the bounds of its values."""
    return field(default=default, metadata={"help": help, "least": least, "most": most, "metavar": metavar})


class Settings:
    """What the settings of `adapt` and of `ingest`, frozen dataclasses of `setting` fields, have in common."""

    def _check_names(self, given: Mapping[str, Any]) -> None:
        known = {spec.name for spec in _specs(self)}
        unknown = sorted(set(given) - known)
        if unknown:
            raise InputError(f"unknown settings {unknown}; there are {sorted(known)}")

    def _fill(self, values: Mapping[str, Any]) -> None:
        """Takes the values, and the defaults of what is not among them, each checked."""
        hints = get_type_hints(type(self))
        for spec in _specs(self):
            value = values.get(spec.name, spec.default)
            # JSON has lists only
            value = tuple(value) if isinstance(value, list) else value
            _check(spec, hints[spec.name], value)
            object.__setattr__(self, spec.name, value)

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON keeps them."""
        found = {spec.name: getattr(self, spec.name) for spec in _specs(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    def only(self, *names: str) -> dict[str, Any]:
        """The named settings, for a fingerprint."""
        found = self.as_dict()
        return {name: found[name] for name in names}


def _specs(settings: Settings) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(settings)  # type: ignore[arg-type]


def _check(spec: dataclasses.Field[Any], hint: Any, value: Any) -> None:
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
