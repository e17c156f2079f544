"""The step that decides how passages are read: whole, or by windows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from denizen.data.artifacts import Corpus, Documents, Model, Qrels, Queries, Run
from denizen.data.tables import only, texts
from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.engine.settings import Seeded, setting
from denizen.engine.step import Context, step
from denizen.measuring.crossfit import FOLDS
from denizen.measuring.fusion import CONVEX, WEIGHTS, drawn_fifths, fused_runs, unseen
from denizen.measuring.retrieval import firsts
from denizen.measuring.significance import Values
from denizen.measuring.students import LEVEL, POOLED, Deciding, Pool, proven, with_answer
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.hybrid import FUSED_DEPTH
from denizen.retrievers.index import Index, Read
from denizen.retrievers.windows import WHOLE, Reading, reader, shares_longer, token_counts

# on dev of TAT-QA, PolicyQA and ObliQA 32 by 16 was the best of seven and 64 by 32 close behind at half the rows;
# above 96 nothing was left of the gain (docs/LOG.md)
_TRIED = (Reading(64, 32), Reading(32, 16))
# on so many queries a gain of .03 shows
_QUERIES = 300
# windows that gain nothing on so many are not asked further: their interval would have to begin above what was seen
_FIRST = 100
_WINDOWS = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True)
class ReadingChoice(Seeded):
    """How passages are read."""

    panel = "Reading"

    windows: str = setting(
        "auto",
        "whole: a passage is one vector. 64/32: windows of 64 tokens by 32, the best counts. auto: what the queries of "
        "train and dev say.",
    )

    def __post_init__(self) -> None:
        """Checks the value.

        Raises:
            InputError: When it is none of these.
        """
        super().__post_init__()
        self.given()

    def given(self) -> Reading | None:
        """The reading that was asked for; None: it is to be chosen.

        Raises:
            InputError: When there is no such reading.
        """
        if self.windows in ("auto", "whole"):
            return WHOLE if self.windows == "whole" else None
        found = _WINDOWS.fullmatch(self.windows)
        if not found:
            raise InputError(f"windows is {self.windows!r}; it must be auto, whole, or TOKENS/STRIDE such as 64/32")
        return Reading(int(found[1]), int(found[2]))


def _planned(params: ReadingChoice, *, corpus: Corpus, **inputs: Any) -> dict[str, Any]:
    if params.given() is not None:
        return {}
    # as many tokens again for each that is tried, and windows that overlap by half are twice the tokens
    return {"encoded_texts": min(2 * POOLED * _QUERIES, corpus.facts.get("passages", 0)) * 2 * len(_TRIED)}


@step(version=4, makes=Read, name="reading", plan=_planned)
def read(  # noqa: PLR0913
    out: Path,
    params: ReadingChoice,
    ctx: Context,
    *,
    model: Model,
    index: Index,
    found: Run,
    keywords: Run,
    corpus: Corpus,
    queries: Queries,
    qrels: Qrels,
    documents: Documents | None = None,
) -> dict[str, Any]:
    """Chooses between whole passages, which are the default, and windows, together with how they are fused with BM25.

    The base is asked: it has seen none of the queries of train and dev, so that all of them decide. What is measured is
    MRR@5 over what BM25 and whole-passage search rank first. For each of five parts of the queries reading and fusion
    are chosen on the other four; windows are taken where their gain over whole passages, which are fused as is best for
    them, is `proven`. A third of them is asked first, and of windows that gain nothing there no more.

    Args:
        out: Where the choice goes.
        params: What is asked for.
        ctx: The encoders.
        model: The base.
        index: What has embedded the corpus with it, by whole passages.
        found: What it has found.
        keywords: What BM25 has found.
        corpus: The passages.
        queries: Those of train and dev count.
        qrels: What is an answer.
        documents: The sides of documents, where they have any.
    """
    facts: dict[str, Any]
    base = index.model(model, ctx[Encoders])
    longer = _longer(base, texts(corpus.table), list(queries.texts("train", "dev").values()))
    if (given := params.given()) is not None:
        facts = {"reading": given.as_dict(), "by": "setting", **longer}
        write_json(out / "reading.json", facts)
        return facts
    ids = with_answer(queries.texts("train", "dev"), qrels)
    drawn = np.random.default_rng(params.seed).permutation(len(ids))[:_QUERIES].tolist()
    some, ids = ([ids[at] for at in sorted(part)] for part in (drawn[:_FIRST], drawn))
    runs = [found.table, keywords.table]
    shown = only(corpus.table, "doc_id", firsts(runs, qrels.table, ids, POOLED))
    counts = token_counts(base.encoder.model.tokenizer, texts(shown))
    rows = {reading: sum(len(reading.spans(count)) for count in counts) for reading in _TRIED}
    # where windows are the passages themselves there is nothing to choose
    tried = [reading for reading, count in rows.items() if count > len(shown)] if len(ids) >= FOLDS else []
    facts = {"reading": WHOLE.as_dict()}
    if tried:
        pool = Pool(corpus.table, documents.table if documents else None, qrels.table, runs, FUSED_DEPTH)

        def measured(readings: Sequence[Reading], some: Sequence[str]) -> dict[str, Any]:
            asked = only(queries.table, "query_id", some).to_pylist()
            known = only(keywords.table, "query_id", some)
            deciding = Deciding(qrels.table, corpus.table, None, [*some])
            values: dict[tuple[Reading, float], Values] = {}
            for reading in (WHOLE, *readings):
                retriever = reader(base, reading)
                searched = pool.search(retriever, asked, ctx.progress)
                fused = fused_runs(CONVEX, retriever, known, searched)
                for weight, run in zip((1.0, *WEIGHTS), (searched, *fused), strict=True):
                    values[reading, weight] = deciding.values(run)
            return _chosen([*values], [*values.values()], deciding.groups, params.seed)

        facts = measured(tried, some)
        left = [reading for reading in tried if _gains(facts, reading)]
        if not left:
            ids = some
        elif len(some) < len(ids):
            facts = measured(left, ids)
    share = {reading.name: count / max(1, len(shown)) for reading, count in rows.items()}
    facts |= {"by": "queries", "queries": len(ids), "rows_a_passage": share, **longer}
    write_json(out / "reading.json", facts)
    ctx.progress.say(_told(facts))
    return facts


def _longer(base: BiEncoder, passages: Sequence[str], queries: Sequence[str]) -> dict[str, Any]:
    """Which share of passages and of queries the base does not read to the end; nothing where it has no limit."""
    from denizen.training.train import seen_at_once

    limit = seen_at_once(base, 0)
    if not limit:
        return {}
    (share,), (of_queries,) = (
        shares_longer(base.encoder.model.tokenizer, said, (limit,)) for said in (passages, queries)
    )
    return {"longer": {"tokens": limit, "share": share, "queries": of_queries}}


def _chosen(
    ways: Sequence[tuple[Reading, float]], values: Sequence[Values], of: Sequence[int], seed: int
) -> dict[str, Any]:
    parts = drawn_fifths(of, seed)
    whole = [found for (reading, _), found in zip(ways, values, strict=True) if reading.whole]
    before = unseen(whole, whole[0], parts)
    after = unseen(values, before, parts)
    taken, (gain,) = proven([before, after], of)
    means = [float(found.mean()) for found in values]
    best = max(range(len(ways)), key=means.__getitem__)
    tried: dict[str, dict[str, float]] = {}
    for (reading, weight), mean in zip(ways, means, strict=True):
        known = tried.setdefault(reading.name, {"alone": mean, "fused": mean})
        known["alone"] = mean if weight == 1 else known["alone"]
        known["fused"] = max(mean, known["fused"])
    reading = ways[best][0] if taken else WHOLE
    return {"reading": reading.as_dict(), "gain": asdict(gain), "MRR@5": tried}


def _gains(facts: Mapping[str, Any], reading: Reading) -> bool:
    found = facts["MRR@5"]
    return bool(found[reading.name]["fused"] > found[WHOLE.name]["fused"])


def _told(facts: Mapping[str, Any]) -> str:
    name = Reading(**facts["reading"]).name
    if "gain" not in facts:
        few = facts["queries"] < FOLDS
        return f"passages are read whole: {'too few queries can tell' if few else 'none is longer than a window'}"
    gain, measured = facts["gain"], facts["MRR@5"]
    shown = ", ".join(f"{of} {found['alone']:.3f} (with BM25 {found['fused']:.3f})" for of, found in measured.items())
    return (
        f"base's MRR@5 of {facts['queries']:,} queries: {shown}; gain of windows {gain['value']:+.3f} "
        f"({100 * LEVEL:.0f} % interval {gain['low']:+.3f} to {gain['high']:+.3f}): read by {name}"
    )
