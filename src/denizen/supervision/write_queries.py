"""The step that writes queries for documents that nobody has asked about, and filters and counts them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.artifacts import Corpus, Documents, Model, Part, Qrels, Queries
from denizen.data.prepare import NearDuplicates, Shares
from denizen.data.splitting import SIDES
from denizen.data.tables import each, only, rows_table, run_ranks, texts_by_id, write_table
from denizen.engine.artifact import Artifact, Value
from denizen.engine.errors import InputError
from denizen.engine.progress import Progress, Silent
from denizen.engine.settings import Params, setting
from denizen.engine.step import Context, Partial, step
from denizen.llm.answer import Answer, Failure, Prompt, cut_off
from denizen.llm.client import LLM
from denizen.measuring import retrieval as measuring
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.searching import search_each
from denizen.supervision import query_filters, synthesis
from denizen.supervision.asking import Asking, calls_left, check_coverage, failure_table, whole_or_partial
from denizen.supervision.query_filters import Dropped
from denizen.supervision.query_rules import PassageWords
from denizen.supervision.synthesis import Task
from denizen.supervision.written import Written

STAGE = "synthesis"
_LEAST = 2
# that say how rare words are
_PASSAGES = 5_000
# how much deeper than training queries those of dev and test may lie: what is hard to find is to be measured, and what
# could be asked about any passage is not
_DEEPER = 5
# writing may take at most the budget divided by this
_WRITING_PART = 3
# of what a small LLM writes, the share that keeps the rules and leads back; only for estimates (docs/LOG.md)
KEPT = 0.5
# of so many queries at least, the least share that must lead back to their passages
_TRIED, _FOUND = 10, 0.2
_PANEL = "Queries for documents without labels"


@dataclass(frozen=True)
class LLMChoice(Params):
    """The LLM of a run."""

    panel = "Teacher"

    llm: str = setting(
        "", "The LLM that writes queries and grades: a GGUF file, served here, or its name at the endpoint."
    )


@dataclass(frozen=True)
class Synthesis(LLMChoice, Shares, NearDuplicates):
    """Which queries are written, and which of them are kept."""

    panel = _PANEL

    # arXiv 2512.08088 keeps 200 questions of 500 passages a filing type, by the writer's probability. That says nothing
    # of a question (docs/LOG.md); the rules and the round trip leave about as many of 300
    passages: int = setting(300, "Passages of each domain that queries are written for.", least=1, most=10_000_000)
    persona_queries: float = setting(
        1.0,
        "Queries in the voice of a persona who works with such documents, for each that is kept from a passage.",
        least=0,
        most=10,
    )
    styles: str = setting(
        "question,keyword,long,conversational", "Styles of the queries, in equal parts; multi-hop is another one."
    )
    # Kept to the first passage, as in Promptagator (arXiv 2209.11755), 80 % of a small LLM's questions are of use, else
    # 71 %; but queries of train decide, too, and the base would be preferred by what it finds itself (docs/LOG.md)
    round_trip: int = setting(
        20,
        "Drop queries whose passage, or one nearly the same, neither the base nor BM25 has among so many, of dev and "
        "test among five times as many; 0: off.",
        least=0,
        most=1000,
    )
    encoding: Encoding = field(default_factory=Encoding)

    def counts(self, labelled: bool) -> dict[str, int]:
        """How many queries are written for each domain, by split: dev and test in proportion to train."""
        train = 1 - self.dev_share - (0 if labelled else self.test_share)
        shares = {"dev": self.dev_share} if labelled else {"dev": self.dev_share, "test": self.test_share}
        parts = {split: max(_LEAST, round(self.passages * share / train)) for split, share in shares.items()}
        return {"train": self.passages, **parts}


class WrittenQueries(Artifact):
    """Queries that were written, and what for."""

    queries = Part("queries.parquet", Queries)
    sources = Part("sources.parquet", Qrels)


@dataclass(frozen=True)
class _Writing:
    """One synthesis: what it works on and who writes."""

    params: Synthesis
    corpus: pa.Table
    labelled: bool
    base: BiEncoder
    words: PassageWords
    progress: Progress


@step(version=8, makes=WrittenQueries, name=STAGE)
def synthesize(  # noqa: PLR0913
    out: Path,
    params: Synthesis,
    ctx: Context,
    *,
    corpus: Corpus,
    documents: Documents,
    test_queries: Queries,
    labels: Qrels,
    base: Model,
    prompts: Value,
    query_log: Artifact | None = None,
) -> dict[str, Any] | Partial:
    """Writes queries.parquet, sources.parquet, dropped_queries.parquet and failures.parquet.

    Args:
        out: Where to write.
        params: Which queries.
        ctx: Its LLM writes; without one, only the query log is used.
        corpus: The passages.
        documents: Their sides.
        test_queries: The source's labelled test queries; without them, queries are written for the test, too.
        labels: Their qrels.
        base: A model that finds the passages back.
        prompts: What is asked.
        query_log: A file of real queries, one a line.

    Raises:
        InputError: When too few calls were answered, too few queries lead back to their passage, or too few are left.
    """
    llm, passages = ctx.get(LLM), texts_by_id(corpus.table)
    retriever = BiEncoder(base.path, params.encoding, ctx[Encoders], base.digest)
    listed = list(passages.values())
    words = PassageWords.of(listed[:: len(listed) // _PASSAGES + 1])
    writing = _Writing(params, corpus.table, len(labels.table) > 0, retriever, words, ctx.progress)
    wrote = read_query_log(query_log.path, params, writing.labelled) if query_log else []
    replies: list[Answer | Failure] = []
    for_persona = None
    if llm is not None:
        asked_for, replies, for_persona = _for_passages(wrote, writing, llm, documents.table)
        wrote += asked_for
    # what is measured comes first: of two that say the same, training loses its one
    wrote.sort(key=lambda query: SIDES.index(query.split))
    held_out = test_queries.table["text"].to_pylist()
    kept, dropped = query_filters.keep_usable(wrote, passages, params.near_duplicate, held_out, words)
    kept, lost = _keep_found(kept, writing)
    dropped += lost
    if llm is not None and params.persona_queries:
        asked, answers = _persona_queries(kept, writing, llm, for_persona)
        replies += answers
        kept, lost = query_filters.keep_usable([*kept, *asked], passages, params.near_duplicate, held_out, words)
        dropped += lost
    failures = [reply for reply in replies if isinstance(reply, Failure)]
    facts = check_coverage(STAGE, len(replies), failures, ctx[Asking].min_coverage)
    if facts["cut_off_by_budget"]:
        ctx.progress.note(f"{facts['cut_off_by_budget']:,} calls left out, so that the budget pays for grades, too")
    _check_enough(kept, writing.labelled, facts["cut_off_by_budget"])
    queries, sources = _tables(kept)
    write_table(out / "queries.parquet", queries)
    write_table(out / "sources.parquet", sources)
    write_table(out / "dropped_queries.parquet", _dropped_table(dropped))
    write_table(out / "failures.parquet", failure_table(STAGE, failures))
    easy = _easiness(kept, queries, sources, writing)
    found = query_filters.counts(kept, dropped)
    written = sum(row["written"] for row in found.values())
    ctx.progress.note(
        f"{len(kept):,} of {written:,} queries kept; words shared with their passage {easy['overlap']:.0%}, "
        f"BM25 finds it with MRR@5 {easy['bm25_mrr5']:.3f}"
    )
    origins = [query.origin for query in kept]
    by_style = {origin: origins.count(origin) for origin in sorted(set(origins))}
    counts = {split: sum(query.split == split for query in kept) for split in ("train", "dev", "test")}
    told = {**facts, "by_domain": found, "by_style": by_style, "easiness": easy, "queries": counts}
    return whole_or_partial(told)


def _for_passages(
    log: Sequence[Written], writing: _Writing, llm: LLM, documents: pa.Table
) -> tuple[list[Written], list[Answer | Failure], int | None]:
    """Queries for passages, asked for once more where they break a rule; all replies; what is left for personas."""
    wanted, passages = _wanted(writing, documents), texts_by_id(writing.corpus)
    # those of the other sides are to be met by surprise
    asked = [query.text for query in log if query.split == "train"]
    questions = synthesis.question_prompts(wanted, passages, asked)
    most, for_persona = _shares(llm, wanted, questions, writing.params)
    with writing.progress.bar(len(wanted), "calls") as advance:
        replies = llm.ask(questions, STAGE, advance, most)
    tasks, others = _again(wanted, questions, replies, passages, writing.words)
    left = None if most is None else most - len(replies) + cut_off(replies)
    with writing.progress.bar(len(others), "calls for what broke a rule") as advance:
        answers = llm.ask(others, STAGE, advance, left)
    found = [*synthesis.written(wanted, replies), *synthesis.written(tasks, answers)]
    return found, [*replies, *answers], for_persona


def _again(
    wanted: Sequence[Task],
    questions: Sequence[Prompt],
    replies: Sequence[Answer | Failure],
    passages: Mapping[str, str],
    words: PassageWords,
) -> tuple[list[Task], list[Prompt]]:
    """What was written and breaks a rule: its task, and the call that says so and asks for another."""
    tasks, prompts = [], []
    for task, prompt, reply in zip(wanted, questions, replies, strict=True):
        if isinstance(reply, Answer):
            (query,) = synthesis.written([task], [reply])
            own = [passages[source] for source in task.sources]
            if reason := query_filters.rule_broken(query, own, words):
                tasks.append(task)
                prompts.append(synthesis.again(prompt, reply, reason))
    return tasks, prompts


def _wanted(writing: _Writing, documents: pa.Table) -> list[Task]:
    params, corpus = writing.params, writing.corpus
    styles = synthesis.read_styles(params.styles)
    wanted = synthesis.tasks(corpus, documents, params.counts(writing.labelled), styles, params.seed)
    if not wanted:
        raise InputError(
            f"none of {len(corpus):,} passages has the {synthesis.LEAST_CHARS} characters that a question "
            "needs; give longer documents"
        )
    return wanted


def read_query_log(path: Path, params: Shares, labelled: bool) -> list[Written]:
    """Real queries from a file, one a line, dealt out by the settings' shares; to the test where that has no labels.

    Raises:
        InputError: When it is no text, or holds nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    random = np.random.default_rng(params.seed)
    test = 0.0 if labelled else params.test_share
    shares = (test, params.dev_share, 1 - test - params.dev_share)
    listed = [line for line in map(str.strip, lines) if line]
    if not listed:
        raise InputError(f"query_log {path} is empty; give a text file with one query a line")
    splits = random.choice(SIDES, size=len(listed), p=shares)
    return [Written(line, "", str(split), "log") for line, split in zip(listed, splits, strict=True)]


