"""The penalty for leaving the base, by its properties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast

from denizen.retrievers.loading import load_encoder
from denizen.training.near_base import Kept, NearBase, first_tokens

TEXTS = ["what is gout", "the dose of a drug for a child", "fever and pain 12"]


class _Constant(nn.Module):
    def forward(self, features: object, labels: object) -> torch.Tensor:
        return torch.tensor(3.0)


def _kept(model: object) -> list[Kept]:
    vectors = model.encode(TEXTS)  # type: ignore[attr-defined]
    return [Kept(TEXTS, vectors, ""), Kept([], vectors[:0], ""), Kept(TEXTS[:1], vectors[:1], "")]


def test_the_base_itself_pays_nothing_and_the_loss_is_added_to(tiny_encoder: Path) -> None:
    model = load_encoder(tiny_encoder).eval()
    loss = NearBase(model, _Constant(), _kept(model), 2.0)
    assert float(loss.penalty()) == pytest.approx(0.0, abs=1e-5)
    assert float(loss([], torch.zeros(1))) == pytest.approx(3.0, abs=1e-4)


def test_opposite_vectors_cost_twice_the_weight(tiny_encoder: Path) -> None:
    model = load_encoder(tiny_encoder).eval()
    kept = [Kept(part.texts, -part.vectors, part.prompt) for part in _kept(model)]
    # 1 - cos = 2
    assert float(NearBase(model, _Constant(), kept, 1.5)([], torch.zeros(1))) == pytest.approx(3.0 + 1.5 * 2, abs=1e-4)


def test_its_gradient_leads_back_to_the_base(tiny_encoder: Path) -> None:
    base = load_encoder(tiny_encoder).eval()
    model = load_encoder(tiny_encoder).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(1)) * 0.05)
    loss = NearBase(model, _Constant(), _kept(base), 1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    torch.manual_seed(0)
    before = float(loss.penalty())
    for _ in range(30):
        optimizer.zero_grad()
        loss.penalty().backward()
        optimizer.step()
    assert float(loss.penalty()) < before / 2


def test_the_draw_is_that_of_torch_s_state(tiny_encoder: Path) -> None:
    model = load_encoder(tiny_encoder).eval()
    random = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    loss = NearBase(model, _Constant(), [Kept(TEXTS, random, "")], 1.0)
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(float(loss.penalty()))
    assert values[0] == values[1] != values[2]


def test_prompts_are_put_before_the_texts(tiny_encoder: Path) -> None:
    model = load_encoder(tiny_encoder).eval()
    vectors = model.encode(TEXTS, prompt="what: ")
    with_prompt, without = (
        float(NearBase(model, _Constant(), [Kept(TEXTS, vectors, prompt)], 1.0).penalty()) for prompt in ("what: ", "")
    )
    assert with_prompt == pytest.approx(0.0, abs=1e-5) and without > 1e-4


LONG = [
    "what is the dose of a drug for a child with fever",
    "gout",
    "",
    "painpain lupus-fever  12 \U0001f642 for pain in gout",
]


@pytest.mark.parametrize("prompt", ["", "what: ", "which and how in a child with lupus: "])
@pytest.mark.parametrize("limit", [0, 3, 7, 12])
@pytest.mark.parametrize("fast", [True, False])
def test_what_is_kept_of_a_text_is_what_training_sees_with_its_prompt(
    prompt: str, limit: int, fast: bool, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base, which has no limit but its own, and a student with one take the same tokens for what is kept."""
    base, student = load_encoder(tiny_encoder), load_encoder(tiny_encoder)
    if limit:
        student.max_seq_length = limit
    monkeypatch.setattr(type(base.tokenizer), "is_fast", fast)
    kept = first_tokens(base, LONG, prompt, limit)
    assert all(text.startswith(part) for text, part in zip(LONG, kept, strict=True))
    for text, part in zip(LONG, kept, strict=True):
        seen, whole = (model.preprocess([part], prompt=prompt or None)["input_ids"] for model in (student, base))
        # of a prompt that fills it there is no more to be kept
        assert torch.equal(seen, whole) or (part == "" and len(seen[0]) == limit)
        # by trial, the last word may be cut within
        assert not fast or torch.equal(seen, student.preprocess([text], prompt=prompt or None)["input_ids"])


def test_a_character_of_several_tokens_is_kept_whole_or_not_at_all(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of bytes, an emoji is four tokens, each of which stands where all of it does."""
    alphabet = {letter: at for at, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bytes_of = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    bytes_of.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_of.decoder = decoders.ByteLevel()
    model = load_encoder(tiny_encoder)
    model[0].processor = PreTrainedTokenizerFast(tokenizer_object=bytes_of)
    texts = ["ab\U0001f642c"]
    assert [first_tokens(model, texts, "p", limit) for limit in (4, 7, 8)] == [["ab"], ["ab\U0001f642"], texts]
