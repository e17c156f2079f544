from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from denizen.retrievers.cpu import attention
from denizen.retrievers.cpu.attention import batched_attention, use_batched_attention

BIDIRECTIONAL = SimpleNamespace(is_causal=False)


def heads(length: int = 7, dtype: torch.dtype = torch.bfloat16) -> list[torch.Tensor]:
    torch.manual_seed(0)
    # as in a model: a transposed view of (batch, length, heads, width)
    return [torch.randn(3, length, 2, 8, dtype=dtype).transpose(1, 2).requires_grad_() for _ in range(3)]


def mask(length: int = 7) -> torch.Tensor:
    """Three texts of 7, 4 and 1 tokens."""
    return (torch.arange(length)[None, :] < torch.tensor([7, 4, 1])[:, None])[:, None, None, :]


def local(length: int = 7) -> torch.Tensor:
    """Those texts, each token seeing one on either side: padding far behind a text sees nothing."""
    at = torch.arange(length)
    return mask(length) & ((at[:, None] - at).abs() <= 1)


@pytest.mark.parametrize("padded", [False, True])
def test_values_and_gradients_are_those_of_the_fused_attention(padded: bool) -> None:
    given = heads()
    seen = mask().expand(3, 1, 7, 7) if padded else None
    found = []
    for compute in (batched_attention, sdpa_attention_forward):
        result, weights = compute(BIDIRECTIONAL, *given, seen, scaling=0.3)  # type: ignore[arg-type]
        assert weights is None
        gradients = torch.autograd.grad(result.float().square().sum(), given)
        found.append((result, *gradients))
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.03, atol=0.03)


def causal_heads(length: int = 7) -> list[torch.Tensor]:
    """Four heads of queries over two of keys and values."""
    torch.manual_seed(1)
    counts = (4, 2, 2)
    made = (torch.randn(3, length, count, 8, dtype=torch.bfloat16).transpose(1, 2) for count in counts)
    return [part.requires_grad_() for part in made]


def before(length: int = 7) -> torch.Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()


CAUSAL = SimpleNamespace(is_causal=True, num_key_value_groups=2)
CAUSAL_MASKS = {
    "none": None,
    "padded behind": mask() & before(),
    "padded before": (mask() & before().flip(0, 1)).flip(2, 3),
    "local": mask() & before() & before().triu(-2),
}


@pytest.mark.parametrize("name", CAUSAL_MASKS)
@pytest.mark.parametrize("gradients", [False, True])
def test_causal_attention_over_shared_keys_is_that_of_the_fused_one(
    name: str, gradients: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, seen = causal_heads(), CAUSAL_MASKS[name]
    real = torch.ones(3, 7, dtype=torch.bool) if seen is None else seen.any(dim=1).any(dim=1)
    shown = real[:, :, None, None]
    with torch.set_grad_enabled(gradients):
        theirs, _ = sdpa_attention_forward(CAUSAL, *given, seen)  # type: ignore[arg-type]
        monkeypatch.setattr(attention, "sdpa_attention_forward", None)
        ours, _ = batched_attention(CAUSAL, *given, seen)  # type: ignore[arg-type]
    # what padding sees matters to nobody, but must be a number
    assert ours.shape == theirs.shape == (3, 7, 4, 8) and bool(torch.isfinite(ours).all())
    torch.testing.assert_close((ours * shown).float(), (theirs.nan_to_num() * shown).float(), rtol=0.03, atol=0.03)
    if gradients:
        wanted, found = (torch.autograd.grad((each * shown).float().square().sum(), given) for each in (theirs, ours))
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one.float(), other.nan_to_num().float(), rtol=0.05, atol=0.05)


def test_padding_between_tokens_is_not_taken_for_padding_behind_them() -> None:
    holes = torch.tensor([True, True, False, True, True, True, True])[None, None, None, :] & before()
    given = causal_heads()
    with torch.no_grad():
        ours, _ = batched_attention(CAUSAL, *given, holes.expand(3, 1, 7, 7))  # type: ignore[arg-type]
        theirs, _ = sdpa_attention_forward(CAUSAL, *given, holes.expand(3, 1, 7, 7))  # type: ignore[arg-type]
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.03, atol=0.03)


