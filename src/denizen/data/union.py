"""One corpus of all domains: what is asked there is asked of everything at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data import passages
from denizen.data.artifacts import Corpus, Part, Qrels, Queries
from denizen.data.guard import named
from denizen.data.prepare import NearDuplicates
from denizen.data.tables import each, folded, only, relevant, rows_table, texts, with_column, write_table
from denizen.engine.artifact import Artifact
from denizen.engine.step import Context, step

# between the names of the domains of one passage: no domain is called so, for a folder must be able to have its name
_BETWEEN = "|"


class Union(Artifact):
    """Passages, queries and labels of all domains, under names that say of which they are, as medical/q1.

    The column `domain` of the corpus names all domains of a passage, as "finance|legal"; that of the queries has one.
    """

    corpus = Part("corpus.parquet", Corpus)
    queries = Part("queries.parquet", Queries)
    qrels = Part("qrels.parquet", Qrels)


def domains_of(value: str | None) -> tuple[str, ...]:
    """The domains that a value of the column `domain` names; none: the passage belongs to no domain."""
    return tuple(filter(None, (value or "").split(_BETWEEN)))


def of_domain(corpus: pa.Table, name: str) -> pa.Table:
    """The passages that are searched for one domain: its own, and those that belong to none."""
    listed = (domains_of(value) for value in corpus["domain"].to_pylist())
    return corpus.filter(pa.array([not its or name in its for its in listed], pa.bool_()))


def _planned(params: NearDuplicates, *, corpus: Mapping[str, Corpus], **inputs: Any) -> dict[str, Any]:
    return {"passages": sum(its.facts.get("passages", 0) for its in corpus.values())}


@step(version=2, makes=Union, name="union", plan=_planned)
def unite(
    out: Path,
    params: NearDuplicates,
    ctx: Context,
    *,
    corpus: Mapping[str, Corpus],
    queries: Mapping[str, Queries],
    qrels: Mapping[str, Qrels],
) -> dict[str, Any]:
    """Puts passages, queries and labels of all domains together.

    A passage that several domains have word for word is one passage of all of them, and stands under the name that the
    first of them, by name, gives it. Near-duplicates stay apart and are counted. A question that two domains have is
    asked in each, and what answers it in either is right in both. What one domain asks twice stays as it is there.

    Returns:
        `passages`, `shared` (of several domains), `near_duplicates` (with one in another domain, beside those),
        `queries_of_several_domains`, and `domains`: of each its passages.
    """
    whole, kept_as = _passages(corpus)
    whole = passages.ordered(passages.with_clusters(whole, params.near_duplicate))
    asked = pa.concat_tables(_asked(its.table, name) for name, its in queries.items())
    links = _links(qrels, kept_as, asked)
    for name, rows in (("corpus", whole), ("queries", asked), ("qrels", links)):
        write_table(out / f"{name}.parquet", rows)
    listed = [domains_of(value) for value in whole["domain"].to_pylist()]
    shared = sum(len(its) > 1 for its in listed)
    facts = {
        "passages": len(whole),
        "shared": shared,
        "near_duplicates": _near(whole),
        "queries_of_several_domains": _of_several(asked),
        "domains": {name: sum(name in its for its in listed) for name in corpus},
    }
    ctx.progress.note(
        f"{len(whole):,} passages in one corpus: {shared:,} of several domains, {facts['near_duplicates']:,} nearly "
        "the same as one of another domain"
    )
    return facts


def _passages(corpus: Mapping[str, Corpus]) -> tuple[pa.Table, dict[str, str]]:
    """All passages, each text of several domains once, and under which id each passage stands."""
    first: dict[str, tuple[str, list[str]]] = {}
    kept_as: dict[str, str] = {}
    parts = []
    for name, its in corpus.items():
        rows = named(its.table, name, "doc_id", "parent_id")
        own = []
        for doc_id, text in zip(rows["doc_id"].to_pylist(), texts(rows), strict=True):
            there = first.setdefault(text, (doc_id, [name]))
            # what one domain has twice stays two passages of it: its published figures count them so
            elsewhere = there[1][0] != name
            if elsewhere and name not in there[1]:
                there[1].append(name)
            kept_as[doc_id] = there[0] if elsewhere else doc_id
            if not elsewhere:
                own.append(doc_id)
        parts.append(with_column(only(rows, "doc_id", own), "domain", [name] * len(own)))
    whole = pa.concat_tables(parts)
    several = {doc_id: _BETWEEN.join(names) for doc_id, names in first.values() if len(names) > 1}
    of = [several.get(doc_id, domain) for doc_id, domain in each(whole, "doc_id", "domain")]
    return with_column(whole, "domain", of), kept_as


def _asked(queries: pa.Table, name: str) -> pa.Table:
    return with_column(named(queries, name, "query_id"), "domain", [name] * len(queries))


def _same(queries: pa.Table) -> dict[tuple[str, str], list[str]]:
    """Split and text to the queries that ask it."""
    found: dict[tuple[str, str], list[str]] = {}
    for query_id, split, text in each(queries, "query_id", "split", "text"):
        found.setdefault((split, folded(text)), []).append(query_id)
    return found


def _links(qrels: Mapping[str, Qrels], kept_as: Mapping[str, str], queries: pa.Table) -> pa.Table:
    links: dict[tuple[str, str], int] = {}
    for name, its in qrels.items():
        for query_id, doc_id, grade in each(its.table, "query_id", "doc_id", "relevance"):
            key = (f"{name}/{query_id}", kept_as[f"{name}/{doc_id}"])
            links[key] = max(grade, links.get(key, grade))
    made = rows_table("qrels", ((*pair, grade) for pair, grade in links.items()))
    known, home = relevant(made), dict(each(queries, "query_id", "domain"))
    for same in _same(queries).values():
        for query_id in same:
            for other in (name for name in same if home[name] != home[query_id]):
                for doc_id, grade in known.get(other, {}).items():
                    links[query_id, doc_id] = max(grade, links.get((query_id, doc_id), grade))
    return rows_table("qrels", ((*pair, grade) for pair, grade in links.items()))


def _of_several(queries: pa.Table) -> int:
    home = dict(each(queries, "query_id", "domain"))
    return sum(len(same) for same in _same(queries).values() if len({home[name] for name in same}) > 1)


def _near(corpus: pa.Table) -> int:
    """Passages with a near-duplicate that has another domain and is not the same passage."""
    of: dict[int, set[str]] = {}
    for cluster, domain in each(corpus, "cluster", "domain"):
        of.setdefault(cluster, set()).add(domain)
    return sum(len(of[cluster]) > 1 for cluster in corpus["cluster"].to_pylist())
