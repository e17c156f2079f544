"""The step that decides what a run ends with: the best student, a merge of it with the base, or the base.

probes, the items that may decide -> change against the base
inside the limit: the student is taken; outside: merges of base and students are searched; none inside: the base is
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.data.artifacts import Corpus, Judgments, Model, Qrels, Queries, Run
from denizen.data.tables import each
from denizen.engine.artifact import Value
from denizen.engine.files import read_json, write_json
from denizen.engine.settings import Seeded, setting
from denizen.engine.step import Context, step
from denizen.measuring import forgetting
from denizen.measuring.probes import Probe, Probes, RetrievalProbe
from denizen.measuring.retrieval_sets import RetrievalSet
from denizen.measuring.students import Choice, answered, put_model
from denizen.merging.methods import merge
from denizen.merging.search import Candidate, Point, recommended, search
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.index import Index
from denizen.retrievers.retriever import Retriever

_DOMAIN = "MRR@5"
# nDCG@10 sees ten ranks; a merge may bring up what stands a little below
_DEPTH = 20


@dataclass(frozen=True)
class Gating(Seeded):
    """How much may be forgotten, and how long a merge is searched that forgets less."""

    panel = "Proof"

    # half a point is what a reader of a leaderboard would not call a loss, and about what 500 queries can show
    forgetting_limit: float = setting(
        0.005, "How far the mean nDCG@10 of the general sets, and of the neighbours, may fall.", least=0, most=1
    )
    # four halvings find the weight to a sixteenth, five more try the other methods
    merge_evaluations: int = setting(
        9, "Merges with the base that are measured where the limit is broken; 0: none.", least=0, most=1000
    )


def _planned(params: Gating, *, corpus: Corpus, sets: Mapping[str, Value], **inputs: Any) -> dict[str, Any]:
    return {"merges": params.merge_evaluations if sets else 0}


@step(version=3, makes=Choice, name="gate", plan=_planned)
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
    judgments: Judgments | None = None,
) -> dict[str, Any]:
    """Takes the student that dev has chosen, or searches a merge of the base and all students that keeps the limit.

    Of the domain, what any of them has found for dev is searched again; where a teacher says what is an answer, what it
    has not graded does not count. The probes come with the context, `sets` is what those come from. The model goes to
    `model`, all that was measured to points.json; the scratch folder holds what a stopped search has measured.
    """
    best, encoders = choice.best, ctx[Encoders]
    asked = queries.texts("dev")
    known = {query_id: asked[query_id] for query_id in answered(queries, qrels)}
    dev = RetrievalSet("dev", "domain", corpus.table, known, qrels.table).narrowed([run.table for run in runs])
    judged = None if judgments is None else frozenset(each(judgments.table, "query_id", "doc_id"))
    domain = RetrievalProbe(dev, _DOMAIN, depth=_DEPTH, judged=judged, progress=ctx.progress)
    base, student = (indexes[number].retriever(students[number], encoders) for number in (0, best))
    probes = [domain, *(_narrowed(probe, base, student) for probe in ctx[Probes].search)]
    before = [probe.values(base) for probe in probes]
    found = _Search(params, ctx, best, students, student, probes, before).points()
    taken = next((point for point in found if point["chosen"]), None)
    merged = ctx.scratch / "taken"
    if merged.is_dir():
        shutil.copytree(merged, out / "model")
    else:
        put_model(students[best if taken else 0], out)
    shutil.copyfile(indexes[best if taken else 0].path / "encoder.json", out / "encoder.json")
    write_json(out / "points.json", found)
    return {"best": best, "chosen": taken["name"] if taken else "base", "met": taken is not None}


def _narrowed(probe: Probe, *models: Retriever) -> Probe:
    return probe.narrowed(models) if isinstance(probe, RetrievalProbe) else probe


@dataclass(frozen=True)
class _Search:
    """The search for a merge; the first of the probes is the domain's dev, and `before` are the base's values."""

    params: Gating
    ctx: Context
    best: int
    students: Sequence[Model]
    student: BiEncoder
    probes: Sequence[Probe]
    before: Sequence[Mapping[str, float]]

    def points(self) -> list[dict[str, Any]]:
        """All that was measured, the base first, with the one that is taken marked; a merge lies in `taken`."""
        most, seed, rounds = self.params.merge_evaluations, self.params.seed, len(self.students) - 1
        start = self._point("base", self.before)
        student = self._point(f"round {self.best}", [probe.values(self.student) for probe in self.probes])
        self._note(student)
        merged = search(self._measure, student, self.best, rounds, most, seed)
        taken = student if student.inside else recommended(merged)
        if taken is not None and taken.domain <= start.domain:
            # a merge that gains nothing is no cure
            taken = None
        if taken is not None and taken.candidate is not None:
            self._merge(taken.candidate, self.ctx.scratch / "taken")
        return [{**point.as_dict(), "chosen": point is taken} for point in (start, student, *merged)]

    def _measure(self, candidate: Candidate) -> Point:
        log = self.ctx.scratch / "measured.json"
        measured = read_json(log) or {}
        values = measured.get(candidate.name)
        if values is None:
            folder = self.ctx.scratch / "candidate"
            shutil.rmtree(folder, ignore_errors=True)
            self._merge(candidate, folder / "model")
            model = BiEncoder(folder / "model", self.student.encoding, Encoders(folder / "store"))
            values = [probe.values(model) for probe in self.probes]
            write_json(log, {**measured, candidate.name: values})
        point = self._point(candidate.name, values, candidate)
        self._note(point)
        return point

    def _merge(self, candidate: Candidate, folder: Path) -> None:
        models = [self.students[number].path for number in candidate.rounds]
        shutil.rmtree(folder, ignore_errors=True)
        merge(self.students[0].path, models, candidate.recipe).save_pretrained(str(folder), create_model_card=False)

    def _point(self, name: str, values: Sequence[Mapping[str, float]], candidate: Candidate | None = None) -> Point:
        changes = {
            probe.name: forgetting.change(probe.role, before, after)
            for probe, before, after in zip(self.probes[1:], self.before[1:], values[1:], strict=True)
        }
        domain = sum(values[0].values()) / len(values[0])
        means = {found: change.value for found, change in changes.items()}
        room = forgetting.slack(changes.values(), self.params.forgetting_limit)
        return Point(name, domain, means, room, candidate)

    def _note(self, point: Point) -> None:
        changes = ", ".join(f"{name} {change:+.4f}" for name, change in point.changes.items())
        verdict = "inside" if point.inside else "outside"
        measure = self.probes[1].measure if len(self.probes) > 1 else ""
        self.ctx.progress.say(f"  {point.name}: dev {_DOMAIN} {point.domain:.3f}, {measure} {changes} ({verdict})")
