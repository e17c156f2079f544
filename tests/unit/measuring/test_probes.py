"""A probe gives values per item: of a retriever, or of any other model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from denizen.data.formats.trec import read_trec_run
from denizen.data.tables import rows_table, table
from denizen.engine.progress import Progress
from denizen.measuring import forgetting
from denizen.measuring.probes import Probe, RetrievalProbe
from denizen.measuring.retrieval_sets import RetrievalSet
from denizen.measuring.significance import paired_difference
from denizen.retrievers.retriever import Retriever


@dataclass(frozen=True)
class Ranking:
    """Finds passages of the corpus in one order, whatever is asked."""

    kind: ClassVar[str] = "ranking"
    parts: ClassVar[tuple[Retriever, ...]] = ()

    order: str
    digest: str = ""

    def index(self, corpus: pa.Table, progress: Progress) -> set[str]:
        return set(corpus["doc_id"].to_pylist())

    def search(self, index: set[str], queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        found = [doc_id for doc_id in self.order if doc_id in index][:depth]
        rows = [
            {"query_id": query_id, "doc_id": doc_id, "score": -float(rank)}
            for query_id in queries
            for rank, doc_id in enumerate(found)
        ]
        return rows_table("run", rows)

    def save(self, folder: Path) -> None:
        raise NotImplementedError


LETTERS = "abcdefghijklmnopqrstuvwxyz"
DATA = RetrievalSet(
    "nq",
    "general",
    table("corpus", {"doc_id": list(LETTERS), "text": list(LETTERS)}),
    {"q2": "two", "q1": "one"},
    rows_table(
        "qrels",
        [
            {"query_id": "q1", "doc_id": "a", "relevance": 1},
            {"query_id": "q2", "doc_id": "c", "relevance": 1},
            {"query_id": "q3", "doc_id": "z", "relevance": 1},
        ],
    ),
)
BASE, STUDENT = Ranking(LETTERS), Ranking("cba" + LETTERS[3:])


def test_values_are_those_of_the_measure_by_query() -> None:
    """q1 has its passage at rank 1 before and at rank 3 after; q2 the other way round."""
    probe: Probe = RetrievalProbe(DATA)
    assert (probe.name, probe.role, probe.measure) == ("nq", "general", "nDCG@10")
    assert probe.values(BASE) == {"q2": pytest.approx(1 / np.log2(4)), "q1": 1.0}
    assert probe.values(STUDENT) == {"q2": 1.0, "q1": pytest.approx(1 / np.log2(4))}
    assert replace(RetrievalProbe(DATA), measure="MRR@5").values(BASE) == {"q2": pytest.approx(1 / 3), "q1": 1.0}
    # what is not among the best `depth` is not found
    assert RetrievalProbe(DATA, depth=2).values(BASE)["q2"] == 0


def test_a_report_says_what_the_values_say_and_writes_them(tmp_path: Path) -> None:
    probe = RetrievalProbe(DATA, measures=("MRR@5", "nDCG@10"))
    models = {"base": BASE, "adapted": Ranking("ba" + LETTERS[2:])}
    report = probe.report(models, tmp_path / "nq")
    assert (report["role"], report["measure"], report["passages"], report["queries"]) == ("general", "nDCG@10", 26, 2)
    values = {name: probe.values(model) for name, model in models.items()}
    assert {name: found["nDCG@10"] for name, found in report["means"].items()} == {
        name: pytest.approx(np.mean(list(found.values()))) for name, found in values.items()
    }
    change = forgetting.change("general", values["base"], values["adapted"])
    assert forgetting.reported({"nq": report}) == {"general": pytest.approx(change.value)} and change.value < 0
    assert set(report["means"]["base"]) == {"MRR@5", "nDCG@10"}
    assert len(read_trec_run(tmp_path / "nq/adapted.trec")) == 2 * 26


def test_a_screen_is_the_first_queries_on_what_a_model_ranks_first_for_them() -> None:
    assert RetrievalProbe(DATA).screen(BASE) is None
    names = [f"q{number:03}" for number in range(400)]
    links = rows_table("qrels", [(name, LETTERS[number % 26], 1) for number, name in enumerate(names)])
    many = replace(DATA, queries=dict.fromkeys(names, ""), qrels=links)
    probe = RetrievalProbe(many, depth=40).screen(Ranking(LETTERS[5:]))
    assert probe is not None and list(probe.data.queries) == names[:200] and probe.depth == 40
    # what is relevant to them, and the twenty that the model ranks first
    links = rows_table("qrels", [(name, LETTERS[number % 2], 1) for number, name in enumerate(names)])
    small = RetrievalProbe(replace(many, qrels=links)).screen(Ranking(LETTERS[5:]))
    assert small is not None and small.data.corpus["doc_id"].to_pylist() == sorted({*LETTERS[5:25], "a", "b"})


@dataclass(frozen=True)
class Likelihoods:
    """A probe of models that give texts a probability: neither queries nor runs."""

    texts: Mapping[str, str]
    name: str = "wiki"
    role: str = "general"
    measure: str = "-nll"

    def values(self, model: Mapping[str, float]) -> dict[str, float]:
        return {text_id: sum(model[word] for word in text.split()) for text_id, text in self.texts.items()}

    def report(self, models: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
        values = {name: np.array(list(self.values(model).values())) for name, model in models.items()}
        first = next(iter(values.values()))
        return {
            "role": self.role,
            "measure": self.measure,
            "means": {name: {self.measure: float(of.mean())} for name, of in values.items()},
            "differences": {
                name: {self.measure: {"value": paired_difference(of, first).value}}
                for name, of in values.items()
                if of is not first
            },
        }


def test_a_probe_of_another_kind_of_model_is_gated_by_the_same_arithmetic() -> None:
    probe: Probe = Likelihoods({"t1": "gout pain", "t2": "lupus"})
    base, adapted = {"gout": -1.0, "pain": -2.0, "lupus": -4.0}, {"gout": -1.5, "pain": -2.0, "lupus": -4.1}
    change = forgetting.change(probe.role, probe.values(base), probe.values(adapted))
    assert change.value == pytest.approx(-0.3)
    means = forgetting.reported({probe.name: probe.report({"base": base, "adapted": adapted})})
    assert means == forgetting.by_role([change]) == {"general": pytest.approx(-0.3)}
    assert not forgetting.met(means, 0.005) and forgetting.met(means, 0.5)
