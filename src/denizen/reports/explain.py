"""`explain`: where a query and what was trained on it come from: passage, document, origin, judge's reply and price."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denizen.data.tables import read_table, relevant, run_ranks
from denizen.engine.errors import InputError
from denizen.llm.replies import Replies, StoredReply
from denizen.recipes.run_folder import read_config
from denizen.reports.finished_run import FinishedRun
from denizen.supervision.teachers import replies_path

_TEXT_CHARS = 240
_SYSTEMS = ("base", "adapted")


def explain(run: Path, query_id: str) -> dict[str, Any]:
    """The lineage of a query.

    Args:
        run: The folder of a finished run.
        query_id: A query of any split.

    Returns:
        The query with its origin; every example that it is the query of, with the lineage of each passage; the test's
        ranks before and after where it is a test query.

    Raises:
        InputError: When the folder holds no finished run, or the run has no such query.
    """
    return lineage_of(FinishedRun(run), query_id)


def lineage_of(found: FinishedRun, query_id: str) -> dict[str, Any]:
    """As `explain`, for a run that is read already."""
    row = found.queries.get(query_id)
    if row is None:
        known = ", ".join(list(found.queries)[:3])
        raise InputError(f"{found.folder} has no query {query_id!r}; it has {len(found.queries):,}, such as {known}")
    judged = _judgments(found, query_id)
    replies = _replies(found, judged)
    passages = found.passages
    lineage = _Lineage(found.text_of, passages, judged, replies)
    examples = [
        {
            "round": example["round"] + 1,
            "kind": example["kind"],
            "reason": example["reason"],
            "positive": lineage.of(example["positive_id"]),
            "negatives": [lineage.of(doc_id) for doc_id in example["negative_ids"]],
        }
        for example in found.examples
        if example["query_id"] == query_id
    ]
    source = row["source_doc_id"]
    return {
        "query": {**row, "source": lineage.of(source) if source in passages else None},
        "examples": examples,
        "judgments": [lineage.of(doc_id) for doc_id in judged],
        "test": _test(found, query_id, lineage),
        "depth": found.depth,
    }


def explain_lines(found: dict[str, Any]) -> list[str]:
    """The lineage as people read it."""
    query = found["query"]
    origin = query["origin"] or "the source"
    lines = [f"query {query['query_id']}  ({query['split']}, origin: {origin})", f"  {query['text']}"]
    if query["source"]:
        lines += ["written for", *_passage(query["source"])]
    depth = found["depth"]
    if found["test"]:
        ranks = ", ".join(f"{system} {rank or f'below {depth}'}" for system, rank in found["test"]["ranks"].items())
        lines += [f"test: rank of the first relevant passage: {ranks}", "relevant"]
        lines += [line for passage in found["test"]["relevant"] for line in _passage(passage)]
    for example in found["examples"]:
        why = f", {example['reason']}" if example["reason"] else ""
        lines += [f"trained on in round {example['round']} ({example['kind']}{why})", "  positive"]
        lines += [f"  {line}" for line in _passage(example["positive"])]
        for negative in example["negatives"]:
            lines += ["  negative", *(f"  {line}" for line in _passage(negative))]
    if not found["examples"]:
        lines.append("not trained on")
    if found["judgments"]:
        cost = sum(passage["judgment"]["cost"] or 0.0 for passage in found["judgments"])
        lines.append(f"{len(found['judgments'])} passages judged for it, {cost:.6f} in all")
    return lines


class _Lineage:
    """Looks up where a passage comes from and what was said of it for this query."""

    def __init__(
        self,
        texts: Mapping[str, str],
        passages: Mapping[str, Mapping[str, Any]],
        judged: Mapping[str, Mapping[str, Any]],
        replies: Mapping[str, StoredReply],
    ) -> None:
        self._texts = texts
        self._passages = passages
        self._judged = judged
        self._replies = replies

    def of(self, doc_id: str) -> dict[str, Any]:
        """The passage with its document, and the judgment with its reply."""
        row, judgment = self._passages[doc_id], self._judged.get(doc_id)
        place = {name: row[name] for name in ("parent_id", "source", "domain", "start", "end")}
        found = {"doc_id": doc_id, "document": place, "text": self._texts[doc_id], "judgment": None}
        if judgment is not None:
            reply = self._replies.get(judgment["prompt_hash"])
            said = None if reply is None else {"text": reply.text, "model": reply.model, "when": reply.created}
            names = ("grade", "score", "teacher", "prompt_hash", "cost", "stage")
            found["judgment"] = {**{name: judgment[name] for name in names}, "reply": said}
        return found


def _judgments(run: FinishedRun, query_id: str) -> dict[str, dict[str, Any]]:
    """Passage id to the judgment, the first where there are several."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(run.folder.glob("**/judgments.parquet")):
        if path.parent.name.startswith("."):
            continue
        stage = path.parent.relative_to(run.folder).as_posix()
        for row in read_table(path, "judgments").to_pylist():
            if row["query_id"] == query_id:
                found.setdefault(row["doc_id"], {**row, "stage": stage})
    return found


def _replies(run: FinishedRun, judged: Mapping[str, Mapping[str, Any]]) -> dict[str, StoredReply]:
    keys = {row["prompt_hash"] for row in judged.values() if row["prompt_hash"]}
    path = replies_path(read_config(run.folder), run.folder)
    if not keys or not path.is_file():
        return {}
    store = Replies(path, "")
    try:
        return store.find(keys)
    finally:
        store.close()


def _test(run: FinishedRun, query_id: str, lineage: _Lineage) -> dict[str, Any] | None:
    known = relevant(run.test_qrels).get(query_id)
    if known is None:
        return None
    ranks = {}
    for system in _SYSTEMS:
        of_query = {doc: rank for (query, doc), rank in run_ranks(run.run(system)).items() if query == query_id}
        ranks[system] = min((rank for doc, rank in of_query.items() if doc in known), default=None)
    return {"ranks": ranks, "relevant": [lineage.of(doc_id) for doc_id in known]}


def _passage(found: dict[str, Any]) -> list[str]:
    document = found["document"]
    place = f"{document['parent_id']}, characters {document['start']} to {document['end']}"
    text = found["text"]
    cut = text if len(text) <= _TEXT_CHARS else f"{text[:_TEXT_CHARS]}…"
    lines = [f"  {found['doc_id']}  (document {place})", f"    {' '.join(cut.split())}"]
    judgment = found["judgment"]
    if judgment:
        said = f"grade {judgment['grade']}" if judgment["grade"] is not None else f"score {judgment['score']:.3f}"
        price = "" if judgment["cost"] is None else f", price {judgment['cost']:.6f}"
        lines.append(f"    {said} by {judgment['teacher']} in {judgment['stage']}{price}")
        if judgment["reply"]:
            lines.append(f"    its reply ({judgment['reply']['when']}): {' '.join(judgment['reply']['text'].split())}")
    return lines
