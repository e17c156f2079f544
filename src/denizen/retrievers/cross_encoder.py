"""Cross-encoders: found by name, loaded, and what one says of passages for queries."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from denizen.data.tables import only, texts
from denizen.engine.errors import InputError, reason
from denizen.engine.progress import Progress
from denizen.retrievers.loading import fetched, quiet_libraries
from denizen.retrievers.model_ref import model_digest
from denizen.retrievers.windows import Reading, token_counts, windows_of

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

# tokens of query and passage that are read at once, also where a model could read more: what those of BERT's make read
_TOKENS = 512
# of them a query has so many (Nogueira and Cho, arXiv 1901.04085), or twice, four times ... as many where it is longer
_QUERY_TOKENS = 64
# pairs that are sorted by length together
_PAIRS = 1024


def locate_cross_encoder(name: str) -> Path:
    """The folder of a cross-encoder.

    Raises:
        InputError: When it is no model.
    """
    path = Path(name).expanduser()
    folder = path if path.exists() else fetched(name)
    if not (folder / "config.json").is_file():
        raise InputError(f"{name} is no model folder (it has no config.json)")
    return folder


def load_cross_encoder(folder: Path) -> CrossEncoder:
    """Loads a cross-encoder with one output, which it gives through a sigmoid.

    Raises:
        InputError: When it cannot be loaded, or has more outputs.
    """
    from sentence_transformers import CrossEncoder
    from torch import nn

    quiet_libraries()
    try:
        model: CrossEncoder = CrossEncoder(str(folder), local_files_only=True, activation_fn=nn.Sigmoid())
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{folder} cannot be loaded as a cross-encoder: {reason(error)}") from error
    if model.num_labels != 1:
        raise InputError(f"{folder} has {model.num_labels} outputs; a cross-encoder here has one, the relevance")
    return model


def start_cross_encoder(folder: Path, seed: int) -> CrossEncoder:
    """A cross-encoder with one output to train, of a cross-encoder or of a bi-encoder, in 32-bit floats.

    What its transformer has no weights for (of a bi-encoder the classifier, and often the pooler below it) is drawn
    with the seed. Its output is given as it is: through a sigmoid, what is far from zero would be equal.

    Raises:
        InputError: When there is no such model of its architecture, or it has another number of outputs.
    """
    import torch
    from sentence_transformers import CrossEncoder
    from torch import nn

    quiet_libraries()
    # that a bi-encoder becomes a cross-encoder is meant here
    library = logging.getLogger("sentence_transformers.base.model")
    level = library.level
    library.setLevel(logging.ERROR)
    torch.manual_seed(seed)
    try:
        model: CrossEncoder = CrossEncoder(
            str(folder), num_labels=1, local_files_only=True, activation_fn=nn.Identity()
        ).float()
    except Exception as error:
        # each part of the libraries has its own errors for what has no such model
        raise InputError(
            f"no cross-encoder can be made of {folder}: {reason(error)}. Give --reranker-model another folder: a "
            "cross-encoder with one output, or a bi-encoder whose transformer has a form for sequence classification"
        ) from error
    finally:
        library.setLevel(level)
    if model.num_labels != 1:
        raise InputError(f"{folder} has {model.num_labels} outputs; give --reranker-model one with one output")
    return model


def passage_room(model: CrossEncoder, query_tokens: int = 0) -> int:
    """How many tokens of a passage are read at once beside a query of so many tokens.

    A query has room for 64 tokens, or for 128, 256 ... where it is longer, and never more than three quarters: of one
    that is still longer its end is cut.
    """
    limit = min(int(model.max_seq_length or _TOKENS), _TOKENS)
    limit -= int(model.tokenizer.num_special_tokens_to_add(pair=True))
    least, asked = max(1, limit // 4), min(_QUERY_TOKENS, limit // 4)
    while asked < query_tokens:
        asked *= 2
    return max(least, limit - asked)


@dataclass(frozen=True)
class Reranker:
    """A cross-encoder that says how well passages answer queries, comparable within a query.

    Attributes:
        folder: Its folder, as `sentence_transformers.CrossEncoder` loads it.
        digest: That of the model (`model_digest`); computed where it is not given.
    """

    folder: Path = field(compare=False)
    digest: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", self.digest or model_digest(self.folder))

    @cached_property
    def model(self) -> CrossEncoder:
        """It, loaded."""
        return load_cross_encoder(self.folder)

    def scores(self, pairs: Sequence[tuple[str, str]], corpus: pa.Table, progress: Progress) -> list[float]:
        """Its output for each pair, not squeezed; of a longer passage, that for its best window (MaxP, Dai and Callan
        2019).

        Args:
            pairs: Texts of queries, each with the id of a passage.
            corpus: A `corpus` table that has these passages.
            progress: Is shown a bar of "pairs".
        """
        from torch import nn

        shown: list[tuple[str, str]] = []
        owners: list[int] = []
        for at, (query, windows) in enumerate(self._read(pairs, corpus)):
            shown += [(query, window) for window in windows]
            owners += [at] * len(windows)
        best = [float("-inf")] * len(pairs)
        with progress.bar(len(shown), "pairs") as advance:
            for begin in range(0, len(shown), _PAIRS):
                part = shown[begin : begin + _PAIRS]
                found = self.model.predict(part, activation_fn=nn.Identity(), show_progress_bar=False).tolist()
                for owner, score in zip(owners[begin : begin + _PAIRS], found, strict=True):
                    best[owner] = max(best[owner], score)
                advance(len(part))
        return best

    def _read(self, pairs: Sequence[tuple[str, str]], corpus: pa.Table) -> list[tuple[str, list[str]]]:
        """For each pair the query, and the texts that are read of the passage."""
        queries = list(dict.fromkeys(query for query, _ in pairs))
        counts = token_counts(self.model.tokenizer, queries)
        rooms = {query: passage_room(self.model, count) for query, count in zip(queries, counts, strict=True)}
        wanted: dict[int, set[str]] = {}
        for query, doc_id in pairs:
            wanted.setdefault(rooms[query], set()).add(doc_id)
        read = {room: self._windows(only(corpus, "doc_id", doc_ids), room) for room, doc_ids in wanted.items()}
        return [(query, read[rooms[query]][doc_id]) for query, doc_id in pairs]

    def _windows(self, corpus: pa.Table, room: int) -> dict[str, list[str]]:
        """By passage the whole of it where there is room, else its windows, half overlapping, each with the title."""
        tokenizer, whole = self.model.tokenizer, texts(corpus)
        found = {doc_id: [text] for doc_id, text in zip(corpus["doc_id"].to_pylist(), whole, strict=True)}
        longer = [at for at, count in enumerate(token_counts(tokenizer, whole)) if count > room]
        if longer:
            long = corpus.take(pa.array(longer))
            titles = max(token_counts(tokenizer, [title or "" for title in long["title"].to_pylist()]))
            window = max(1, room // 2, room - titles)
            cut = windows_of(long, tokenizer, Reading(window, max(1, window // 2)))
            names = long["doc_id"].to_pylist()
            found |= {name: [] for name in names}
            for owner, text in zip(cut.owners.tolist(), cut.texts, strict=True):
                found[names[owner]].append(text)
        return found
