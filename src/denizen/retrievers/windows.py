"""Reading a passage by windows: what is asked for may stand in three lines of a page.

One vector of a long passage is the mean of all that it says. Read by windows it has a row for each, the unit vector of
the window's embedding plus the whole passage's: what stands here, in the light of what all is about. The best row
counts. A database of vectors does the same with a row a window, grouped by passage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from denizen.data.tables import SCHEMAS, each, read_table, table, texts, write_table
from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.engine.progress import Progress
from denizen.retrievers.bi_encoder import BiEncoder, load_vectors, save_vectors
from denizen.retrievers.retriever import save_composite

if TYPE_CHECKING:
    from denizen.retrievers.cpu.exact_top_k import Rows
    from denizen.retrievers.encoder import Encoder

_Numbers = np.ndarray[Any, np.dtype[np.int64]]
_Vectors = np.ndarray[Any, np.dtype[np.float32]]
_ROWS_FILE = "windows.parquet"
# a share of so many is known to about a point
_LENGTHS = 2000
# passages that are tokenised at a time
_BATCH = 2048
_WORD = re.compile(r"\S+")
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Reading:
    """How passages are read.

    Attributes:
        window: Tokens of a window; 0: whole passages, as far as the model reads.
        stride: Tokens from the start of one window to that of the next.
    """

    window: int = 0
    stride: int = 0

    def __post_init__(self) -> None:
        """Checks what may come from a file.

        Raises:
            InputError: When a window has no length, or windows leave gaps.
        """
        numbers = type(self.window) is int and type(self.stride) is int
        if not numbers or not (self.window == self.stride == 0 or 0 < self.stride <= self.window <= _LONGEST):
            raise InputError(
                f"windows of {self.window!r} tokens by {self.stride!r} cannot be; give two whole numbers with "
                f"0 < stride <= window <= {_LONGEST:,}, or 0 and 0 for whole passages"
            )

    @property
    def whole(self) -> bool:
        """Whether passages are read whole."""
        return not self.window

    @property
    def name(self) -> str:
        """What people call it, as "windows of 64 tokens by 32"."""
        return "whole passages" if self.whole else f"windows of {self.window} tokens by {self.stride}"

    def as_dict(self) -> dict[str, int]:
        """The reading as JSON keeps it."""
        return {"window": self.window, "stride": self.stride}

    def spans(self, tokens: int) -> list[tuple[int, int]]:
        """First token and end of each window of a text; the last one is as long as the others and ends the text."""
        if self.whole or tokens <= self.window:
            return [(0, tokens)]
        return [(at, at + self.window) for at in [*range(0, tokens - self.window, self.stride), tokens - self.window]]


WHOLE = Reading()


@dataclass(frozen=True)
class Windows:
    """The windows of some passages.

    Attributes:
        owners: Shape (rows,), ascending: the number of each row's passage.
        starts: Shape (rows,): where each begins in its passage's title and text, in characters.
        ends: Shape (rows,): where each ends.
        texts: Of each row what the model reads: the window, with the title before it.
    """

    owners: _Numbers
    starts: _Numbers
    ends: _Numbers
    texts: list[str]


def windows_of(corpus: pa.Table, tokenizer: Any, reading: Reading) -> Windows:
    """Cuts passages into windows at a model's tokens; a passage that is not longer than one stays whole.

    Args:
        corpus: A `corpus` table.
        tokenizer: That of the model; where it does not say where a token stands, words count as tokens.
        reading: How.
    """
    owners: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    said: list[str] = []
    passages, titles = texts(corpus), corpus["title"].to_pylist()
    for at, (text, title) in enumerate(zip(passages, titles, strict=True)):
        if at % _BATCH == 0:
            tokens = iter(_tokens(tokenizer, passages[at : at + _BATCH]))
        places = next(tokens)
        for first, end in reading.spans(len(places)):
            cut = not reading.whole and len(places) > reading.window
            begin, stop = (places[first][0], places[end - 1][1]) if cut else (0, len(text))
            owners.append(at)
            starts.append(begin)
            ends.append(stop)
            # the first windows have it anyway
            said.append(f"{title} {text[begin:stop]}" if title and begin >= len(title) else text[begin:stop])
    numbers = [np.array(column, dtype=np.int64) for column in (owners, starts, ends)]
    return Windows(numbers[0], numbers[1], numbers[2], said)


def token_counts(tokenizer: Any, passages: Sequence[str]) -> list[int]:
    """How many tokens each passage has, counted as for windows."""
    return [
        len(places)
        for begin in range(0, len(passages), _BATCH)
        for places in _tokens(tokenizer, list(passages[begin : begin + _BATCH]))
    ]


def shares_longer(tokenizer: Any, passages: Sequence[str], limits: Sequence[int]) -> list[float]:
    """Which share of passages has more tokens than each limit, told from at most 2,000 spread over them."""
    some = passages[:: max(1, len(passages) // _LENGTHS)]
    counts = token_counts(tokenizer, some)
    return [sum(count > limit for count in counts) / max(1, len(counts)) for limit in limits]


def _tokens(tokenizer: Any, passages: list[str]) -> list[list[tuple[int, int]]]:
    """Where each token of each passage begins and ends."""
    if not getattr(tokenizer, "is_fast", False):
        return [[word.span() for word in _WORD.finditer(text)] for text in passages]
    # verbose: else it warns of texts that are longer than the model reads
    found = tokenizer(passages, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    places: list[list[tuple[int, int]]] = found["offset_mapping"]
    return places


class _InTheLight:
    """Rows of windows, made when a slice is read: the unit vectors of window and whole passage together."""

    def __init__(self, windows: Rows, whole: Rows, owners: _Numbers, unit: bool) -> None:
        self._windows, self._whole, self._owners, self._unit = windows, whole, owners, unit

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and dimensions."""
        return len(self), self._windows.shape[1]

    def __len__(self) -> int:
        return self._windows.shape[0]

    def __getitem__(self, part: slice) -> _Vectors:
        owners = self._owners[part]
        if not len(owners):
            return np.zeros((0, self.shape[1]), dtype=np.float32)
        first = int(owners[0])
        whole = np.asarray(self._whole[first : int(owners[-1]) + 1])
        both = (np.asarray(self._windows[part]) + whole[owners - first]) / 2
        if self._unit:
            both /= np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)
        return both.astype(np.float32, copy=False)


