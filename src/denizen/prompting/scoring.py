"""How good instructions are, query by query, in an index that stays: only queries are embedded anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from denizen.data.tables import rankings, relevant
from denizen.engine.progress import Silent
from denizen.measuring.retrieval import measure, per_query
from denizen.retrievers.bi_encoder import BiEncoder
from denizen.retrievers.instruction import QueryPrompt

MEASURE = "nDCG@10"
_DEPTH = 10


class SpentError(Exception):
    """What was to be scored goes beyond the cap, and was not."""


@dataclass(frozen=True)
class Scored:
    """A query with an instruction.

    Attributes:
        score: nDCG@10.
        first: What was found, best first, at most ten passages.
    """

    score: float
    first: tuple[str, ...]


class Scores:
    """Scores of queries with instructions; none is computed twice.

    Args:
        retriever: The model.
        index: Of the corpus, by it.
        prompt: The model's own.
        queries: Query id to text.
        qrels: A `qrels` table.
        cap: Scores that may be computed, one a query and instruction; None: any number.

    Attributes:
        own: The model's own sentence.
        known: Sentence to scores by query, in the order in which they were computed.
    """

    def __init__(
        self,
        retriever: BiEncoder,
        index: Any,
        prompt: QueryPrompt,
        queries: Mapping[str, str],
        qrels: pa.Table,
        cap: int | None = None,
    ) -> None:
        self.own = prompt.sentence
        self.queries = queries
        self.answers = relevant(qrels)
        self.cap = cap
        self.known: dict[str, dict[str, Scored]] = {}
        self._retriever, self._index, self._prompt, self._qrels = retriever, index, prompt, qrels

    @property
    def evaluations(self) -> int:
        """How many were computed."""
        return sum(map(len, self.known.values()))

    def of(self, sentence: str, query_ids: Sequence[str]) -> list[Scored]:
        """The score of each query with an instruction.

        Raises:
            SpentError: When that needs more than the cap leaves; then none of it is computed.
        """
        own = self.known.get(sentence, {})
        missing = [query_id for query_id in dict.fromkeys(query_ids) if query_id not in own]
        if self.cap is not None and self.evaluations + len(missing) > self.cap:
            raise SpentError
        if missing:
            own = self.known.setdefault(sentence, {})
            own.update(self._computed(sentence, missing))
        return [own[query_id] for query_id in query_ids]

    def _computed(self, sentence: str, query_ids: Sequence[str]) -> dict[str, Scored]:
        prompted = replace(self._retriever, query_prompt=self._prompt.saying(sentence))
        asked = {query_id: self.queries[query_id] for query_id in query_ids}
        run = prompted.search(self._index, asked, _DEPTH, Silent())
        values = per_query(measure(run, self._qrels, query_ids))[MEASURE]
        found = rankings(run)
        return {
            query_id: Scored(float(value), tuple(doc_id for doc_id, _ in found.get(query_id, ())))
            for query_id, value in zip(query_ids, values, strict=True)
        }