def _keep_found(queries: list[Written], writing: _Writing) -> tuple[list[Written], list[Dropped]]:
    """Those that lead back to their passages."""
    params = writing.params
    free = [query for query in queries if not query.sources]
    others, dropped = [query for query in queries if query.sources], list[Dropped]()
    if params.round_trip and others:
        named = {str(at): query.text for at, query in enumerate(others)}
        systems: dict[str, Retriever] = {"base": writing.base, "bm25": BM25.fitting(writing.corpus)}
        runs = search_each(systems, named, writing.corpus, _DEEPER * params.round_trip, writing.progress)
        home = _homes(writing.corpus)
        places = [_ranks(run, home) for run in runs.values()]
        ranks = [
            _best([_worst(found, str(at), [home[name] for name in query.sources]) for found in places])
            for at, query in enumerate(others)
        ]
        # a test of what is found already would hide what is gained
        found = [
            rank and math.ceil(rank / (1 if query.split == "train" else _DEEPER))
            for query, rank in zip(others, ranks, strict=True)
        ]
        others, dropped = query_filters.keep_found(others, found, params.round_trip)
        _check_found(others, dropped)
    return [*free, *others], dropped


def _shares(
    llm: LLM, wanted: Sequence[Task], prompts: Sequence[Prompt], params: Synthesis
) -> tuple[int | None, int | None]:
    """How many calls may be paid for queries from passages and for those of a persona; None: as many as it takes.

    Together at most a third of the budget: a query of which nothing is graded teaches nothing.
    """
    left = calls_left(llm, STAGE, prompts)
    kept = KEPT * sum(task.split == "train" for task in wanted)
    in_persona = synthesis.persona_calls(round(kept * params.persona_queries))
    # each may be asked for twice
    calls = 2 * len(wanted)
    if left is None or calls + in_persona <= left // _WRITING_PART:
        return None, None
    from_passages = left // _WRITING_PART * calls // (calls + in_persona)
    return from_passages, left // _WRITING_PART - from_passages


