"""The parity gate: does a backend give the vectors of fp32 torch, on this machine, for these texts?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from denizen.retrievers.store import Vectors

# bf16 on CPUs stays above .9999; a wrong mask or a lost prompt falls far below
COSINE = 0.999
LENGTH = 0.01
NDCG = 0.002
# two ranks that change places among this many queries are at most .0004 of nDCG@10; among 256, two near-ties that fell
# the same way were enough to fail bf16
_QUERIES = 1024
_EXTREMES = 16
_QUERY_WORDS = 12
_DOCUMENT_WORDS = 24
_TINY = 1e-30


_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Parity:
    """How far a backend is from fp32 torch.

    Attributes:
        cosine: The smallest cosine of any text's two embeddings; that of two zeros is 1.
        length: The largest relative difference of their lengths, which rank where similarity is the dot product.
        ndcg: The difference of mean nDCG@10, backend minus fp32 torch.
        texts: How many texts were compared.
    """

    cosine: float
    length: float
    ndcg: float
    texts: int

    @property
    def passed(self) -> bool:
        """Whether the backend may be used."""
        # written so that nan fails
        return bool(self.cosine > COSINE) and bool(self.length < LENGTH) and bool(abs(self.ndcg) <= NDCG)


def sample(texts: Sequence[str], *, task: bool = True) -> tuple[list[str], list[str], list[str]]:
    """What the gate compares, always the same for the same texts.

    Args:
        texts: What is to be embedded.
        task: Whether the task is made; else it has no queries.

    Returns:
        The shortest, the longest and some texts between, as they are; and a retrieval task made of the texts (inverse
        cloze, Lee et al. 2019): the first words of some as queries, the words that follow as their documents.
    """
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    extremes = distinct[:_EXTREMES] + distinct[_EXTREMES:][-_EXTREMES:]
    between = _spread(distinct[_EXTREMES:-_EXTREMES], _EXTREMES)
    if not task:
        return extremes + between, [], []
    # whole texts first: the words of all would take many times the memory of the texts
    long_enough = [text for text in distinct if len(text.split(None, 1)) == 2]
    chosen = [text.split() for text in _spread(long_enough, _QUERIES)]
    cuts = [min(_QUERY_WORDS, len(words) // 2) for words in chosen]
    queries = [" ".join(words[:cut]) for words, cut in zip(chosen, cuts, strict=True)]
    documents = [" ".join(words[cut : cut + _DOCUMENT_WORDS]) for words, cut in zip(chosen, cuts, strict=True)]
    return extremes + between, queries, documents


def compare(ours: Sequence[Vectors], theirs: Sequence[Vectors]) -> Parity:
    """Compares the embeddings of a sample: as they are, queries and documents.

    Args:
        ours: The backend's embeddings of the three parts of `sample`.
        theirs: Those of fp32 torch.
    """
    one, other = np.concatenate(ours), np.concatenate(theirs)
    lengths, wanted = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
    both = np.maximum(lengths * wanted, _TINY)
    cosines = np.where((lengths == 0) & (wanted == 0), 1.0, np.einsum("nd,nd->n", one, other) / both)
    apart = np.abs(lengths - wanted) / np.maximum(wanted, _TINY)
    gains = [_ndcg(queries, documents) for _, queries, documents in (ours, theirs)]
    return Parity(float(np.min(cosines, initial=1.0)), float(np.max(apart, initial=0.0)), gains[0] - gains[1], len(one))


def _ndcg(queries: Vectors, documents: Vectors) -> float:
    """nDCG@10 where query i has document i as the only relevant one."""
    if not len(queries):
        return 0.0
    scores = queries @ documents.T
    ranks = (scores > scores.diagonal()[:, None]).sum(axis=1) + 1
    return float(np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0).mean())


def _spread(items: Sequence[_Item], count: int) -> list[_Item]:
    if len(items) <= count:
        return list(items)
    return [items[at * len(items) // count] for at in range(count)]
