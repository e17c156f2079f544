"""Settings: each with its default, help and bounds, checked when they are made, composed, and shown as JSON keeps them.

The settings of a step stand in a frozen dataclass beside it, a subclass of `Params`. A command's settings are a
dataclass of such parts; outside they have one flat name each, and a name that several parts have means the same in all.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

from denizen.engine.errors import InputError

P = TypeVar("P", bound="Params")


def setting(default: Any, help: str, *, least: float | None = None, most: float | None = None, **shown: str) -> Any:
    """A dataclass field with what the command line says of it and the bounds of its values.

    Args:
        default: Its default; MISSING: it has none.
        help: What it does.
        least: The lowest value.
        most: The highest value.
        shown: `metavar`, `panel` where it is not that of its class, `flag` where its name is no name in Python.
    """
    return field(default=default, metadata={"help": help, "least": least, "most": most, **shown})


@dataclass(frozen=True)
class Params:
    """Settings that are checked when they are made.

    Attributes:
        panel: How the command line's help groups them.
        effect: Whether they decide what comes out, and not only where and how it is worked on.
    """

    panel: ClassVar[str] = ""
    effect: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks every value.

        Raises:
            InputError: When one is of another type or out of its bounds.
        """
        hints = get_type_hints(type(self))
        for spec in dataclasses.fields(self):
            if spec.metadata:
                object.__setattr__(self, spec.name, _checked(spec, hints[spec.name], getattr(self, spec.name)))

    @classmethod
    def of(cls: type[P], values: Mapping[str, Any]) -> P:
        """Fills all parts from flat names; what is not among them has its default."""
        found: dict[str, Any] = {}
        hints = get_type_hints(cls)
        for spec in dataclasses.fields(cls):
            if not spec.metadata:
                found[spec.name] = hints[spec.name].of(values)
            elif spec.name in values:
                found[spec.name] = values[spec.name]
        return cls(**found)

    def as_dict(self) -> dict[str, Any]:
        """Flat names to values, as JSON keeps them."""
        found: dict[str, Any] = {}
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, Params):
                found |= value.as_dict()
            else:
                found[spec.name] = list(value) if isinstance(value, tuple) else value
        return found


@dataclass(frozen=True)
class Seeded(Params):
    """Settings of what draws at random."""

    panel = "Model and data"

    seed: int = setting(42, "Seed of every random choice.", least=0, most=2**31)


@dataclass(frozen=True)
class Setting:
    """A setting by its flat name.

    Attributes:
        owner: The class that declares it.
        spec: Its field.
        hint: Its type.
    """

    owner: type[Params]
    spec: dataclasses.Field[Any]
    hint: Any

    @property
    def name(self) -> str:
        """Its flat name."""
        return self.spec.name

    @property
    def panel(self) -> str:
        """How the command line's help groups it."""
        return str(self.spec.metadata.get("panel", self.owner.panel))

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.spec.default is MISSING


def settings_of(*kinds: type[Params]) -> dict[str, Setting]:
    """Flat name to setting for some classes and all of their parts, in order; the first of a name counts."""
    found: dict[str, Setting] = {}
    for kind in kinds:
        for each in _walk(kind):
            found.setdefault(each.name, each)
    return found


def _walk(kind: type[Params]) -> Iterator[Setting]:
    hints = get_type_hints(kind)
    for spec in dataclasses.fields(kind):
        if spec.metadata:
            owner = next(each for each in kind.__mro__ if spec.name in vars(each).get("__annotations__", ()))
            yield Setting(owner, spec, hints[spec.name])
        else:
            yield from _walk(hints[spec.name])


def check_names(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Makes sure that every name is known.

    Raises:
        InputError: Naming those that are not.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InputError(f"unknown settings {unknown}; there are {sorted(known)}")


def _checked(spec: dataclasses.Field[Any], hint: Any, value: Any) -> Any:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise InputError(f"{spec.name} is {value!r}; it must be one of {list(get_args(hint))}")
        return value
    if get_origin(hint) is tuple:
        # JSON has lists only
        if not isinstance(value, tuple | list) or not all(isinstance(item, str) for item in value):
            raise InputError(f"{spec.name} is {value!r}; it must be a list of texts")
        return tuple(value)
    fits = (int, float) if hint is float else hint
    if not isinstance(value, fits) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{spec.name} is {value!r}; it must be of type {hint.__name__}")
    # nan is neither below nor above any bound
    if hint is float and not abs(value) <= sys.float_info.max:
        raise InputError(f"{spec.name} is {value}; it must be a finite number")
    least, most = spec.metadata["least"], spec.metadata["most"]
    if (least is not None and value < least) or (most is not None and value > most):
        limit = f"at least {least:.12g}" if most is None else f"between {least:.12g} and {most:.12g}"
        raise InputError(f"{spec.name} is {value}; it must be {limit}")
    # 2 and 2.0 are one value, and JSON writes them differently
    return float(value) if hint is float else value
