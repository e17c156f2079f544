"""Perplexity and bits a byte by hand, their intervals, and what a stopped measuring has kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denizen.data.whole_documents import WholeDocuments
from denizen.measuring import forgetting
from denizen.measuring.perplexity import Foreseen, LikelihoodProbe, bits_a_byte, perplexity_change
from denizen.measuring.significance import paired_difference, ratio_difference

LN2 = math.log(2)


@dataclass
class Scripted:
    """A model of some bits a token, whose tokens are letters."""

    bits: float
    asked: int = 0
    eos_token_id: int = 9
    tokenizer: Any = field(init=False)

    def __post_init__(self) -> None:
        self.tokenizer = self

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [chr(at) for at in ids]

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return [ord(token) for token in tokens]

    def log_likelihoods(self, rows: list[list[int]]) -> list[float]:
        self.asked += len(rows)
        return [-self.bits * LN2 * (len(row) - 1) for row in rows]


DOCUMENTS = WholeDocuments({"a": "12345", "b": "123456789", "c": "äöü"}, [0, 1, 1])


def test_likelihoods_by_hand() -> None:
    """Rows of 4 letters: of 5 letters 4 are predicted in 2 rows, of 9 letters 8 in 3, of 3 letters 2 in 1."""
    probe, model = LikelihoodProbe(DOCUMENTS, 4), Scripted(3.0)
    found = probe.foreseen(model)  # type: ignore[arg-type]
    assert [(each.document, each.group, each.tokens, each.bytes) for each in found] == [
        ("a", 0, 4, 5),
        ("b", 1, 8, 9),
        ("c", 1, 2, 6),
    ]
    assert [each.log_likelihood for each in found] == pytest.approx([-12 * LN2, -24 * LN2, -6 * LN2])
    assert model.asked == 6
    # 42 bits for 20 bytes
    assert bits_a_byte(found).value == pytest.approx(42 / 20)
    assert probe.values(model) == pytest.approx({"a": -12 * LN2 / 5, "b": -24 * LN2 / 9, "c": -LN2})  # type: ignore[arg-type]


def test_a_model_against_another_by_hand() -> None:
    probe = LikelihoodProbe(DOCUMENTS, 4)
    one, other = (probe.foreseen(Scripted(bits)) for bits in (2.0, 3.0))  # type: ignore[arg-type]
    change = perplexity_change(one, other)
    # 2^2 against 2^3, in every document alike
    assert change is not None
    assert (change.value, change.low, change.high) == pytest.approx((-0.5, -0.5, -0.5))
    assert bits_a_byte(one, other).value == pytest.approx(-14 / 20)
    cut_otherwise = [Foreseen(each.document, each.group, each.log_likelihood, 1, each.bytes) for each in other]
    assert perplexity_change(one, cut_otherwise) is None
    assert bits_a_byte(one, cut_otherwise).value == pytest.approx(-14 / 20)


def test_it_is_a_probe(tmp_path: Path) -> None:
    probe, base, worse = LikelihoodProbe(DOCUMENTS, 4), Scripted(2.0), Scripted(3.0)
    report = probe.report({"base": base, "adapted": worse}, tmp_path)  # type: ignore[dict-item]
    # 14 bits more for 20 bytes
    apart = report["differences"]["adapted"][probe.measure]
    assert apart["value"] == pytest.approx(-14 / 20 * LN2) and apart["low"] <= apart["value"] <= apart["high"]
    assert report["means"]["base"][probe.measure] == pytest.approx(-28 / 20 * LN2)
    assert forgetting.reported({"held out": report}) == {"domain": apart["value"]}
    lost = forgetting.change(probe.role, probe.values(base), probe.values(worse))  # type: ignore[arg-type]
    assert lost.value < 0 and not forgetting.met(forgetting.by_role([lost]), 0.1)
    assert len((tmp_path / "base.jsonl").read_text().splitlines()) == 3


def test_what_is_measured_is_not_measured_again(tmp_path: Path) -> None:
    many = WholeDocuments({f"d{at}\u2028": "12345" for at in range(40)}, list(range(40)))
    probe, kept, whole = LikelihoodProbe(many, 9), tmp_path / "kept.jsonl", Scripted(2.0)

    class Stops(Scripted):
        def log_likelihoods(self, rows: list[list[int]]) -> list[float]:
            if self.asked:
                raise KeyboardInterrupt
            return super().log_likelihoods(rows)

    with pytest.raises(KeyboardInterrupt):
        probe.foreseen(Stops(2.0), kept)  # type: ignore[arg-type]
    assert probe.foreseen(whole, kept) == probe.foreseen(Scripted(2.0))  # type: ignore[arg-type]
    assert whole.asked == 8


def test_a_ratio_of_equal_sizes_is_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=30)
    ratio, mean = ratio_difference(values, np.full(30, 2.0)), paired_difference(values / 2, np.zeros(30))
    assert (ratio.value, ratio.low, ratio.high, ratio.p) == pytest.approx((mean.value, mean.low, mean.high, mean.p))


def test_a_ratio_goes_by_sizes_and_keeps_groups_together() -> None:
    # one large item decides: 1 of size 1 and -9 of size 9
    assert ratio_difference(np.array([1.0, -9.0]), np.array([1.0, 9.0])).value == pytest.approx(-0.8)
    values, sizes = np.tile([1.0, 2.0, 3.0, 6.0], 10), np.tile([1.0, 1.0, 2.0, 3.0], 10)
    alone = ratio_difference(values, sizes)
    together = ratio_difference(values, sizes, groups=[at // 10 for at in range(40)])
    assert alone.value == together.value == pytest.approx(12 / 7)
    # of four groups no more than four independent things are known: all of one sign by chance in 2 of 16
    assert together.p == pytest.approx(0.125, abs=0.02) and alone.p < 0.001