@pytest.mark.parametrize(
    ("module", "dtype", "options"),
    [
        (BIDIRECTIONAL, torch.float32, {}),
        (BIDIRECTIONAL, torch.bfloat16, {"dropout": 0.1}),
        (BIDIRECTIONAL, torch.bfloat16, {"position_bias": torch.zeros(1)}),
    ],
)
def test_what_it_is_not_made_for_goes_to_the_fused_attention(
    module: object, dtype: torch.dtype, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_on = []
    monkeypatch.setattr(attention, "sdpa_attention_forward", lambda *args, **kwargs: handed_on.append(kwargs))
    batched_attention(module, *heads(dtype=dtype), None, **options)  # type: ignore[arg-type]
    assert len(handed_on) == 1
    for name, value in options.items():
        assert handed_on[0][name] is value


def test_very_long_texts_go_to_the_fused_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    handed_on = []
    monkeypatch.setattr(attention, "sdpa_attention_forward", lambda *args, **kwargs: handed_on.append(kwargs))
    monkeypatch.setattr(attention, "_SCORES", 3 * 2 * 7 * 7 - 1)
    batched_attention(BIDIRECTIONAL, *heads(), None)  # type: ignore[arg-type]
    assert len(handed_on) == 1


def test_a_switched_model_embeds_alike_and_saves_no_trace(tiny_encoder: Path, tmp_path: Path) -> None:
    plain = SentenceTransformer(str(tiny_encoder), device="cpu")
    switched = SentenceTransformer(str(tiny_encoder), device="cpu")
    use_batched_attention(switched)
    texts = ["what is gout", "lupus is treated with a drug " * 4]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one, other = (model.encode(texts, normalize_embeddings=True) for model in (plain, switched))
    assert (one * other).sum(axis=1).min() > 0.999
    assert switched[0].auto_model.config._attn_implementation == "denizen"
    switched.save_pretrained(str(tmp_path / "saved"))
    assert "denizen" not in json.dumps(json.loads((tmp_path / "saved/config.json").read_text()))


def test_padding_that_sees_nothing_makes_no_text_nan() -> None:
    given, seen = heads(), local()
    counts = seen.any(dim=-1).transpose(1, 2)[..., None]
    assert not counts.all()
    found = []
    for compute in (batched_attention, sdpa_attention_forward):
        result, _ = compute(BIDIRECTIONAL, *given, seen, scaling=0.3)  # type: ignore[arg-type]
        assert result.isfinite().all()
        # as pooling does it
        gradients = torch.autograd.grad((result.float() * counts).square().sum(), given)
        found.append((result * counts, *gradients))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.03, atol=0.03)


SEEN = {
    "nothing masked": None,
    "padding at the end": mask().expand(3, 1, 7, 7),
    "one row for all queries": mask(),
    "padding at the start": mask().flip(-1),
    "causal": torch.ones(7, 7, dtype=torch.bool).tril().expand(3, 1, 7, 7),
    "a mask for each head": mask().expand(3, 2, 7, 7),
    "local": local(),
}


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN.keys())
@pytest.mark.parametrize(("size", "shift"), [(1.0, 0.0), (1.0, 90.0), (40.0, 0.0)])
def test_without_gradients_any_mask_and_any_size_of_scores_give_what_the_fused_attention_gives(
    seen: torch.Tensor | None, size: float, shift: float
) -> None:
    query, key, value = (part.detach() for part in heads())
    query, key = query * size, key.clone()
    # one direction that all queries and keys share moves all scores of a query alike
    query[..., 0], key[..., 0] = 1.0, shift
    middle = attention._middle(query @ key.transpose(-1, -2))
    assert middle is None if size == 40 else bool(middle) is bool(shift)
    ours, _ = batched_attention(BIDIRECTIONAL, query, key, value, seen, scaling=1.0)  # type: ignore[arg-type]
    theirs, _ = sdpa_attention_forward(BIDIRECTIONAL, query, key, value, seen, scaling=1.0)  # type: ignore[arg-type]
    if seen is not None:
        # what sees nothing is padding, which counts for nothing
        ours, theirs = (found * seen.any(dim=-1).transpose(1, 2)[..., None] for found in (ours, theirs))
    # large scores are rounded to steps of a half
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.05, atol=0.5 if size > 1 or shift else 0.05)
