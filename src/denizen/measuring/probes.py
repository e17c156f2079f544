"""What may not get worse: any measurement of a model that gives a value per item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from denizen.engine.progress import Progress, Silent
from denizen.measuring.retrieval import MEASURES, measure, per_query, write_evaluation
from denizen.measuring.retrieval_sets import EARLIER, Parts, RetrievalSet
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.searching import search_each

# what decides on forgetting; of an earlier test what decided there
MEASURE = "nDCG@10"
MEASURES_OF_ROLES = {EARLIER: "MRR@5"}
# a third or less of what decides: a model that forgets three times the limit is nearly always seen on so many
_SCREENED = 200


class Probe(Protocol):
    """Measures one kind of model, a retriever or another, on items of its own: queries, or texts."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def role(self) -> str:
        """Why it is measured: general, or neighbour (the same field, other items); domain: what is adapted to."""

    @property
    def measure(self) -> str:
        """What its values are, as "nDCG@10"; higher is better."""

    def values(self, model: Any) -> dict[str, float]:
        """Item to the model's value."""

    def report(self, models: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
        """What people read of several models.

        Args:
            models: Name to model; the others are compared with the first.
            folder: Where values per item are written; None: nowhere.

        Returns:
            `role`, `measure`, `means` (model to measure to mean), `differences` (model to measure to `Difference` to
            the first), and what else there is to say.
        """


@dataclass(frozen=True)
class RetrievalProbe:
    """How well a retriever finds what is relevant.

    Attributes:
        data: Corpus, queries and what is relevant.
        measure: One of those of `measuring.retrieval`.
        measures: Those of a report, `measure` among them.
        depth: How many passages are retrieved for a query.
        progress: Receives what a person should see.
    """

    data: RetrievalSet
    measure: str = MEASURE
    measures: Sequence[str] = MEASURES
    depth: int = 100
    progress: Progress = field(default_factory=Silent, compare=False)

    @property
    def name(self) -> str:
        """That of the set."""
        return self.data.name

    @property
    def role(self) -> str:
        """That of the set."""
        return self.data.role

    def values(self, model: Retriever) -> dict[str, float]:
        """Query id to the measure."""
        (run,) = self._runs({"": model}).values()
        asked = list(self.data.queries)
        found = per_query(measure(run, self.data.qrels, asked))[self.measure]
        return dict(zip(asked, found.tolist(), strict=True))

    def report(self, models: Mapping[str, Retriever], folder: Path | None = None) -> dict[str, Any]:
        """As of `write_evaluation`, and how many passages there are."""
        found = write_evaluation(
            folder, self._runs(models), self.data.qrels, list(self.data.queries), self.data.corpus, self.measures
        )
        return {"role": self.role, "measure": self.measure, "passages": len(self.data.corpus), **found}

    def screen(self, model: Retriever) -> RetrievalProbe | None:
        """The first of its queries on what a model ranks first for them, fast to embed anew; None where it has few.

        What another model brings up from elsewhere is missing here, so that a fall looks smaller than it is: who falls
        clearly here does so on the whole.
        """
        if len(self.data.queries) < 2 * _SCREENED:
            return None
        some = dict(list(self.data.queries.items())[:_SCREENED])
        few = replace(self, data=replace(self.data, queries=some))
        return replace(few, data=few.data.narrowed([*few._runs({"": model}).values()]))

    def _runs(self, models: Mapping[str, Retriever]) -> dict[str, pa.Table]:
        data, unit = self.data, f"queries of {self.name}"
        return search_each(models, data.queries, data.corpus, self.depth, self.progress, unit)


@dataclass(frozen=True)
class Probes:
    """What may not get worse, twice: on items that may decide, and on those that measure."""

    search: Sequence[Probe] = ()
    test: Sequence[Probe] = ()

    @classmethod
    def of(cls, sets: Sequence[Parts], depth: int, progress: Progress) -> Probes:
        """Those of sets; so deep is searched where is measured."""
        search, test = list[Probe](), list[Probe]()
        for part in sets:
            measure = MEASURES_OF_ROLES.get(part.role, MEASURE)
            search.append(RetrievalProbe(part.search, measure, depth=20, progress=progress))
            test.append(RetrievalProbe(part.test, measure, ("MRR@5", MEASURE), depth, progress))
        return cls(search, test)
