"""Attention for bf16 on CPUs as plain batched matrix products.

torch's fused attention on CPUs reaches a tenth of the machine's bf16 rate on the short sequences and narrow heads of
retrieval models, and less in its backward pass. Batched products with the scores kept reach much more: on a core with
AVX512-BF16, a training step of MiniLM on 16 x 128 tokens takes .61 s instead of 1.08 s, and causal attention of nine
heads over three keys takes 3 ms a layer on 12 x 103 tokens instead of 12.
"""

from __future__ import annotations

from typing import Any

import torch
from sentence_transformers.base.model import BaseModel
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "denizen"
# batch x heads x length x length: 64 MiB of bf16 a layer, kept for the backward pass
_SCORES = 1 << 25
# exp(70) times a million keys is still finite in bf16, and exp(-70) still normal
_LARGEST = 70.0


def use_batched_attention(model: BaseModel) -> None:
    """Switches a model from torch's fused attention to ours; one that uses another attention stays as it is.

    What ours is not made for (other types than bf16, GPUs, dropout, very long texts) it hands on to the fused one, so a
    switched model is right for everything.
    """
    transformer = getattr(model[0], "auto_model", None)
    config = getattr(transformer, "config", None)
    if transformer is not None and getattr(config, "_attn_implementation", None) == "sdpa":
        transformer.set_attn_implementation(_NAME)


def batched_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """softmax(query key^T scaling) value, with the signature that transformers asks of an attention.

    Args:
        module: The attention module of the model.
        query: Shape (batch, heads, length, head dim).
        key: As query, or with fewer heads, each of which several queries in a row share.
        value: As key.
        attention_mask: True where a key may be seen; broadcasts to (batch, heads, length, length).
        dropout: Probability of dropping an attention weight.
        scaling: Factor of the scores; None: 1 / sqrt(head dim).
        kwargs: What else the model passes on.

    Returns:
        Shape (batch, length, heads, head dim), and None for the weights.
    """
    batch, heads, length, width = query.shape
    shared = key.shape[1]
    ours = (
        query.dtype == torch.bfloat16
        and query.device.type == "cpu"
        and key.shape == value.shape == (batch, shared, length, width)
        and heads % shared == 0
        and dropout == 0
        and batch * heads * length * length <= _SCORES
        and (attention_mask is None or attention_mask.dtype == torch.bool)
        and all(kwargs.get(name) is None for name in ("position_bias", "cache", "softcap"))
    )
    if not ours:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    causal = _is_causal(module, kwargs) if attention_mask is None else _is_plainly_causal(attention_mask)
    # the queries that share a key stand one below the other, so that it is read once
    queries = query.reshape(batch * shared, heads // shared * length, width)
    keys, values = (part.reshape(batch * shared, length, width) for part in (key, value))
    unused = torch.empty((), dtype=query.dtype)
    scale = width**-0.5 if scaling is None else scaling
    # autocast would compute the softmax in 32 bits and keep both forms for the backward pass
    with torch.autocast("cpu", enabled=False):
        scores = torch.baddbmm(unused, queries, keys.transpose(1, 2), beta=0, alpha=scale)
        middle = None if scores.requires_grad else _middle(scores)
        # detached: what is minus infinity has no gradient after the softmax anyway, and autograd would copy all scores
        # once for each text that is written into
        seen = scores.detach().view(batch, heads, length, length)
        if attention_mask is not None and not causal:
            _mask(seen, attention_mask)
        elif causal and middle is None:
            seen.masked_fill_(torch.ones(length, length, dtype=torch.bool).triu_(1), -torch.inf)
        if middle is not None:
            weights = scores.sub_(middle).exp_() if middle else scores.exp_()
            if causal:
                # setting to zero what is not seen takes half the time of masking it
                weights.view(batch, heads, length, length).tril_()
            # of a token that may see none, the sum is 0, too
            total = weights.sum(dim=-1, keepdim=True).clamp_min_(torch.finfo(weights.dtype).tiny)
            found = torch.bmm(weights, values).div_(total)
        else:
            found = torch.bmm(torch.softmax(scores, dim=-1), values)
    return found.view(batch, heads, length, width).transpose(1, 2).contiguous(), None


def _is_plainly_causal(mask: Tensor) -> bool:
    """Whether every token sees all before it, and padding stands behind the texts alone, where no token sees it."""
    length = mask.shape[-1]
    if mask.shape[1:] != (1, length, length):
        return False
    last = mask[:, 0, -1]
    before = torch.ones(length, length, dtype=torch.bool).tril_()
    behind = bool((last[:, 1:] <= last[:, :-1]).all())
    return behind and bool((mask[:, 0] == (before & last[:, None])).all())


def _middle(scores: Tensor) -> float | None:
    """What to subtract from all scores before exp, so that no row needs its own largest one, which is slow to find.

    Returns:
        0 where the scores are small as they are; None where they are too far apart.
    """
    low, high = (float(bound) for bound in scores.aminmax())
    if max(-low, high) < _LARGEST:
        return 0.0
    return (low + high) / 2 if high - low < 2 * _LARGEST else None


def _mask(scores: Tensor, mask: Tensor) -> None:
    """Sets what may not be seen as low as can be, in place; padding at the end is cut off text by text.

    Padding far behind a text sees none of it in a local attention: minus infinity in a whole row would make it nan, and
    with it every text, since nan times 0 is nan.
    """
    first = mask[:, 0, 0]
    lengths = first.sum(dim=-1)
    padding_at_the_end = (
        mask.shape[:2] == (len(scores), 1)
        and bool((first == (torch.arange(first.shape[1]) < lengths[:, None])).all())
        and bool((mask[:, 0] == first[:, None]).all())
    )
    if not padding_at_the_end:
        scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
        return
    for text, length in enumerate(lengths.tolist()):
        if length < scores.shape[-1]:
            scores[text, :, :, length:] = -torch.inf


def _is_causal(module: torch.nn.Module, kwargs: dict[str, Any]) -> bool:
    given = kwargs.get("is_causal")
    return bool(getattr(module, "is_causal", True) if given is None else given)


AttentionInterface.register(_NAME, batched_attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)
