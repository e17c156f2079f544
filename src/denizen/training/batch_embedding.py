"""Embedding the texts of a training batch: each distinct text once, with little padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from denizen.retrievers.cpu.token_batches import padding_side

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Texts of one forward pass: more tokens than this make it no faster, and its memory grows.
_GROUP_TOKENS = 8192
# What a forward and backward pass costs beside its tokens (the gradient of the token embeddings is dense), in tokens.
_GROUP_COST = 512


def embed_columns(model: SentenceTransformer, columns: Sequence[dict[str, Any]]) -> list[Tensor]:
    """Embeds the columns of a batch (queries, positives, negatives) with gradients.

    A text that stands in a batch several times, as a negative that several similar queries share, is computed once;
    texts of similar length share a forward pass. The embeddings are those of `model(column)`.

    Args:
        model: The bi-encoder.
        columns: What `model.preprocess` made of each column's texts.

    Returns:
        For each column, shape (its texts, dim).
    """
    side = _padding_side(columns)
    if side is None:
        return [model(features)["sentence_embedding"] for features in columns]
    texts: dict[tuple[tuple[str, tuple[int, ...]], ...], int] = {}
    wanted: list[list[int]] = []
    for features in columns:
        lengths = features["attention_mask"].sum(dim=1).tolist()
        tokens = {name: features[name].tolist() for name in _token_names(features)}
        rows = []
        for row, length in enumerate(lengths):
            part = slice(length) if side == "right" else slice(-length, None)
            text = tuple((name, tuple(values[row][part])) for name, values in tokens.items())
            rows.append(texts.setdefault(text, len(texts)))
        wanted.append(rows)
    distinct = [dict(text) for text in texts]
    lengths = [len(text["input_ids"]) for text in distinct]
    order: list[int] = []
    found = []
    shared = {name: value for name, value in columns[0].items() if not isinstance(value, Tensor)}
    device = columns[0]["input_ids"].device
    # the model may be wrapped for training on several machines
    tokenizer = getattr(model, "module", model).tokenizer
    padding = getattr(tokenizer, "pad_token_id", None) or 0
    used = sorted({padding, *(token for text in distinct for token in text["input_ids"])})
    with _rows_of_the_token_table(model, torch.tensor(used, device=device)):
        for group in length_groups(lengths):
            features = dict(shared)
            for name in distinct[group[0]]:
                tokens_of = [torch.tensor(distinct[at][name]) for at in group]
                filling = padding if name == "input_ids" else 0
                features[name] = pad_sequence(tokens_of, True, filling, padding_side=side).to(device)
            found.append(model(features)["sentence_embedding"])
            order += group
    embeddings = torch.cat(found)
    place = {at: position for position, at in enumerate(order)}
    # index_select: the gradient of plain indexing adds up in an order that changes from run to run
    return [embeddings.index_select(0, torch.tensor([place[at] for at in rows], device=device)) for rows in wanted]


@contextmanager
def _rows_of_the_token_table(model: SentenceTransformer, used: Tensor) -> Iterator[None]:
    """Looks tokens up in a small table of those that are used, taken from the model's once.

    The gradient of a lookup has the size of the table it is made in; with the whole vocabulary in every group, filling
    and adding up these gradients takes a tenth of a training step.
    """
    transformer = getattr(getattr(model, "module", model)[0], "auto_model", None)
    token_table = getattr(transformer, "get_input_embeddings", None)
    table = token_table() if token_table is not None else None
    if transformer is None or type(table) is not nn.Embedding or table.max_norm is not None or table.scale_grad_by_freq:
        yield
        return
    small = _SmallTable(nn.functional.embedding(used, table.weight, table.padding_idx), used, table.num_embeddings)
    transformer.set_input_embeddings(small)
    try:
        yield
    finally:
        transformer.set_input_embeddings(table)


class _SmallTable(nn.Module):
    """Some rows of a token table, under their numbers there."""

    def __init__(self, rows: Tensor, used: Tensor, size: int) -> None:
        super().__init__()
        self.weight = rows
        self.place = torch.zeros(size, dtype=torch.long, device=used.device)
        self.place[used] = torch.arange(len(used), device=used.device)

    def forward(self, tokens: Tensor) -> Tensor:
        return nn.functional.embedding(self.place[tokens], self.weight)


def length_groups(lengths: Sequence[int], *, most: int = _GROUP_TOKENS, cost: int = _GROUP_COST) -> list[list[int]]:
    """Groups texts of similar length: a group ends when padding has cost as much as another group would.

    Args:
        lengths: Tokens of each text.
        most: Tokens of a group, padding included.
        cost: What a group costs beside its tokens, in tokens.

    Returns:
        Positions in `lengths`, the longest texts first.
    """
    groups: list[list[int]] = []
    longest = waste = 0
    for at in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        waste += longest - lengths[at]
        if not groups or waste > cost or (len(groups[-1]) + 1) * longest > most:
            groups.append([])
            longest, waste = lengths[at], 0
        groups[-1].append(at)
    return groups


def _token_names(features: dict[str, Any]) -> list[str]:
    return sorted(name for name, value in features.items() if isinstance(value, Tensor))


def _padding_side(columns: Sequence[dict[str, Any]]) -> str | None:
    """On which side all columns are padded, where they are token tables that the model treats alike; else None."""
    first = columns[0]
    shared = {name: value for name, value in first.items() if not isinstance(value, Tensor)}
    alike = all(
        {"input_ids", "attention_mask"} <= set(features) <= {"input_ids", "attention_mask", "token_type_ids", *shared}
        and {name: value for name, value in features.items() if not isinstance(value, Tensor)} == shared
        and _token_names(features) == _token_names(first)
        for features in columns
    )
    sides = {padding_side(features.get("attention_mask")) for features in columns} if alike else {None}
    # where no text is shorter than the others it is padded on both
    left = "left" in sides and all(bool(features["attention_mask"][:, -1].all()) for features in columns)
    return None if None in sides else "left" if left else "right" if sides == {"right"} else None
