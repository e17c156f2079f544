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
from collections.abc import Hashable, Iterable, Iterator, Sequence

# with bands of 6 rows a pair at similarity .5 becomes a candidate in 15 % of 10 bands, which costs little
_ROWS = 6
# the share of pairs right at the threshold that may be missed: 10 bands at .9, 23 at .8
_MISSED = 0.001
_WORD = re.compile(r"\w+")


def clusters(texts: Sequence[str], threshold: float) -> list[int]:
    """Numbers each text so that near-duplicates, by a threshold in (0, 1], carry the same number.

    Clusters are the connected components of the near-duplicate pairs; the number is the position of the
    component's first text. Texts without words are alone.
    """
    return tied(_alike([frozenset(_WORD.findall(text.lower())) for text in texts], threshold))


def _alike(words: Sequence[frozenset[str]], threshold: float) -> Iterator[list[int]]:
    """For each text its own place, where it is the first of its words, and those of near-duplicates before it."""
    from datasketch import MinHash, MinHashLSH

    frequency = Counter(word for bag in set(words) for word in bag)
    total = max(1, len(set(words)))
    weight = {word: math.log((total + 1) / count) for word, count in frequency.items()}
    hashes = {word: _copies(word, weight[word]) for word in frequency}
    first: dict[frozenset[str], int] = {}
    bands = _bands(threshold)
    index = MinHashLSH(num_perm=bands * _ROWS, params=(bands, _ROWS))
    for position, bag in enumerate(words):
        if not bag or bag in first:
            yield [first[bag]] if bag else []
            continue
        first[bag] = position
        sketch = MinHash(num_perm=bands * _ROWS, hashfunc=int, scheme="affine32")
        sketch.update_batch([copy for word in bag for copy in hashes[word]])
        yield [position, *(at for at in index.query(sketch) if similarity(bag, words[at], weight) >= threshold)]
        index.insert(position, sketch)


def tied(keys: Iterable[Iterable[Hashable]]) -> list[int]:
    """Numbers items so that those which share a key, directly or through others, carry the place of their first one."""
    owner: dict[Hashable, int] = {}
    parent: list[int] = []

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for place, shared in enumerate(keys):
        parent.append(place)
        for key in shared:
            one, other = sorted((root(owner.setdefault(key, place)), root(place)))
            parent[other] = one
    return [root(place) for place in range(len(parent))]


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