def _persona_queries(
    kept: Sequence[Written], writing: _Writing, llm: LLM, most: int | None
) -> tuple[list[Written], list[Answer | Failure]]:
    params = writing.params
    of_domain: dict[str, list[str]] = {}
    for query in kept:
        if query.split == "train":
            of_domain.setdefault(query.domain, []).append(query.text)
    encoder = writing.base.encoder
    persona = synthesis.Persona(llm, STAGE, lambda listed: encoder.encode(listed, "query")[:], params.seed)
    found: list[Written] = []
    replies: list[Answer | Failure] = []
    for place, (domain, examples) in enumerate(sorted(of_domain.items())):
        count = round(params.persona_queries * len(examples))
        asked = len(replies) - cut_off(replies)
        part = None if most is None else (most - asked) // (len(of_domain) - place)
        with writing.progress.bar(synthesis.persona_calls(count), "calls for queries in a persona") as advance:
            written, answers = persona.write(examples, domain, count, part, advance)
        found += written
        replies += answers
    return found, replies


def _best(ranks: Sequence[int | None]) -> int | None:
    return min((rank for rank in ranks if rank is not None), default=None)


def _worst(places: Mapping[tuple[str, str], int], query_id: str, sources: Sequence[str]) -> int | None:
    """The worst rank of a query's passages, as many of them as there are being first at best."""
    ranks = [places.get((query_id, source)) for source in sources]
    return None if None in ranks else max(1, max(rank for rank in ranks if rank) - len(sources) + 1)


