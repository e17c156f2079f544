"""Stage synthesis of a run without labels: written, filtered and counted queries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.tables import rows_table, run_ranks, texts, texts_by_id, write_table
from denizen.engine.errors import InputError
from denizen.llm.answer import Answer, Failure, Prompt, cut_off
from denizen.llm.client import LLM
from denizen.measuring import retrieval as evaluation
from denizen.recipes.config import AdaptConfig
from denizen.recipes.rounds import Rounds
from denizen.retrievers import search as retrieval
from denizen.supervision import query_filters, synthesis, teachers
from denizen.supervision.query_filters import Dropped
from denizen.supervision.synthesis import Task
from denizen.supervision.written import Written

SETTINGS = (
    "llm",
    "passages",
    "keep_share",
    "expert_queries",
    "styles",
    "query_log",
    "round_trip",
    "near_duplicate",
    "dev_share",
    "test_share",
    "seed",
)
STAGE = "synthesis"
# what is measured comes first: of two that say the same, training loses its one
_ORDER = ("test", "dev", "train")
_LEAST = 2
# writing may take at most the budget divided by this
_WRITING_PART = 3


def write_queries(
    folder: Path, tables: Mapping[str, pa.Table], rounds: Rounds, base: Path, llm: LLM | None
) -> dict[str, Any]:
    """Writes queries.parquet, sources.parquet, dropped_queries.parquet and failures.parquet.

    Args:
        folder: Where to write.
        tables: corpus, documents, test_queries and labels (the source's labelled test queries and their qrels).
        rounds: The run.
        base: The model that finds the passages back, where the LLM gives no probabilities.
        llm: Who writes; None: only the query log is used.

    Returns:
        Counts, coverage, and how easy the queries are by their words alone.

    Raises:
        InputError: When too few calls were answered, or too few queries are left.
    """
    config, corpus = rounds.config, tables["corpus"]
    passages = texts_by_id(corpus)
    labelled = len(tables["labels"]) > 0
    wrote = read_query_log(config, labelled)
    replies: list[Answer | Failure] = []
    for_experts = None
    if llm is not None:
        wanted = _wanted(config, tables, labelled)
        prompts = synthesis.question_prompts(wanted, passages)
        most, for_experts = _shares(llm, wanted, prompts, config)
        with rounds.progress.bar(len(wanted), "calls") as advance:
            replies = llm.ask(prompts, STAGE, advance, most)
        wrote += synthesis.written(wanted, replies)
    wrote.sort(key=lambda query: _ORDER.index(query.split))
    held_out = tables["test_queries"]["text"].to_pylist()
    kept, dropped = query_filters.keep_usable(wrote, passages, config.near_duplicate, held_out)
    kept, lost = _keep_best(kept, rounds, base, corpus)
    dropped += lost
    if llm is not None and config.expert_queries:
        experts, answers = _expert_queries(kept, rounds, base, llm, for_experts)
        replies += answers
        kept, lost = query_filters.keep_usable([*kept, *experts], passages, config.near_duplicate, held_out)
        dropped += lost
    failures = [reply for reply in replies if isinstance(reply, Failure)]
    facts = teachers.check_coverage(STAGE, len(replies), failures, config.min_coverage)
    if facts["cut_off_by_budget"]:
        rounds.progress.note(f"{facts['cut_off_by_budget']:,} calls left out, so that the budget pays for grades, too")
    _check_enough(kept, labelled, facts["cut_off_by_budget"])
    queries, sources = _tables(kept)
    write_table(folder / "queries.parquet", queries)
    write_table(folder / "sources.parquet", sources)
    write_table(folder / "dropped_queries.parquet", _dropped_table(dropped))
    rows = [{"stage": STAGE, "key": row.key, "error": row.kind, "raw": row.raw or row.message} for row in failures]
    write_table(folder / "failures.parquet", rows_table("failures", rows))
    easy = _easiness(kept, queries, sources, corpus, passages)
    found = query_filters.counts(kept, dropped)
    written = sum(row["written"] for row in found.values())
    rounds.progress.note(
        f"{len(kept):,} of {written:,} queries kept; words shared with their passage {easy['overlap']:.0%}, "
        f"BM25 finds it with MRR@5 {easy['bm25_mrr5']:.3f}"
    )
    return {**facts, "by_domain": found, "by_style": _by_style(kept), "easiness": easy}


def _wanted(config: AdaptConfig, tables: Mapping[str, pa.Table], labelled: bool) -> list[Task]:
    styles, counts = synthesis.read_styles(config.styles), query_counts(config, labelled)
    wanted = synthesis.tasks(tables["corpus"], tables["documents"], counts, styles, config.seed)
    if not wanted:
        raise InputError(
            f"none of {len(tables['corpus']):,} passages has the {synthesis.LEAST_CHARS} characters that a question "
            "needs; give longer documents"
        )
    return wanted


def query_counts(config: AdaptConfig, labelled: bool) -> dict[str, int]:
    """How many queries are written for each domain, by split: dev and test in proportion to train."""
    train = 1 - config.dev_share - (0 if labelled else config.test_share)
    shares = {"dev": config.dev_share} if labelled else {"dev": config.dev_share, "test": config.test_share}
    parts = {split: max(_LEAST, round(config.passages * share / train)) for split, share in shares.items()}
    return {"train": config.passages, **parts}


def read_query_log(config: AdaptConfig, labelled: bool) -> list[Written]:
    """Real queries from a file, one a line, dealt out by the settings' shares; to the test where that has no labels."""
    if not config.query_log:
        return []
    path = Path(config.query_log).expanduser()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    random = np.random.default_rng(config.seed)
    test = 0.0 if labelled else config.test_share
    shares = (test, config.dev_share, 1 - test - config.dev_share)
    texts_of_log = [line for line in map(str.strip, lines) if line]
    if not texts_of_log:
        raise InputError(f"query_log {path} is empty; give a text file with one query a line")
    splits = random.choice(_ORDER, size=len(texts_of_log), p=shares)
    return [Written(line, "", str(split), "log") for line, split in zip(texts_of_log, splits, strict=True)]


def _keep_best(
    queries: list[Written], rounds: Rounds, base: Path, corpus: pa.Table
) -> tuple[list[Written], list[Dropped]]:
    """By the writer's probabilities where it gives them, else those that find their passages back."""
    config = rounds.config
    free = [query for query in queries if not query.sources]
    tied = [query for query in queries if query.sources]
    if any(query.logprob is not None for query in tied):
        kept, dropped = query_filters.keep_probable(tied, config.keep_share)
    elif config.round_trip and tied:
        named = {str(at): query.text for at, query in enumerate(tied)}
        run = rounds.search(None, base, named, corpus, config.round_trip)
        places = run_ranks(run)
        ranks = [_worst(places, str(at), query.sources) for at, query in enumerate(tied)]
        # a test of what the base finds already would hide what is gained
        ranks = [rank if query.split == "train" else 1 for query, rank in zip(tied, ranks, strict=True)]
        kept, dropped = query_filters.keep_found(tied, ranks, config.round_trip)
    else:
        kept, dropped = tied, []
    return [*free, *kept], dropped


def _shares(
    llm: LLM, wanted: Sequence[Task], prompts: Sequence[Prompt], config: AdaptConfig
) -> tuple[int | None, int | None]:
    """How many calls may be paid for queries from passages and for those of an expert; None: as many as it takes.

    Together at most a third of the budget: a query of which nothing is graded teaches nothing.
    """
    left = teachers.calls_left(llm, STAGE, prompts)
    kept = config.keep_share * sum(task.split == "train" for task in wanted)
    experts = synthesis.expert_calls(round(kept * config.expert_queries))
    if left is None or len(wanted) + experts <= left // _WRITING_PART:
        return None, None
    from_passages = left // _WRITING_PART * len(wanted) // (len(wanted) + experts)
    return from_passages, left // _WRITING_PART - from_passages


def _expert_queries(
    kept: Sequence[Written], rounds: Rounds, base: Path, llm: LLM, most: int | None
) -> tuple[list[Written], list[Answer | Failure]]:
    config = rounds.config
    of_domain: dict[str, list[str]] = {}
    for query in kept:
        if query.split == "train":
            of_domain.setdefault(query.domain, []).append(query.text)
    expert = synthesis.Expert(llm, STAGE, lambda listed: rounds.encoder(base).encode(listed, "query")[:], config.seed)
    found: list[Written] = []
    replies: list[Answer | Failure] = []
    for place, (domain, examples) in enumerate(sorted(of_domain.items())):
        count = round(config.expert_queries * len(examples))
        asked = len(replies) - cut_off(replies)
        part = None if most is None else (most - asked) // (len(of_domain) - place)
        with rounds.progress.bar(synthesis.expert_calls(count), "calls for expert queries") as advance:
            written, answers = expert.write(examples, domain, count, part, advance)
        found += written
        replies += answers
    return found, replies


def _worst(places: Mapping[tuple[str, str], int], query_id: str, sources: Sequence[str]) -> int | None:
    ranks = [places.get((query_id, source)) for source in sources]
    return None if None in ranks else max(rank for rank in ranks if rank is not None)


def _check_enough(kept: Sequence[Written], labelled: bool, lost: int) -> None:
    for split in ("train", "dev") if labelled else ("train", "dev", "test"):
        count = sum(query.split == split for query in kept)
        if count < _LEAST:
            raise InputError(
                f"{count} {split} querie(s) are left, at least {_LEAST} are needed: raise "
                + (f"the budget, which cut off {lost:,} calls" if lost else "--passages or --keep-share")
                + ", give a longer --query-log, or see dropped_queries (--round-trip 0 switches that filter off)"
            )


def _tables(kept: Sequence[Written]) -> tuple[pa.Table, pa.Table]:
    rows, links = [], []
    for number, query in enumerate(kept, start=1):
        query_id = f"s{number}"
        fields = dataclasses.asdict(query)
        rows.append(
            {
                "query_id": query_id,
                **{name: fields[name] for name in ("text", "domain", "split", "origin")},
                "source_doc_id": query.sources[0] if query.sources else None,
            }
        )
        links += [{"query_id": query_id, "doc_id": source, "relevance": 1} for source in query.sources]
    return rows_table("queries", rows), rows_table("qrels", links)


def _dropped_table(dropped: Sequence[Dropped]) -> pa.Table:
    rows = [
        {
            "text": row.query.text,
            "domain": row.query.domain,
            "split": row.query.split,
            "source_doc_id": row.query.sources[0] if row.query.sources else None,
            "origin": row.query.origin,
            "reason": row.reason,
        }
        for row in dropped
    ]
    return rows_table("dropped_queries", rows)


def _easiness(
    kept: Sequence[Written], queries: pa.Table, sources: pa.Table, corpus: pa.Table, passages: Mapping[str, str]
) -> dict[str, float]:
    """How far words alone lead from a query to its passage: where BM25 is nearly perfect, so will be any model."""
    tied = [query for query in kept if query.sources]
    shares = [query_filters.overlap(query.text, passages[query.sources[0]]) for query in tied]
    ids = sources["query_id"].unique().to_pylist()
    if not ids:
        return {"overlap": 0.0, "bm25_mrr5": 0.0, "queries": 0}
    text = dict(zip(queries["query_id"].to_pylist(), queries["text"].to_pylist(), strict=True))
    run = retrieval.search_bm25(ids, [text[name] for name in ids], corpus["doc_id"].to_pylist(), texts(corpus), 5)
    means = evaluation.means(evaluation.measure(run, sources, ids))
    return {"overlap": float(np.mean(shares)), "bm25_mrr5": means["MRR@5"], "queries": len(ids)}


def _by_style(kept: Sequence[Written]) -> dict[str, int]:
    origins = [query.origin for query in kept]
    return {origin: origins.count(origin) for origin in sorted(set(origins))}
