"""The model card, of figures made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from denizen.reports.card import model_card, title

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

No labels: queries written by judge, passages graded by judge; test graded by judge, the teacher itself.

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
