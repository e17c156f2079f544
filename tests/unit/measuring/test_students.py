"""Which student is taken, by hand: what must prove itself, and what is not known."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from denizen.data.artifacts import Corpus, Judgments, Model, Qrels, Queries, Run
from denizen.data.tables import rows_table, write_table
from denizen.engine.artifact import Value
from denizen.engine.step import Context
from denizen.measuring.students import CrossFitting, choose, proven
from denizen.retrievers.index import Index


@pytest.fixture
def world(tmp_path: Path):
    return World(tmp_path)


class World:
    """A base and students as folders, each with a run; `choose` over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models: list[Model] = []
        for number in range(3):
            at = folder / f"model-{number}"
            at.mkdir()
            (at / "config.json").write_text(str(number))
            (at / "encoder.json").write_text("{}")
            self.models.append(Model.outside(at))

    def table(self, kind, name: str, rows):
        path = self.folder / f"{name}.parquet"
        write_table(path, rows_table(kind.schema, rows))
        return kind.outside(path)

    def choose(self, runs, qrels, split="dev", judgments=None, held_out=None, prove=True, **given):
        asked = sorted({name for name, *_ in qrels})
        out = Path(tempfile.mkdtemp(dir=self.folder))
        found = [self.table(Run, f"run-{number}", rows) for number, rows in enumerate(runs)]
        held = [self.table(Run, f"held-{number}", rows) for number, rows in enumerate(held_out)] if held_out else None
        splits = dict.fromkeys(asked, split) if isinstance(split, str) else split
        return choose(
            out,
            CrossFitting(prove),
            Context(),
            students=self.models[: len(runs)],
            indexes=[Index.outside(model.path) for model in self.models[: len(runs)]],
            runs=found,
            qrels=self.table(Qrels, "qrels", qrels),
            queries=self.table(Queries, "queries", [(name, name, "", splits[name]) for name in asked]),
            corpus=self.table(
                Corpus, "corpus", [{"doc_id": f"{at}", "text": "x", "parent_id": f"{at}"} for at in range(60)]
            ),
            judgments=None if judgments is None else self.table(Judgments, "judgments", judgments),
            held_out=held,
            **given,
        )


def _ranked(query_id: str, *doc_ids: str):
    return [(query_id, doc_id, 1.0 - at / 100) for at, doc_id in enumerate(doc_ids)]


def test_what_nobody_has_graded_does_not_count_against_a_student(world: World) -> None:
    """The second student finds the answer below two passages that a budget has left ungraded: 1.0 and not 1/3."""
    runs = [[], [], []]
    qrels, judgments = [], []
    for number in range(30):
        name, right, wrong, new, other = f"q{number:02}", "1", "2", "3", "4"
        qrels.append((name, right, 1))
        judgments += [(name, right, 4), (name, wrong, 1)]
        runs[0] += _ranked(name, wrong, right)
        runs[1] += _ranked(name, wrong, right)
        runs[2] += _ranked(name, new, other, right, wrong)
    found = world.choose(runs, qrels, judgments=judgments, prove=False)
    assert [of["MRR@5"] for of in found["dev"]] == pytest.approx([0.5, 0.5, 1.0])
    assert found["best"] == 2
    # by labels what is not named is wrong
    assert [of["MRR@5"] for of in world.choose(runs, qrels)["dev"]] == pytest.approx([0.5, 0.5, 1 / 3])


def _lifted(count: int, lifted: int):
    """Runs of a base that has every answer second, and of a student that has the first few of them first."""
    base, student, qrels = [], [], []
    for number in range(count):
        name = f"q{number:03}"
        qrels.append((name, str(number % 60), 1))
        base += _ranked(name, "none", str(number % 60))
        student += _ranked(name, *((str(number % 60),) if number < lifted else ("none", str(number % 60))))
    return base, student, qrels


@pytest.mark.parametrize(("lifted", "best"), [(1, 0), (3, 0), (12, 1)])
def test_by_cross_fitting_a_student_must_prove_itself(world: World, lifted: int, best: int) -> None:
    base, student, qrels = _lifted(40, lifted)
    found = world.choose([base, student], qrels, held_out=[base, student])
    assert found["best"] == best and found["decided"]["must_prove"] and found["decided"]["queries"] == 40
    (gain,) = found["decided"]["gains"]
    assert gain["value"] == pytest.approx(0.5 * lifted / 40)
    # of three that are lifted hardly a resample has none, and chance alone lifts all three once in four times
    assert (gain["low"] > 0 and gain["p"] < 0.1) == bool(best) and (lifted == 1 or gain["low"] > 0)


