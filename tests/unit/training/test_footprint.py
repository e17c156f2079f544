"""What training takes, counted by hand on a small configuration, and what the plan of a large one says."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaConfig

from denizen.engine.errors import InputError
from denizen.retrievers.loading import load_encoder, locate
from denizen.training.adapters import attach
from denizen.training.footprint import Footprint, check_room, footprint_of, size_lines
from denizen.training.train import Training
from tests.tiny_models import LLMS, tiny_llm

SMALL = LlamaConfig(
    vocab_size=10,
    hidden_size=4,
    intermediate_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=2,
)
# as Llama 3.1 8B
LARGE = LlamaConfig(
    vocab_size=128256,
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
)


def test_weights_memory_and_operations_by_hand() -> None:
    size = Footprint.of(SMALL, 1)
    # a layer: queries and output 4 x 4, keys and values 4 x 2, three of the feed-forward net 4 x 8
    linear = 2 * (2 * 16 + 2 * 8 + 3 * 32)
    # besides: ten tokens, two norms a layer and the last
    assert (size.linear, size.weights) == (linear, linear + 10 * 4 + 5 * 4)
    assert size.learnt == 2 * (2 * 8 + 2 * 6 + 3 * 12)
    assert size.memory(batch_tokens=5, length=7) == 4 * size.weights + 12 * size.learnt + 5 * 2 * (34 * 4 + 5 * 2 * 7)
    assert size.flops(100) == 4 * linear * 100
    assert Footprint.of(SMALL, 0).flops(100) == 6 * linear * 100
    assert Footprint.of(SMALL, 0).learnt == size.weights


def test_a_head_is_counted_once_and_gets_no_adapters() -> None:
    bare, apart = Footprint.of(SMALL, 1), Footprint.of(SMALL, 1, head=True)
    assert (apart.weights, apart.linear, apart.learnt) == (bare.weights + 40, bare.linear + 40, bare.learnt)
    tied = Footprint.of(LlamaConfig(**{**SMALL.to_dict(), "tie_word_embeddings": True}), 0, head=True)
    # it multiplies by embeddings that are there already
    assert (tied.weights, tied.linear, tied.learnt) == (bare.weights, bare.linear + 40, bare.weights)


@pytest.mark.parametrize("architecture", LLMS)
def test_it_counts_what_is_trained(architecture: str, tmp_path: Path) -> None:
    folder = locate(str(tiny_llm(tmp_path / "llm", architecture)))
    size, model = footprint_of(folder, Training()), load_encoder(folder)
    assert size.weights == sum(weights.numel() for weights in model.parameters())
    attach(model, 16)
    assert size.learnt == sum(weights.numel() for weights in model.parameters() if weights.requires_grad)


def test_eight_billion_weights_are_planned_and_not_loaded() -> None:
    size = Footprint.of(LARGE, 16)
    assert size.weights == 7_504_924_672 and size.learnt == 41_943_040
    (line,) = size_lines(size, Training(batch_size=4), 10_000)
    # 30 GB of weights, .5 of adapters, 7.8 of activations; 1.28 million tokens of 28 GFLOP
    assert line.strip() == (
        "41.9 million of 7,505 million weights are trained, at most 38.4 GB; on a GPU about: A100 (80 GB) 5 min, "
        "H100 (80 GB) 2 min"
    )
    (line,) = size_lines(size, Training(batch_size=64), 10_000)
    assert line.endswith("more than one GPU here has (lower batch_size)")


def test_what_does_not_fit_is_refused_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 4 * 10**6, "SC_PAGE_SIZE": 4096}.__getitem__)
    with pytest.raises(InputError, match=r"large needs 31 GB for its weights .* and this machine has 16 GB; take"):
        check_room(Footprint.of(LARGE, 16), Training(), "large")
    check_room(Footprint.of(SMALL, 16), Training(), "small")
