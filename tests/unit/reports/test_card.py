"""The model card, of figures made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from denizen.reports.card import model_card, title
from denizen.reports.results import dim_lines
from denizen.retrievers.matryoshka import promised

from .conftest import CHANGE, METRICS


def _card(**changed: Any) -> str:
    return model_card({**METRICS, **changed}, {"endpoint", "prices"})


def test_the_card_as_a_whole() -> None:
    front, text = _card().removeprefix("---\n").split("\n---\n")
    assert "base_model: owner/general" in front.splitlines() and "value: 1.0" in front
    assert (
        text
        == """
# owner/general, adapted to papers

A sentence-transformers model adapted with Denizen 1.2.3 by iterative mining (round 1 was taken, of 1 rounds).

On 2 held-out test queries, read once:

| measure | base | BM25 | adapted | adapted - base | 95 % interval | p |
| --- | --- | --- | --- | --- | --- | --- |
| MRR@5 | 0.750 | 0.500 | 1.000 | +0.250 | +0.100 to +0.400 | 0.0200 |

Intervals: bootstrap over queries; p: paired randomisation test.

| beside it | MRR@5 | adapted is better by |
| --- | --- | --- |
| BM25 | 0.500 | +0.250 [+0.100, +0.400] |

Forgetting was not measured: give --general FOLDER and --neighbour FOLDER.

## Data

3 passages of 2 documents; queries: 1 train, 1 dev, 2 test; split: by document; rows skipped: 0; \
queries dropped as leaks: 0.

## Teacher

No labels: queries written by judge, passages graded by judge; test measured by judge, the teacher itself.

## Settings

```yaml
teacher: llm
llm: judge
depth: 100
rounds: 1
training arithmetic: bf16
encoding backend: openvino-fp32
denizen: 1.2.3
```

## Use

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
queries = model.encode_query(["a question"])
documents = model.encode_document(["a passage"])
scores = model.similarity(queries, documents)
```
"""
    )


def test_a_file_is_named_with_its_digest_and_not_by_where_it_lies() -> None:
    config = {**METRICS["config"], "llm": "/home/somebody/teacher.gguf"}
    text = _card(config=config, llm={"name": "teacher.gguf@0123456789ab", "prices": {"input": 0.0, "output": 0.0}})
    assert "queries written by teacher.gguf@0123456789ab, passages graded by teacher.gguf@0123456789ab" in text
    assert "\nllm: teacher.gguf@0123456789ab\n" in text and "somebody" not in text


@pytest.mark.parametrize(("best_round", "why"), [(0, "No round beat the base"), (1, "The student broke the")])
def test_an_unchanged_base_is_called_so_and_why(best_round: int, why: str) -> None:
    text = _card(chosen="base", best_round=best_round)
    assert f"\n{why}" in text and "(Denizen 1.2.3, 1 rounds)" in text and "adapted with Denizen" not in text
    assert "# owner/general, unchanged after an attempt to adapt it to papers" in text


def test_warnings_forgetting_and_labels() -> None:
    found = {
        "role": "general",
        "queries": 1200,
        "means": {"base": {"MRR@5": 0.5}, "adapted": {"MRR@5": 0.75}},
        "differences": {"adapted": {"MRR@5": CHANGE}},
    }
    gate = {"met": True, "limit": 0.005, "measure": "MRR@5", "points": [], "sets": {"nq": found}}
    text = _card(warning="The splits leak.", gate=gate, config={**METRICS["config"], "teacher": "gold"})
    assert "\n\n**The splits leak.**\n\nOn 2 held-out" in text
    assert "| nq | general | 1,200 | 0.500 | 0.750 | +0.250 [+0.100, +0.400] |\n\nGate met: round 1 is taken" in text
    assert "## Teacher" not in text


def test_what_a_model_is_called(tmp_path: Any) -> None:
    (tmp_path / "mine/model").mkdir(parents=True)
    for model, name in (
        ("general", "sentence-transformers/general"),
        (str(tmp_path / "mine/model"), "mine"),
        (str(tmp_path / "mine"), "mine"),
    ):
        assert title({**METRICS, "base_model": model}) == f"{name}, adapted to papers"


DIMS = {"trained": [8], "promised": [8]}
DIMS |= {
    "measured": {
        "8": {
            "means": {
                "base": {"MRR@5": 0.25, "nDCG@10": 0.3, "Recall@100": 0.5},
                "adapted": {"MRR@5": 0.5, "nDCG@10": 0.6, "Recall@100": 0.75},
            },
            "differences": {"adapted": {"MRR@5": CHANGE}},
        }
    }
}
_ALL = {name: {"MRR@5": 0.75, "nDCG@10": 0.8, "Recall@100": 1.0} for name in ("base", "adapted")}


def test_a_model_that_may_be_cut_says_so_and_what_is_left_of_it(tmp_path: Path) -> None:
    text = _card(dims=DIMS, **_ALL)
    assert "cut to their first 8 dimensions" in text and "truncate_dim=8" in text
    assert "| all | 0.750 | 0.750 | 0.800 | 0.800 | 1.000 | 1.000 | +0.250 [+0.100, +0.400] |" in text
    assert "| 8 | 0.250 | 0.500 | 0.300 | 0.600 | 0.500 | 0.750 | +0.250 [+0.100, +0.400] |" in text
    (tmp_path / "README.md").write_text(text)
    assert promised(tmp_path).dims == (8,)
    # where a teacher grades no figures are known
    assert "cut to their first 8" in _card(dims={**DIMS, "measured": {}})
    # what is shipped is the base, of which nobody said that it may be cut
    assert "dimensions" not in _card(dims={**DIMS, "promised": []}, chosen="base", **_ALL)


def test_whether_the_gate_is_met_at_each_number_is_in_the_table() -> None:
    gate = {"change": {"general": -0.001}, "met": True, "sets": {}, "points": [], "limit": 0.005, "measure": "nDCG@10"}
    gate["dims"] = {"8": {"change": {"general": -0.02}, "met": False}}
    rows = dim_lines({**METRICS, **_ALL, "dims": DIMS, "gate": gate})
    assert [row[-2:] for row in rows] == [["change of general", "gate"], ["-0.0010", "met"], ["-0.0200", "NOT MET"]]
    assert dim_lines(METRICS) == []