@pytest.mark.parametrize(("lifted", "best"), [(0, 0), (1, 1), (12, 1)])
def test_by_cross_fitting_on_people_s_queries_a_gain_is_enough(world: World, lifted: int, best: int) -> None:
    base, student, qrels = _lifted(40, lifted)
    found = world.choose([base, student], qrels, held_out=[base, student], asked_by_people=Value(True))
    assert found["best"] == best and not found["decided"]["must_prove"]
    # of one that is worse none is taken, and few dev queries alone prove nothing
    assert world.choose([student, base], qrels, held_out=[student, base], asked_by_people=Value(True))["best"] == 0
    assert world.choose([base, student], qrels, asked_by_people=Value(True))["decided"]["must_prove"]


@pytest.mark.parametrize(("count", "prove", "best"), [(40, True, 0), (40, False, 1), (500, True, 1)])
def test_on_dev_the_best_is_taken_where_there_are_enough_or_nothing_is_to_be_proven(
    world: World, count: int, prove: bool, best: int
) -> None:
    base, student, qrels = _lifted(count, 1)
    found = world.choose([base, student], qrels, prove=prove)
    assert found["best"] == best and found["decided"]["must_prove"] == (not best)


def test_what_a_student_of_a_fold_finds_and_nobody_has_graded_is_no_gain(world: World) -> None:
    base, student, qrels, judgments = [], [], [], []
    for number in range(40):
        name = f"q{number:02}"
        qrels.append((name, "1", 1))
        judgments += [(name, "1", 4), (name, "2", 1)]
        base += _ranked(name, "2", "1")
        student += _ranked(name, "1", "new")
    found = world.choose([base, student], qrels, judgments=judgments, held_out=[base, student])
    assert found["best"] == 0 and found["decided"]["MRR@5"] == pytest.approx([0.5, 0.5])
    judgments += [(name, "new", 1) for name, *_ in qrels]
    found = world.choose([base, student], qrels, judgments=judgments, held_out=[base, student])
    assert found["best"] == 1 and found["decided"]["MRR@5"] == pytest.approx([0.5, 1.0])


def test_where_no_dev_query_has_an_answer_train_decides_all_the_same(world: World) -> None:
    base, student, qrels = _lifted(40, 20)
    splits = {name: "train" for name, *_ in qrels}
    found = world.choose([base, student], qrels, split=splits, held_out=[base, student])
    assert found["best"] == 1 and found["dev"] == []


def test_cross_fitting_decides_by_what_was_held_out_and_dev_is_still_told(world: World) -> None:
    base, student, qrels = _lifted(40, 20)
    splits = {name: "dev" if number % 4 == 0 else "train" for number, (name, *_) in enumerate(qrels)}
    # on dev the student looks the better one, on what was held out it is not
    found = world.choose([base, student], qrels, split=splits, held_out=[base, base])
    assert found["best"] == 0 and found["decided"]["queries"] == 40 and found["decided"]["by"] == "cross-fitting"
    assert found["dev"][1]["MRR@5"] > found["dev"][0]["MRR@5"]


def test_the_best_of_those_that_have_proven_themselves_against_the_first() -> None:
    groups = list(range(60))
    base, first = np.zeros(60), np.full(60, 0.2)
    # as good as the first, and later; better than it; better still, but by one query alone
    second, third, lucky = np.full(60, 0.2), np.full(60, 0.25), np.zeros(60)
    lucky[0] = 60.0
    assert proven([base, first, second], groups)[0] == 1
    assert proven([base, first, third, lucky], groups)[0] == 2
    assert [round(gain.value, 6) for gain in proven([base, first, third, lucky], groups)[1]] == [0.2, 0.25, 1.0]
    assert proven([base], groups) == (0, [])


def test_what_is_likely_is_less_than_what_is_proven() -> None:
    # seven queries of forty gain, three lose: chance does as well or better once in three times
    held, gained = np.full(40, 0.5), np.full(40, 0.5)
    gained[:7], gained[7:10] = 1.0, 0.0
    assert proven([held, gained], range(40))[0] == 0
    assert proven([held, gained], range(40), 0.5)[0] == 1
    assert proven([gained, held], range(40), 0.5)[0] == 0