def _homes(corpus: pa.Table) -> dict[str, str]:
    """Passage to the first one that it is nearly the same as, itself where it is the first: finding that is enough."""
    first: dict[int, str] = {}
    return {
        doc_id: doc_id if cluster is None else first.setdefault(cluster, doc_id)
        for doc_id, cluster in each(corpus, "doc_id", "cluster")
    }


def _ranks(run: pa.Table, home: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """The best rank of each query and passage, near-duplicates of which count as it."""
    found: dict[tuple[str, str], int] = {}
    for (query_id, doc_id), rank in run_ranks(run).items():
        found.setdefault((query_id, home[doc_id]), rank)
    return found


def _check_found(kept: Sequence[Written], dropped: Sequence[Dropped]) -> None:
    """Stops where nearly nothing leads back to its passage: what is left by chance would be trained on and graded."""
    tried = len(kept) + len(dropped)
    if tried >= _TRIED and len(kept) < tried * _FOUND:
        shown = "".join(f"\n  {lost.query.text}" for lost in dropped[:5])
        raise InputError(
            f"{len(kept)} of {tried} written queries lead back to their passage, at least {_FOUND:.0%} must: they say "
            "too little of it. Nothing was graded. Give a larger LLM; or go on with all of them: "
            f"--round-trip 0 --redo synthesis. Some of them:{shown}"
        )


def _check_enough(kept: Sequence[Written], labelled: bool, lost: int) -> None:
    for split in ("train", "dev") if labelled else ("train", "dev", "test"):
        count = sum(query.split == split for query in kept)
        if count < _LEAST:
            raise InputError(
                f"{count} {split} querie(s) are left, at least {_LEAST} are needed: raise "
                + (f"the budget, which cut off {lost:,} calls" if lost else "--passages")
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


def _easiness(kept: Sequence[Written], queries: pa.Table, sources: pa.Table, writing: _Writing) -> dict[str, float]:
    """How far words alone lead from a query to its passage: where BM25 is nearly perfect, so will be any model."""
    passages = texts_by_id(writing.corpus)
    shares = [query_filters.overlap(query.text, passages[query.sources[0]]) for query in kept if query.sources]
    ids = sources["query_id"].unique().to_pylist()
    if not ids:
        return {"overlap": 0.0, "bm25_mrr5": 0.0, "queries": 0}
    asked = dict(each(only(queries, "query_id", ids), "query_id", "text"))
    run = search_each({"bm25": BM25.fitting(writing.corpus)}, asked, writing.corpus, 5, Silent())["bm25"]
    means = measuring.means(measuring.measure(run, sources, ids))
    return {"overlap": float(np.mean(shares)), "bm25_mrr5": means["MRR@5"], "queries": len(ids)}