@dataclass(frozen=True)
class _Read:
    """A corpus by rows, and what has embedded it."""

    encoder: Encoder
    doc_ids: list[str]
    owners: _Numbers
    starts: _Numbers
    ends: _Numbers
    rows: Rows


@dataclass(frozen=True)
class Windowed:
    """A bi-encoder that reads passages by windows.

    Attributes:
        parts: The bi-encoder.
        reading: How it reads.
    """

    kind: ClassVar[str] = "windows"

    parts: tuple[BiEncoder]
    reading: Reading

    @property
    def model(self) -> BiEncoder:
        """The bi-encoder."""
        return self.parts[0]

    @property
    def digest(self) -> str:
        """What it is."""
        return json_digest([self.kind, self.reading.as_dict(), self.model.digest])

    @property
    def lowest(self) -> float | None:
        """As the bi-encoder's: rows are unit vectors where passages are."""
        return self.model.lowest

    def index(self, corpus: pa.Table, progress: Progress) -> _Read:
        """Embeds passages and windows, or finds them in the store."""
        found, _ = self._index(corpus, progress)
        return found

    def _index(self, corpus: pa.Table, progress: Progress) -> tuple[_Read, list[str]]:
        """The index, and the text of each of its rows."""
        whole = self.model.index(corpus, progress)
        windows = windows_of(corpus, whole.encoder.model.tokenizer, self.reading)
        with progress.bar(len(windows.texts), "windows") as advance:
            vectors = whole.encoder.encode(windows.texts, "document", advance)
        rows = _InTheLight(self.model.cut(vectors), whole.vectors, windows.owners, self.lowest is not None)
        index = _Read(whole.encoder, whole.doc_ids, windows.owners, windows.starts, windows.ends, rows)
        return index, windows.texts

    def search(self, index: _Read, queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        """A `run`; a passage scores as its best row."""
        with progress.bar(len(queries), "texts") as advance:
            vectors = self.model.cut(index.encoder.encode(list(queries.values()), "query", advance))[:]
        memory = self.model.encoders.memory_mb
        with progress.bar(len(queries), "queries") as advance:
            found = best_rows(list(queries), vectors, index.doc_ids, index.owners, index.rows, depth, memory)
            advance(len(queries))
        return found

    def best(self, corpus: pa.Table, asked: Sequence[tuple[str, str]], progress: Progress) -> list[str]:
        """What of passages speaks to queries.

        Args:
            corpus: A `corpus` table.
            asked: Texts of queries, each with the id of a passage.
            progress: Is shown bars of "texts".

        Returns:
            For each of them the text of the passage's best window.
        """
        index, said = self._index(corpus, progress)
        return [said[row] for row in self._best_rows(index, asked)]

    def best_spans(self, index: _Read, asked: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
        """Where in title and text what speaks to queries stands, in characters.

        Args:
            index: What `index` made of the corpus.
            asked: Texts of queries, each with the id of a passage.

        Returns:
            For each of them begin and end of the passage's best window; of one that stayed whole, all of it.
        """
        return [(int(index.starts[row]), int(index.ends[row])) for row in self._best_rows(index, asked)]

    def _best_rows(self, index: _Read, asked: Sequence[tuple[str, str]]) -> list[int]:
        """Of each query and passage the row that the passage scores by."""
        place = {doc_id: at for at, doc_id in enumerate(index.doc_ids)}
        bounds = np.searchsorted(index.owners, np.arange(len(place) + 1))
        queries = list(dict.fromkeys(query for query, _ in asked))
        vectors = dict(zip(queries, self.model.cut(index.encoder.encode(queries, "query"))[:], strict=True))
        found = []
        for query, doc_id in asked:
            begin, end = bounds[place[doc_id]], bounds[place[doc_id] + 1]
            found.append(int(begin + np.argmax(index.rows[begin:end] @ vectors[query])))
        return found

    def save_index(self, index: _Read, folder: Path) -> None:
        """Writes the rows as one array, and whose window each is: what a database of vectors takes as it is."""
        save_vectors(folder, index.rows)
        names = pa.array(index.doc_ids, pa.string()).take(pa.array(index.owners))
        columns = {"doc_id": names.to_pylist(), "start": index.starts.tolist(), "end": index.ends.tolist()}
        write_table(folder / _ROWS_FILE, table("windows", columns))

    def load_index(self, folder: Path, corpus: pa.Table, progress: Progress) -> _Read:
        """What was kept, read where it is needed.

        Raises:
            InputError: When a file is damaged.
        """
        path = folder / _ROWS_FILE
        if not path.exists():
            return self.index(corpus, progress)
        rows, doc_ids = read_table(path, "windows"), corpus["doc_id"].to_pylist()
        vectors = load_vectors(folder, len(rows))
        place = {doc_id: at for at, doc_id in enumerate(doc_ids)}
        try:
            owners = np.array([place[name] for name in rows["doc_id"].to_pylist()], dtype=np.int64)
        except KeyError as error:
            raise InputError(f"{path} names {error}, which is no passage; delete it, and it is made anew") from None
        starts, ends = (rows[name].to_numpy() for name in ("start", "end"))
        return _Read(self.model.encoder, doc_ids, owners, starts, ends, vectors)

    def save(self, folder: Path) -> None:
        """Writes the model into a folder of its own, and how it reads."""
        save_composite(folder, self, self.reading.as_dict())


def reader(model: BiEncoder, reading: Reading) -> BiEncoder | Windowed:
    """The model itself where passages are read whole."""
    return model if reading.whole else Windowed((model,), reading)


def best_rows(
    query_ids: Sequence[str],
    queries: _Vectors,
    doc_ids: Sequence[str],
    owners: _Numbers,
    rows: Rows,
    depth: int,
    memory_mb: int = 512,
) -> pa.Table:
    """The passages with the best rows, exactly: so many rows are searched that enough passages are among them.

    Args:
        query_ids: One id a query.
        queries: Shape (queries, dim).
        doc_ids: One id a passage, ascending.
        owners: Shape (rows,): each row's passage.
        rows: Shape (rows, dim).
        depth: How many passages a query gets.
        memory_mb: As of `search`.

    Returns:
        A `run` table.
    """
    from denizen.retrievers.search import run_table, search

    if not doc_ids or not len(queries):
        return SCHEMAS["run"].empty_table()
    depth, total = min(depth, len(doc_ids)), len(owners)
    names = [f"{at:012d}" for at in range(total)]
    scores = np.full((len(queries), depth), -np.inf, dtype=np.float32)
    places = np.zeros((len(queries), depth), dtype=np.int64)
    left, wanted = list(range(len(queries))), min(total, -(-2 * depth * total // len(doc_ids)))
    while left:
        found = search([str(at) for at in left], queries[left], names, rows, wanted, memory_mb=memory_mb)
        ranked: dict[str, dict[int, float]] = {}
        last: dict[str, float] = {}
        for name, row, score in each(found, "query_id", "doc_id", "score"):
            # by falling score: the first row of a passage is its best
            ranked.setdefault(name, {}).setdefault(int(owners[int(row)]), score)
            last[name] = score
        short = []
        for at in left:
            best = ranked.get(str(at), {})
            # what scores as the last row may have an equal beyond it, which an id would put before it
            sure = [(-score, owner) for owner, score in best.items() if score > last[str(at)] or wanted == total]
            if len(sure) < depth and wanted < total:
                short.append(at)
                continue
            for place, (score, owner) in enumerate(sorted(sure)[:depth]):
                scores[at, place], places[at, place] = -score, owner
        left, wanted = short, min(total, 2 * wanted)
    return run_table(query_ids, doc_ids, [(scores, places)])
