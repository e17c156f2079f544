"""A step is a function, and its fingerprint is the call.

    @step(version=1, makes=Run)
    def search(out: Path, params: Searching, ctx: Context, *, model: Model, corpus: Corpus) -> dict[str, Any]: ...

The function writes its files into `out` and may return facts. What decides the result stands in `params` and in the
digests of the inputs; `ctx` has what does not. What goes beyond one try, such as checkpoints, lives in `ctx.scratch`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from denizen.engine.artifact import Artifact, Input, digests, leaves
from denizen.engine.files import json_digest
from denizen.engine.progress import Progress, Silent
from denizen.engine.settings import Params

A = TypeVar("A", bound=Artifact)
T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """What a step works with and what does not decide its result.

    Attributes:
        progress: What a person sees.
        place: Where the step stands in the run, such as round-0/run.
        scratch: A folder that is kept until the step has ended, also when it is stopped or cut off by a limit.
        resources: Type to an object of it: a client, a cache, a limit on memory.
    """

    progress: Progress = field(default_factory=Silent)
    place: str = ""
    scratch: Path = Path()
    resources: Mapping[type, Any] = field(default_factory=dict)

    def __getitem__(self, kind: type[T]) -> T:
        if kind not in self.resources:
            raise TypeError(f"{self.place or 'a step'} needs a {kind.__name__}, and the run has none")
        found: T = self.resources[kind]
        return found

    def get(self, kind: type[T]) -> T | None:
        """A resource; None where the run has none."""
        return self.resources.get(kind)


@dataclass(frozen=True)
class Partial:
    """What a step returns that a limit has cut off.

    Attributes:
        facts: As of any step.
        lacks: What is missing, by reason: the step is entered again when the run's limits have changed.
    """

    facts: Mapping[str, Any]
    lacks: Mapping[str, Any]


Plan = Callable[..., Mapping[str, Any]]


class Step(Generic[A]):
    """A function with what the pipeline has to know of it.

    Args:
        function: `name(out, params, ctx, *, inputs...)`, at the top level of its module.
        version: Raised by hand when the code changes what it writes.
        makes: What its folder is.
        name: What its folder is called; None: as the function.
        plan: `plan(params, **inputs)` gives the facts that can be said before it is done.
        local: Whether what it makes is for this run and machine alone, so that no store shares it.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        version: int,
        makes: type[A],
        name: str | None = None,
        plan: Plan | None = None,
        local: bool = False,
    ) -> None:
        self.function = function
        self.version = version
        self.makes = makes
        self.name = name or function.__name__
        self.plan = plan
        self.local = local
        self.origin: Step[A] | None = None
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__qualname__ = function.__qualname__

    def __call__(self, out: Path, params: Params, ctx: Context, **inputs: Any) -> Any:
        """Does the work, without a pipeline."""
        return self.function(out, params, ctx, **inputs)

    def named(self, name: str) -> Step[A]:
        """The same work under another name, for a second call beside the first."""
        found = Step(self.function, self.version, self.makes, name, self.plan, self.local)
        found.origin = self.origin or self
        return found

    def __reduce__(self) -> str | tuple[Any, ...]:
        # by name, as functions are
        return (Step.named, (self.origin, self.name)) if self.origin else self.__qualname__


def step(
    version: int, makes: type[A], *, name: str | None = None, plan: Plan | None = None, local: bool = False
) -> Callable[[Callable[..., Any]], Step[A]]:
    """Marks a function as a step; the arguments are those of `Step`."""
    return lambda function: Step(function, version, makes, name, plan, local)


@dataclass(frozen=True)
class Call(Generic[A]):
    """A step with everything that decides its result.

    Attributes:
        step: What is called.
        params: Its settings.
        inputs: Its artifacts.
    """

    step: Step[A]
    params: Params
    inputs: Mapping[str, Input]

    @cached_property
    def described(self) -> dict[str, Any]:
        """The call as JSON keeps it."""
        return {
            "step": self.step.name,
            "version": self.step.version,
            "params": self.params.as_dict(),
            "inputs": {name: digests(value) for name, value in sorted(self.inputs.items()) if value is not None},
        }

    @cached_property
    def fingerprint(self) -> str:
        """The digest of the call."""
        return json_digest(self.described)

    @cached_property
    def derived(self) -> dict[str, str]:
        """Dotted names of all inputs that follow from earlier steps, and the places of those."""
        return {name: leaf.place for name, leaf in leaves(self.inputs, "inputs").items() if leaf.place}

    def work(self, out: Path, ctx: Context) -> Any:
        """Does it."""
        return self.step(out, self.params, ctx, **self.inputs)
