"""`explain`: where a query and what was trained on it come from: passage, document, origin, judge's reply and price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from denizen.engine.errors import InputError
from denizen.measuring.gains import first_relevant
from denizen.reports.finished_run import FinishedRun
from denizen.reports.lineage import made_from
from denizen.supervision.negatives import STAGE as NEGATIVES

_TEXT_CHARS = 240
_OF_DOCUMENT = ("parent_id", "source", "domain", "start", "end")
_OF_JUDGMENT = ("grade", "score", "teacher", "prompt_hash", "cost", "stage")


def explain(run: Path | FinishedRun, query_id: str) -> dict[str, Any]:
    """The lineage of a query of any split.

    Returns:
        The query with its origin; every example that it is the query of, with the lineage of each passage and the steps
        that made the examples; the test's ranks before and after where it is a test query.

    Raises:
        InputError: When the folder holds no finished run, or the run has no such query.
    """
    found = run if isinstance(run, FinishedRun) else FinishedRun(run)
    row = found.queries.get(query_id)
    if row is None:
        known = ", ".join(list(found.queries)[:3])
        raise InputError(f"{found.folder} has no query {query_id!r}; it has {len(found.queries):,}, such as {known}")
    judged = found.judgments(query_id)
    replies = found.replies({of["prompt_hash"] for of in judged.values() if of["prompt_hash"]})

    def passage(doc_id: str) -> dict[str, Any]:
        document = {name: found.passages[doc_id][name] for name in _OF_DOCUMENT}
        judgment = None
        if doc_id in judged:
            judgment = {name: judged[doc_id][name] for name in _OF_JUDGMENT}
            reply = replies.get(judgment["prompt_hash"])
            judgment["reply"] = reply and {"text": reply.text, "model": reply.model, "when": reply.created}
        return {"doc_id": doc_id, "document": document, "text": found.text_of[doc_id], "judgment": judgment}

    def written(example: dict[str, Any]) -> list[str]:
        doc_id = found.written_negatives.get((example["query_id"], example["positive_id"]))
        return [] if doc_id is None else [doc_id]

    examples = [
        {
            "round": example["round"] + 1,
            "kind": example["kind"],
            "reason": example["reason"],
            "positive": passage(example["positive_id"]),
            "negatives": [passage(doc_id) for doc_id in example["negative_ids"]],
            "written_negatives": [passage(doc_id) for doc_id in written(example)],
        }
        for example in found.examples
        if example["query_id"] == query_id
    ]
    trained_with = {of["doc_id"] for example in examples for of in example["written_negatives"]}
    unused = [doc_id for doc_id, of in judged.items() if of["stage"] == NEGATIVES and doc_id not in trained_with]
    steps = made_from(found.steps, found.examples_at or "") if examples else []
    test = None
    if query_id in found.known:
        right = found.known[query_id]
        ranks = {name: first_relevant(of, {query_id: right})[query_id] for name, of in found.ranked.items()}
        test = {"ranks": ranks, "relevant": [passage(doc_id) for doc_id in right]}
    return {
        "query": {**row, "source": passage(row["source_doc_id"]) if row["source_doc_id"] in found.passages else None},
        "examples": examples,
        "unused_negatives": [passage(doc_id) for doc_id in unused],
        "judgments": [passage(doc_id) for doc_id in judged],
        "test": test,
        "depth": found.depth,
        "steps": [{"step": place, "seconds": found.steps[place]["seconds"]} for place in steps],
    }


def explain_lines(found: dict[str, Any]) -> list[str]:
    """The lineage as people read it."""
    query, test = found["query"], found["test"]
    lines = [f"query {query['query_id']}  ({query['split']}, origin: {query['origin'] or 'the source'})"]
    lines.append(f"  {query['text']}")
    if query["source"]:
        lines += ["written for", *_passage(query["source"])]
    if test:
        below = f"below {found['depth']}"
        ranks = ", ".join(f"{system} {rank or below}" for system, rank in test["ranks"].items())
        lines += [f"test: rank of the first relevant passage: {ranks}", "relevant"]
        lines += [line for passage in test["relevant"] for line in _passage(passage)]
    for example in found["examples"]:
        why = f", {example['reason']}" if example["reason"] else ""
        lines.append(f"trained on in round {example['round']} ({example['kind']}{why})")
        shown = [("positive", example["positive"]), *(("negative", negative) for negative in example["negatives"])]
        shown += [("negative, written for training", negative) for negative in example["written_negatives"]]
        for role, passage in shown:
            lines += [f"  {role}", *(f"  {line}" for line in _passage(passage))]
    if not found["examples"]:
        lines.append("not trained on")
    for passage in found["unused_negatives"]:
        lines += ["written as a negative and not used", *_passage(passage)]
    if found["judgments"]:
        cost = sum(passage["judgment"]["cost"] or 0.0 for passage in found["judgments"])
        lines.append(f"{len(found['judgments'])} passages judged for it, {cost:.6f} in all")
    if found["steps"]:
        made = ", ".join(f"{step['step']} ({step['seconds']:,.1f} s)" for step in found["steps"])
        lines.append(f"examples made by {made}")
    return lines


def _passage(found: dict[str, Any]) -> list[str]:
    document, text, judgment = found["document"], found["text"], found["judgment"]
    place = f"{document['parent_id']}, characters {document['start']} to {document['end']}"
    cut = text if len(text) <= _TEXT_CHARS else f"{text[:_TEXT_CHARS]}…"
    lines = [f"  {found['doc_id']}  (document {place})", f"    {' '.join(cut.split())}"]
    if judgment:
        said = f"grade {judgment['grade']}" if judgment["grade"] is not None else f"score {judgment['score']:.3f}"
        price = "" if judgment["cost"] is None else f", price {judgment['cost']:.6f}"
        lines.append(f"    {said} by {judgment['teacher']} in {judgment['stage']}{price}")
        if judgment["reply"]:
            lines.append(f"    its reply ({judgment['reply']['when']}): {' '.join(judgment['reply']['text'].split())}")
    return lines
