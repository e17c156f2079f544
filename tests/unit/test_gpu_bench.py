"""The parts of bench/gpu.py that need no GPU; what they come to there is not known here."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("gpu")


def test_without_a_device_it_says_so(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        bench.main(10, 10, 1)
    assert stop.value.code == 2 and "no CUDA device" in capsys.readouterr().err


def test_both_sides_embed_alike(bench: ModuleType, tiny_encoder: Path) -> None:
    found = bench.encoding(tiny_encoder, ["what is gout", "lupus is treated with a drug " * 3], 2)
    assert found["texts"] == 2 and list(found["sides"]) == ["sentence-transformers", *bench.BACKENDS]
    assert found["min_cosine"]["torch-fp32"] > 0.9999 and found["min_cosine"]["torch-bf16"] > 0.99
    assert found["sides"]["sentence-transformers"]["ratio"] == [1.0, 1.0]


def test_both_sides_train(bench: ModuleType, tiny_encoder: Path) -> None:
    found = bench.training(tiny_encoder, [("what is gout", "a pain", "a drug"), ("lupus", "fever", "a dose")], 1)
    assert found["examples"] == 2 and list(found["sides"]) == ["sentence-transformers", "denizen"]


def test_a_line_says_what_a_side_does_a_second_and_how_many_times_as_fast_that_is(bench: ModuleType) -> None:
    """Ten texts in 2, 4 and 5 seconds by the library, in 1, 1 and 2 by ours: 2, 4 and 2.5 times as fast."""
    sides = bench._rates({"sentence-transformers": [2.0, 4.0, 5.0], "ours": [1.0, 1.0, 2.0]}, 10)
    assert sides["ours"] == {"a_second": [10.0, 10.0, 5.0], "ratio": [2.0, 4.0, 2.5]}
    lines = bench.table({"encode": {"sides": sides}, "train": {"sides": {}}})
    assert [line.split() for line in lines[1:]] == [
        ["encode", "by", "sentence-transformers", "2.5", "1.00", "[1.00,", "1.00]"],
        ["encode", "by", "ours", "10.0", "2.50", "[2.00,", "4.00]"],
    ]
