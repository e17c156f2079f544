"""Near-duplicate texts, weighted by what their words say.

Two texts are near-duplicates when the information their words share is at least a share `threshold` of the
information of both together: the Jaccard similarity of their word sets, each word weighted by its inverse
document frequency. With plain Jaccard "What are the symptoms of gout?" and "What are the symptoms of lupus?"
are near-duplicates (5 of 7 words); weighted, the one word that matters decides. Candidates come from MinHash
LSH (datasketch) over words repeated in proportion to their weight, which makes the sketch estimate the weighted
similarity; each candidate pair is then checked exactly.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence

# with bands of 6 rows a pair at similarity .5 becomes a candidate in 15 % of 10 bands, which costs little
_ROWS = 6
# the share of pairs right at the threshold that may be missed: 10 bands at .9, 23 at .8
_MISSED = 0.001
_WORD = re.compile(r"\w+")


def clusters(texts: Sequence[str], threshold: float) -> list[int]:
    """Numbers each text so that near-duplicates carry the same number.

    Clusters are the connected components of the near-duplicate pairs; the number is the position of the
    component's first text. Texts without words are alone.

    Args:
        texts: The texts.
        threshold: The idf-weighted Jaccard similarity from which two texts are near-duplicates, in (0, 1].
    """
    from datasketch import MinHash, MinHashLSH

    words = [frozenset(_WORD.findall(text.lower())) for text in texts]
    frequency = Counter(word for bag in set(words) for word in bag)
    total = max(1, len(set(words)))
    weight = {word: math.log((total + 1) / count) for word, count in frequency.items()}
    hashes = {word: _copies(word, weight[word]) for word in frequency}
    parent = list(range(len(texts)))
    first: dict[frozenset[str], int] = {}
    bands = _bands(threshold)
    index = MinHashLSH(num_perm=bands * _ROWS, params=(bands, _ROWS))
    for position, bag in enumerate(words):
        if not bag:
            continue
        if bag in first:
            parent[position] = _root(parent, first[bag])
            continue
        first[bag] = position
        sketch = MinHash(num_perm=bands * _ROWS, hashfunc=int, scheme="affine32")
        sketch.update_batch([copy for word in bag for copy in hashes[word]])
        for other in index.query(sketch):
            if similarity(bag, words[other], weight) >= threshold:
                roots = sorted((_root(parent, position), _root(parent, other)))
                parent[roots[1]] = roots[0]
        index.insert(position, sketch)
    return [_root(parent, position) for position in range(len(texts))]


def similarity(one: frozenset[str], other: frozenset[str], weight: dict[str, float]) -> float:
    """The weighted Jaccard similarity of two word sets, in [0, 1]."""
    # fsum is exact, so the order of the words, which differs between processes, does not matter
    both = math.fsum(weight[word] for word in one | other)
    return math.fsum(weight[word] for word in one & other) / both if both else 0.0


def _bands(threshold: float) -> int:
    """How many bands make a pair at the threshold a candidate, but for the share `_MISSED`."""
    return max(10, math.ceil(math.log(_MISSED) / math.log(1 - min(threshold, 0.99) ** _ROWS)))


def _copies(word: str, weight: float) -> list[int]:
    digest = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big")
    count = max(1, round(weight))
    return [(digest + copy * 0x9E3779B1) & 0xFFFFFFFF for copy in range(count)]


def _root(parent: list[int], position: int) -> int:
    while parent[position] != position:
        parent[position] = parent[parent[position]]
        position = parent[position]
    return position
