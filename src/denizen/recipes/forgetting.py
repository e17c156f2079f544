"""The forgetting gate of a run: what the chosen student lost elsewhere, and the merge that takes it back.

general and neighbour sets, the queries that may decide -> change of nDCG@10 against the base
inside the limit: the student is taken; outside: merges of base and students are searched; none inside: the base is
the queries that measure -> base, adapted and, where it was not taken, the student by itself
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from denizen.engine.stage import write_json
from denizen.measuring import retrieval as evaluation
from denizen.measuring.retrieval_sets import ROLES, Parts, RetrievalSet
from denizen.merging.methods import merge
from denizen.merging.search import Candidate, Point, recommended, search, slack
from denizen.recipes.rounds import Rounds
from denizen.reports.results import installed
from denizen.retrievers.encoder import Encoder
from denizen.retrievers.model_ref import model_digest
from denizen.retrievers.searching import search_with

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_Values = np.ndarray[Any, np.dtype[np.float64]]

MEASURE = "nDCG@10"
_DOMAIN = "MRR@5"
_MEASURES = ("MRR@5", MEASURE)
_DEPTH = 20


@dataclass(frozen=True)
class Choice:
    """Which model a run ends with.

    Attributes:
        folder: The model.
        name: What it is: "base", "round 2", "linear 0.5 of round 2".
        points: What was measured on the way, the base first.
        met: Whether a model that is not the base is inside the limits, or none was asked for.
    """

    folder: Path
    name: str
    points: list[dict[str, Any]]
    met: bool


@dataclass(frozen=True)
class Dev:
    """What the domain is measured on while the gate decides.

    Attributes:
        queries: The dev queries and the passages that base and students find for them.
        judged: Query and passage of all that a teacher has graded; None: relevance comes from labels. What a merge
            brings up and nobody has graded is left out of its ranking: to call it wrong would be to guess.
    """

    queries: RetrievalSet
    judged: frozenset[tuple[str, str]] | None = None


class Gate:
    """Measures forgetting in a run.

    Args:
        rounds: The run.
        sets: General and neighbour sets; none: nothing is measured, and the best student is taken.
    """

    def __init__(self, rounds: Rounds, sets: Sequence[Parts]) -> None:
        self.rounds = rounds
        self.config = rounds.config
        self.progress = rounds.progress
        self.sets = sets
        self._digests = {f"{part.role}:{part.name}": part.digest for part in sets}

    def choose(self, best: int, students: Sequence[Path], dev: Dev, digests: Mapping[str, str]) -> Choice:
        """Stage gate: the model that the run ends with.

        Args:
            best: The round that dev has chosen.
            students: Base and all students.
            dev: The domain's dev queries with the passages that base and students find for them.
            digests: Of the tables that `dev` comes from.
        """
        if best == 0 or not self.sets:
            return Choice(students[best], "base" if best == 0 else f"round {best}", [], met=True)
        inputs = {
            **digests,
            **self._digests,
            "best": str(best),
            **{f"student-{number}": model_digest(folder) for number, folder in enumerate(students)},
        }

        def work(folder: Path) -> dict[str, Any]:
            points = _Search(self, folder, best, students, dev).points()
            write_json(folder / "points.json", points)
            return {"chosen": next((point["name"] for point in points if point["chosen"]), None)}

        names = ("forgetting_limit", "merge_evaluations", "seed", "precision")
        inputs |= {"backend": self.rounds.backend(best), "merging": installed("mergekit")}
        chosen = self.rounds.stage("gate", 2, self.config.only(*names), inputs, work, resumable=True)["facts"]["chosen"]
        points = json.loads((self.rounds.out / "gate/points.json").read_text(encoding="utf-8"))
        if chosen is None:
            return Choice(students[0], "base", points, met=False)
        merged = self.rounds.out / "gate/model"
        return Choice(merged if merged.is_dir() else students[best], chosen, points, met=True)

    def test(self, best: int, systems: Mapping[str, Path]) -> dict[str, Any]:
        """Stage forgetting: the systems, the base first, on the queries that decided nothing.

        Returns:
            Set name to role, counts, means and differences to the base.
        """
        inputs = {**self._digests, **{name: model_digest(folder) for name, folder in systems.items()}}
        inputs["backends"] = f"{self.rounds.backend(0)}, {self.rounds.backend(best)}"

        def work(folder: Path) -> dict[str, Any]:
            found = {}
            for part in self.sets:
                test = part.test
                runs = {}
                for name, model in systems.items():
                    number = 0 if name == "base" else best
                    unit = f"queries of {part.name} by {name}"
                    runs[name] = self.rounds.search(number, model, test.queries, test.corpus, self.config.depth, unit)
                result = evaluation.write_evaluation(
                    folder / part.name, runs, test.qrels, list(test.queries), _MEASURES
                )
                found[part.name] = {"role": part.role, "passages": len(test.corpus), **result}
                change = result["differences"].get("adapted", {}).get(MEASURE, {}).get("value", 0.0)
                self.progress.note(f"{part.name} {MEASURE} {change:+.4f}")
            return {"sets": found}

        facts = self.rounds.stage("forgetting", 1, self.config.only("depth", "precision"), inputs, work)["facts"]
        return dict(facts["sets"])


class _Search:
    """The search for a merge, within the partial folder of stage gate."""

    def __init__(self, gate: Gate, folder: Path, best: int, students: Sequence[Path], dev: Dev) -> None:
        self.gate = gate
        self.config = gate.config
        self.folder = folder
        self.best = best
        self.students = students
        self.backend = gate.rounds.backend(best)
        # what a stopped run has measured
        self.log = folder / "measured.json"
        self.dev = dev
        self.sets = [dev.queries]
        for part in gate.sets:
            found = [self._of_run(number, part.search) for number in (0, best)]
            self.sets.append(part.search.narrowed(found))
        self.before = [self._values(self._of_run(0, found), found) for found in self.sets]

    def points(self) -> list[dict[str, Any]]:
        """All that was measured, the base first, with the one that is taken marked; its model lies in `model`."""
        config, rounds = self.config, len(self.students) - 1
        base = self._point("base", self.before)
        values = [self._values(self._of_run(self.best, found), found) for found in self.sets]
        student = self._point(f"round {self.best}", values)
        self._note(student)
        merged = search(self._measure, student, self.best, rounds, config.merge_evaluations, config.seed)
        taken = student if student.inside else recommended(merged)
        if taken is not None and taken.domain <= base.domain:
            # a merge that gains nothing is no cure
            taken = None
        if taken is not None and taken.candidate is not None:
            self._merged(taken.candidate).save_pretrained(str(self.folder / "model"), create_model_card=False)
        shutil.rmtree(self.folder / "candidate", ignore_errors=True)
        self.log.unlink(missing_ok=True)
        return [{**point.as_dict(), "chosen": point is taken} for point in (base, student, *merged)]

    def _measure(self, candidate: Candidate) -> Point:
        measured = json.loads(self.log.read_text(encoding="utf-8")) if self.log.is_file() else {}
        known = [np.array(part) for part in measured.get(candidate.name, [])]
        if not known:
            folder = self.folder / "candidate"
            shutil.rmtree(folder, ignore_errors=True)
            self._merged(candidate).save_pretrained(str(folder / "model"), create_model_card=False)
            encoder = Encoder(folder / "model", folder / "store", backend=self.backend, precision=self.config.precision)
            known = [
                self._values(search_with(encoder, found.queries, found.corpus, _DEPTH, self.gate.progress), found)
                for found in self.sets
            ]
            write_json(self.log, {**measured, candidate.name: [part.tolist() for part in known]})
        point = self._point(candidate.name, known, candidate)
        self._note(point)
        return point

    def _merged(self, candidate: Candidate) -> SentenceTransformer:
        return merge(self.students[0], [self.students[number] for number in candidate.rounds], candidate.recipe)

    def _of_run(self, number: int, found: RetrievalSet) -> pa.Table:
        """What the base or a student finds; its embeddings are in the run's store."""
        return self.gate.rounds.search(number, self.students[number], found.queries, found.corpus, _DEPTH)

    def _values(self, run: pa.Table, found: RetrievalSet) -> _Values:
        """The domain's MRR@5, or a set's nDCG@10, for each query."""
        domain = found is self.sets[0]
        if domain and self.dev.judged is not None:
            pairs = zip(run["query_id"].to_pylist(), run["doc_id"].to_pylist(), strict=True)
            run = run.filter(pa.array([pair in self.dev.judged for pair in pairs], type=pa.bool_()))
        measured = evaluation.per_query(evaluation.measure(run, found.qrels, list(found.queries)))
        return measured[_DOMAIN if domain else MEASURE]

    def _point(self, name: str, values: Sequence[_Values], candidate: Candidate | None = None) -> Point:
        changes: dict[str, dict[str, tuple[float, float]]] = {role: {} for role in ROLES}
        for found, before, after in zip(self.sets[1:], self.before[1:], values[1:], strict=True):
            delta = after - before
            error = float(delta.std(ddof=1) / len(delta) ** 0.5) if len(delta) > 1 else 0.0
            changes[found.role][found.name] = (float(delta.mean()), error)
        room = min(slack(of_role, self.config.forgetting_limit) for of_role in changes.values())
        means = {name: mean for of_role in changes.values() for name, (mean, _) in of_role.items()}
        return Point(name, float(values[0].mean()), means, room, candidate)

    def _note(self, point: Point) -> None:
        changes = ", ".join(f"{name} {change:+.4f}" for name, change in point.changes.items())
        verdict = "inside" if point.inside else "outside"
        self.gate.progress.say(f"  {point.name}: dev {_DOMAIN} {point.domain:.3f}, {MEASURE} {changes} ({verdict})")
