"""The step that decides what a run ends with: the best student, a merge of it with the base, or the base.

probes, the items that may decide -> change against the base
inside the limit: the student is taken; outside: merges of base and students are searched; none inside: the base is
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.artifacts import Corpus, Documents, Folds, Judgments, Model, Qrels, Queries, Run
from denizen.data.tables import read_table, write_table
from denizen.engine.artifact import Value
from denizen.engine.files import json_digest, read_json, write_json
from denizen.engine.settings import Seeded, setting
from denizen.engine.step import Context, step
from denizen.measuring import forgetting
from denizen.measuring.crossfit import in_folds
from denizen.measuring.forgetting import Change
from denizen.measuring.probes import Probe, Probes, RetrievalProbe
from denizen.measuring.students import Choice, Deciding, Pool, proven, put_model
from denizen.merging.methods import merge
from denizen.merging.search import Candidate, Point, recommended, search
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.hybrid import FUSED_DEPTH
from denizen.retrievers.index import Index
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.store import take_in
from denizen.retrievers.windows import reader


@dataclass(frozen=True)
class Gating(Seeded):
    """How much may be forgotten, and how long a merge is searched that forgets less."""

    panel = "Proof"

    # half a point is what a reader of a leaderboard would not call a loss, and about what 500 queries can show
    forgetting_limit: float = setting(
        0.005,
        "How far the mean nDCG@10 of the general sets, and of the neighbours, may fall, and MRR@5 on an earlier test.",
        least=0,
        most=1,
    )
    # two guesses find the weight in most cases, five more try the other methods where they could gain anything
    merge_evaluations: int = setting(
        9, "Merges with the base that are measured where the limit is broken; 0: none.", least=0, most=1000
    )


def _planned(params: Gating, *, sets: Mapping[str, Value], **inputs: Any) -> dict[str, Any]:
    return {"merges": params.merge_evaluations if sets else 0}


@step(version=5, makes=Choice, name="gate", plan=_planned)
def gate(  # noqa: PLR0913
    out: Path,
    params: Gating,
    ctx: Context,
    *,
    choice: Choice,
    students: Sequence[Model],
    indexes: Sequence[Index],
    runs: Sequence[Run],
    corpus: Corpus,
    queries: Queries,
    qrels: Qrels,
    sets: Mapping[str, Value],
    merging: Value,
    documents: Documents | None = None,
    judgments: Judgments | None = None,
    held_out: Sequence[Run] | None = None,
    folds: Folds | None = None,
    fold_students: Sequence[Sequence[Model]] | None = None,
) -> dict[str, Any]:
    """Takes the student that was chosen, or searches a merge of the base and all students that keeps the limit.

    The probes come with the context, `sets` is what those come from. What falls clearly on the first queries of a set
    is not measured on the others. The domain is asked as when the student was chosen: on dev, or by cross-fitting, for
    which the students of each fold are merged alike. The model goes to `model`, what was measured to points.json; the
    scratch folder holds what a stopped search has measured.
    """
    deciding = Deciding.of(queries, qrels, corpus, judgments, crossfit=held_out is not None)
    looked = [run.table for run in runs]
    pool = Pool(corpus.table, documents.table if documents else None, qrels.table, looked, FUSED_DEPTH)
    parts = [*in_folds(queries, folds)] if folds else [(0, queries.of("dev"))]
    tested = [run.table for run in held_out or runs]
    domain = _Domain(deciding, pool, parts, fold_students or [students[1:]])
    found = _Search(params, ctx, choice, students, indexes, domain, tested).points()
    taken = next((point for point in found if point["chosen"]), None)
    merged = ctx.scratch / "taken"
    best = choice.best if taken else 0
    if merged.is_dir():
        shutil.copytree(merged, out / "model")
        shutil.copyfile(ctx.scratch / "taken.parquet", out / "run.parquet")
    else:
        put_model(students[best], out)
        write_table(out / "run.parquet", tested[best])
    shutil.copyfile(indexes[best].path / "encoder.json", out / "encoder.json")
    write_json(out / "points.json", found)
    return {"best": choice.best, "chosen": taken["name"] if taken else "base", "met": taken is not None}


@dataclass(frozen=True)
class _Domain:
    """What decides in the domain, and how a merge is asked.

    Attributes:
        deciding: The queries.
        pool: What is searched for them.
        parts: Number and rows of each part of the queries: the folds, or all of dev.
        students: For each part the students of all rounds that have not seen it.
    """

    deciding: Deciding
    pool: Pool
    parts: Sequence[tuple[int, list[dict[str, Any]]]]
    students: Sequence[Sequence[Model]]


@dataclass(frozen=True)
class _Search:
    """The search for a merge; `tested` is what base and students have found for the queries that decide."""

    params: Gating
    ctx: Context
    choice: Choice
    students: Sequence[Model]
    indexes: Sequence[Index]
    domain: _Domain
    tested: Sequence[pa.Table]

    def points(self) -> list[dict[str, Any]]:
        """All that was measured, the base first, with the one that is taken marked; a merge lies in `taken`."""
        params, best, rounds = self.params, self.choice.best, len(self.students) - 1
        start = self._point("base", {probe.name: Change(probe.role, 0.0) for probe in self._probes}, self.tested[0])
        changes, items = self._changes(self.indexes[best].model(self.students[best], self.ctx[Encoders]))
        student = self._point(f"round {best}", changes, self.tested[best], items)
        self._note(student)
        must_prove = bool(self.choice.facts["decided"]["must_prove"])

        def gains(point: Point) -> bool:
            if must_prove:
                return self._better(point, start)
            return (point.domain or 0.0) > (start.domain or 0.0)

        def enough(point: Point) -> bool:
            return gains(point) and not self._better(student, point)

        merged = search(self._measure, student, best, rounds, params.merge_evaluations, params.seed, enough)
        proven_of = (lambda values: proven(values, self.domain.deciding.groups)[0]) if must_prove else None
        taken = student if student.inside else recommended(merged, proven_of)
        if taken is not None and taken is not student and not gains(taken):
            # a merge that gains nothing is no cure
            taken = None
        if taken is not None and taken.candidate is not None:
            self._keep(taken.candidate)
        return [{**point.as_dict(), "chosen": point is taken} for point in (start, student, *merged)]

    @property
    def _probes(self) -> Sequence[Probe]:
        return self.ctx[Probes].search

    def _before(self, probe: Probe) -> dict[str, float]:
        """The base's values on a probe."""
        if probe.name not in self._measured_base:
            self._measured_base[probe.name] = probe.values(self._base)
        return self._measured_base[probe.name]

    @cached_property
    def _measured_base(self) -> dict[str, dict[str, float]]:
        return {}

    @cached_property
    def _screens(self) -> dict[str, tuple[RetrievalProbe, dict[str, float]]]:
        """Name of a probe to a small one, and the base's values there."""
        screens = {probe.name: probe.screen(self._base) for probe in self._probes if isinstance(probe, RetrievalProbe)}
        return {name: (small, small.values(self._base)) for name, small in screens.items() if small is not None}

    @property
    def _base(self) -> BiEncoder:
        return self.indexes[0].model(self.students[0], self.ctx[Encoders])

    def _changes(self, model: Retriever) -> tuple[dict[str, Change], int]:
        """What a model loses on each probe, and on how many items that was measured."""
        limit, screened = self.params.forgetting_limit, {}
        items = 0
        for probe in self._probes:
            if probe.name in self._screens:
                small, before = self._screens[probe.name]
                screened[probe.name] = forgetting.change(probe.role, before, small.values(model))
                items += len(before)
        # of a role all sets must have been asked before it can have failed
        whole = {probe.role for probe in self._probes if probe.name not in screened}
        falls = forgetting.clearly_outside([each for each in screened.values() if each.role not in whole], limit)
        found = dict(screened) if falls else {}
        for probe in self._probes:
            if probe.name not in found:
                before = self._before(probe)
                found[probe.name] = forgetting.change(probe.role, before, probe.values(model))
                items += len(before) if falls else 0
        return found, items if falls else sum(len(self._before(probe)) for probe in self._probes)

    def _measure(self, candidate: Candidate) -> Point:
        folder = self._folder(candidate)
        measured = read_json(folder / "measured.json")
        if measured is None:
            shutil.rmtree(folder, ignore_errors=True)
            self._merge(candidate, self.students[0], self.students[1:], folder / "model")
            model = BiEncoder(folder / "model", self._base.encoding, Encoders(folder / "store"))
            changes, items = self._changes(model)
            if forgetting.slack(changes.values(), self.params.forgetting_limit) >= 0:
                write_table(folder / "run.parquet", self._asked(candidate, model, folder))
            else:
                shutil.rmtree(folder / "store", ignore_errors=True)
            measured = {"changes": {name: asdict(change) for name, change in changes.items()}, "items": items}
            write_json(folder / "measured.json", measured)
        changes = {name: Change(**change) for name, change in measured["changes"].items()}
        path = folder / "run.parquet"
        run = read_table(path, "run") if path.is_file() else None
        point = self._point(candidate.name, changes, run, measured["items"], candidate)
        self._note(point)
        return point

    def _asked(self, candidate: Candidate, whole: BiEncoder, folder: Path) -> pa.Table:
        """What the merge finds for the queries that decide; with folds, by students that have not seen them."""
        domain, found = self.domain, []
        for number, rows in domain.parts:
            model = whole
            if len(domain.students) > 1:
                part = folder / f"fold-{number}"
                self._merge(candidate, self.students[0], domain.students[number], part)
                model = BiEncoder(part, whole.encoding, Encoders(folder / "folds"))
            read = reader(model, self.indexes[candidate.rounds[0]].reading)
            found.append(domain.pool.search(read, rows, self.ctx.progress))
            for used in ("folds", f"fold-{number}"):
                shutil.rmtree(folder / used, ignore_errors=True)
        return pa.concat_tables(found)

    def _folder(self, candidate: Candidate) -> Path:
        return self.ctx.scratch / json_digest(candidate.name)[:16]

    def _merge(self, candidate: Candidate, base: Model, students: Sequence[Model], folder: Path) -> None:
        models = [students[number - 1].path for number in candidate.rounds]
        merge(base.path, models, candidate.recipe).save_pretrained(str(folder), create_model_card=False)

    def _keep(self, candidate: Candidate) -> None:
        """Puts a merge where it is taken from, and what it has embedded into the store: the test embeds the same."""
        folder, store = self._folder(candidate), self.ctx[Encoders].store
        shutil.rmtree(self.ctx.scratch / "taken", ignore_errors=True)
        shutil.copytree(folder / "model", self.ctx.scratch / "taken")
        shutil.copyfile(folder / "run.parquet", self.ctx.scratch / "taken.parquet")
        for embedded in (folder / "store").glob("*"):
            take_in(store, embedded, self.ctx.scratch.name)

    def _point(
        self,
        name: str,
        changes: Mapping[str, Change],
        run: pa.Table | None,
        items: int = 0,
        candidate: Candidate | None = None,
    ) -> Point:
        values = None if run is None else self.domain.deciding.values(run)
        return Point(name, values, changes, self.params.forgetting_limit, items, candidate)

    def _better(self, first: Point, second: Point) -> bool:
        if first.values is None or second.values is None:
            return first.values is not None
        return proven([second.values, first.values], self.domain.deciding.groups)[0] == 1

    def _note(self, point: Point) -> None:
        changes = ", ".join(f"{name} {change.value:+.4f}" for name, change in point.changes.items())
        verdict = "inside" if point.inside else "outside"
        domain = "" if point.domain is None else f"MRR@5 {point.domain:.3f}, "
        measure = ", ".join(dict.fromkeys(probe.measure for probe in self._probes))
        self.ctx.progress.say(f"  {point.name}: {domain}{measure} {changes} of {point.items:,} ({verdict})")
