"""What a reranker is trained on, and that its training ends the same however often it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sentence_transformers import CrossEncoder

from denizen.data.tables import rows_table
from denizen.engine.errors import InputError
from denizen.training import cross_encoder
from denizen.training.cross_encoder import AnswerList, train
from denizen.training.reranker import NEGATIVES, judged_or_mined, lists
from denizen.training.train import Pass

WORDS = ["gout", "lupus", "fever", "pain", "drug", "dose", "child", "cause"]
QUICK = Pass(precision="fp32")


def _example(query_id: str, positive: str, negatives: str, number: int) -> dict[str, object]:
    return {"query_id": query_id, "positive_id": positive, "negative_ids": list(negatives), "round": number}


def test_a_list_has_the_last_negatives_first_then_judged_ones_then_what_answers_others() -> None:
    examples = rows_table(
        "examples",
        [
            _example("q", "a", "b", 0),
            _example("q", "a", "cb", 1),
            _example("r", "z", "", 1),
            _example("q", "y", "a", 1),
        ],
    )
    related = {"q": frozenset("ay"), "r": frozenset("zy")}
    made = lists(examples, {"q": ["d", "a", "c"], "r": []}, related, 1).to_pylist()
    assert [(row["query_id"], row["positive_id"]) for row in made] == [("q", "a"), ("q", "y"), ("r", "z")]
    # both answers of q have the same negatives, and none of them is an answer
    assert made[0]["negative_ids"] == made[1]["negative_ids"] == ["c", "b", "d", "z"]
    # y is related to r
    assert made[2]["negative_ids"] == ["a"]


def test_parts_of_answers_and_other_answers_of_a_list_are_no_negatives() -> None:
    """A loss of lists is trained with passages that are worth something beside the answer: they are related."""
    examples = rows_table("examples", [_example("q", "a", "bcd", 0)])
    (made,) = lists(examples, {}, {"q": frozenset({"a", "b", "d"})}, 1).to_pylist()
    assert made["negative_ids"] == ["c"]


def test_no_more_negatives_than_wanted_and_the_seed_draws_them() -> None:
    examples = rows_table("examples", [_example("q", "a", "b", 0)])
    near = [f"n{at}" for at in range(30)]
    drawn = [lists(examples, {"q": near}, {}, seed).to_pylist()[0]["negative_ids"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(found) == NEGATIVES and found[0] == "b" and {*found[1:]} < {*near} for found in drawn)


def test_an_answer_with_nothing_beside_it_makes_no_list() -> None:
    assert lists(rows_table("examples", [_example("q", "a", "", 0)]), {}, {}, 1).num_rows == 0


def test_what_was_judged_irrelevant_and_what_was_mined() -> None:
    qrels = rows_table("qrels", [("q", "a", 1), ("q", "b", 0)])
    mined = [
        ("q", "a", None, None, "s", "positive"),
        ("q", "c", 1, 0.5, "s", "negative"),
        ("q", "b", 2, 0.1, "s", "irrelevant"),
    ]
    assert judged_or_mined(qrels, None, rows_table("candidates", mined)) == {"q": ["b", "c", "b"]}
    grades = [("e", 4), ("f", 3), ("g", 2), ("h", 1), ("i", None)]
    rows = [{"query_id": "q", "doc_id": doc_id, "grade": grade} for doc_id, grade in grades]
    # labels say nothing where a teacher has looked
    assert judged_or_mined(qrels, rows_table("judgments", rows), None) == {"q": ["g", "h"]}


def _lists(count: int = 8) -> list[AnswerList]:
    """What a query asks for is in its answer, and in nothing else."""
    return [
        AnswerList(f"what is {word}", [f"{word} is it", *[other for other in WORDS if other != word][:3]])
        for word in WORDS[:count]
    ]


class KilledError(Exception):
    """As of a kill."""


def _train(folder: Path, start: Path, progress: Callable[[int], None] = lambda steps: None) -> bytes:
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    train(folder / "model", start, _lists(), QUICK, folder / "scratch", progress)
    return (folder / "model/model.safetensors").read_bytes()


def test_stopped_and_resumed_it_ends_with_the_same_weights(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_encoder, "EPOCHS", 3.0)
    monkeypatch.setattr(cross_encoder, "BATCH_SIZE", 2)
    whole = _train(tmp_path / "whole", tiny_encoder)
    told: list[int] = []

    def stop(steps: int) -> None:
        told.append(steps)
        if sum(told) == 7:
            raise KilledError

    with pytest.raises(KilledError):
        _train(tmp_path / "stopped", tiny_encoder, stop)
    again: list[int] = []
    assert _train(tmp_path / "stopped", tiny_encoder, again.append) == whole
    # from the last checkpoint, of one each second step, to the last of 12 steps
    assert again == [6, *[1] * 6]


def test_it_learns_and_loads_as_a_plain_cross_encoder(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_encoder, "EPOCHS", 40.0)
    monkeypatch.setattr(cross_encoder, "LEARNING_RATE", 3e-3)
    _train(tmp_path, tiny_encoder)
    model = CrossEncoder(str(tmp_path / "model"), device="cpu")
    assert type(model.activation_fn).__name__ == "Identity" and model.max_seq_length == 64
    ranked = [model.predict([(each.query, passage) for passage in each.passages]).argmax() for each in _lists()]
    assert [int(best) for best in ranked] == [0] * len(WORDS)
    assert model.model.config.hidden_dropout_prob == 0.1


def test_one_list_is_too_few(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^1 list\(s\) of an answer .* at least 2. Add queries, or leave out"):
        train(tmp_path / "out", tiny_encoder, _lists(1), QUICK, tmp_path)
    assert not (tmp_path / "out").exists()
