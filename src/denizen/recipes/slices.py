"""What the slices of `experts` are made of: read, guarded among each other, searched by the base, learnt from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from denizen.data.artifacts import Examples, Model, Run, Table
from denizen.data.formats import read_source
from denizen.data.formats.rows import TABLES
from denizen.data.formats.slices import read_slices
from denizen.data.formats.source import Source
from denizen.data.guard import Guarded, guard
from denizen.data.pooled import draw
from denizen.data.prepare import Given, Labelled, given_by
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError, LeakError
from denizen.engine.pipeline import Pipeline
from denizen.engine.settings import Seeded
from denizen.measuring.slices import DevPart, part_of_dev
from denizen.measuring.students import look
from denizen.recipes.experts_config import ExpertsConfig
from denizen.retrievers.index import Index, embed
from denizen.supervision.supervision import Round, Texts

# what a folder of a run can be called on any file system
_NO_NAME = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Slice:
    """One slice, ready to be learnt from.

    Attributes:
        texts: What is worked on.
        index: What has embedded it with the base.
        found: What the base finds for its training queries.
        dev: The part of its dev side by which merges are measured.
    """

    texts: Texts
    index: Index
    found: Run
    dev: DevPart

    @property
    def tables(self) -> dict[str, Table]:
        """Passages, queries and labels, as inputs of steps."""
        return {"corpus": self.texts.corpus, "queries": self.texts.queries, "qrels": self.texts.pairs}


def given_slices(config: ExpertsConfig, out: Path) -> dict[str, Given]:
    """Name of each slice to how it is read; in the order of names, whatever that of the sources is.

    Raises:
        InputError: When there are fewer than two slices, or two of one name.
    """
    if len(config.sources) > 1:
        called = [(source, _stem(source)) for source in config.sources]
        named = {name: _given(source, config.skip_bad_rows, out) for source, name in _apart(called).items()}
        return dict(sorted(named.items()))
    (source,) = config.sources
    found = read_slices(source, config.slices, config.skip_bad_rows)
    names = _apart([(value, value) for value in found])
    if len(names) < 2:
        raise InputError(
            f"{source} has one slice only, {next(iter(names), '')!r} in every row of {config.slices!r}; at least two "
            "are needed: name another column with --slices, give several sources, or use denizen adapt"
        )
    return {name: _read(found[value]) for value, name in sorted(names.items(), key=lambda item: item[1])}


def _given(source: str, skip_bad_rows: bool, out: Path) -> Given:
    return given_by(lambda: read_source(source, skip_bad_rows), source, out)


def _read(source: Source) -> Given:
    return given_by(lambda: source, source)


def _stem(source: str) -> str:
    """What a source is called: its folder, or its file without what says of which kind it is."""
    name = Path(source).expanduser().resolve().name
    endings = sorted((f"{kind}{packed}" for kind in TABLES for packed in ("", ".gz")), key=len, reverse=True)
    return next((name.removesuffix(ending) for ending in endings if name.endswith(ending)), name)


def _apart(called: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each thing to a name that a folder can have.

    Raises:
        InputError: When two things have the same name.
    """
    found: dict[str, str] = {}
    for what, name in called:
        short = _NO_NAME.sub("-", name).strip("-.") or "slice"
        if clash := next((other for other, taken in found.items() if taken.lower() == short.lower()), None):
            raise InputError(
                f"{clash!r} and {what!r} would both be the slice {short!r}; rename one of them, or leave it out"
            )
        found[what] = short
    return found


def guarded(run: Pipeline, config: ExpertsConfig, given: Mapping[str, Given]) -> tuple[dict[str, Labelled], Guarded]:
    """Step corpus of each slice, and the guard among them.

    Raises:
        InputError: When a slice cannot be divided; it is named.
        LeakError: When the splits of one leak, or slices into one another.
    """
    made = {}
    for name, its in given.items():
        with run.scope("slices"), run.scope(name):
            try:
                made[name] = config.supervision.read(run, its)
            except (InputError, LeakError) as error:
                raise type(error)(f"slice {name!r}: {error}") from error
    return made, run(guard, config.supervision.data, slices=made)


def searched(
    run: Pipeline, config: ExpertsConfig, base: Model, made: Mapping[str, Labelled], kept: Guarded
) -> dict[str, Slice]:
    """Steps dev-part, embeddings and run of each slice: none of them depends on another slice."""
    slices = {}
    for name, its in made.items():
        queries = kept.queries(name)
        texts = Texts(its, its.corpus, queries, its.qrels, queries, test_queries=queries, labels=its.qrels)
        about = {"corpus": its.corpus, "queries": queries}
        with run.scope("slices"), run.scope(name):
            dev = run(part_of_dev, config.dev_size, qrels=its.qrels, **about)
            index = run(embed, config.encoding, model=base, **about)
            found = run(look, config.searching, model=base, index=index, splits=Value(["train"]), **about)
        slices[name] = Slice(texts, index, found, dev)
    return slices


def examples_of(run: Pipeline, config: ExpertsConfig, base: Model, its: Slice) -> Examples:
    """Steps candidates and examples of a slice, and drawn where an expert may not see all of them."""
    now = Round(0, 1, base, its.index, its.found)
    seen = config.supervision.look(run, its.texts, now, [])
    if seen.examples is None:
        raise TypeError("a round that is learnt from has examples")
    if config.most_examples is None:
        return seen.examples
    return run(draw, Seeded(config.seed), examples=seen.examples, most=Value(config.most_examples))
