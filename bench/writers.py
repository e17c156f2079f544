"""What questions an LLM writes: how many keep the rules, before and after it is asked again, and how many lead back.

A hundred questions for passages of two sets, in all styles in turn. Whether a question is of use (somebody could ask it
who has not seen the passage, and it is answered there and not everywhere) only a reader can say, who is given what is
kept, and whose count stands beside the rest.

    python bench/writers.py writer.gguf            # writes, counts, and prints what is kept to be read
    python bench/writers.py writer.gguf --read 41/50   # of so many read, so many were of use
    python bench/writers.py                        # the table of what is there

Replies are kept in runs/bench/writers; no text is in bench/results/writers.json.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from denizen.data.near_duplicates import clusters
from denizen.data.tables import rows_table, run_ranks, texts, texts_by_id, with_column
from denizen.engine.progress import Silent
from denizen.llm.answer import Answer, Failure
from denizen.llm.client import LLM
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.searching import search_each
from denizen.supervision import query_filters, synthesis
from denizen.supervision.query_rules import PassageWords
from denizen.supervision.synthesis import STYLES, Task
from denizen.supervision.written import Written
from few_labels import SETS as ALL_SETS
from few_labels import cell_of, read_labelled
from measuring import RESULTS, asked, data, keep, served

SETS = ("financial_qa_10k", "cfpb_regs")
_EACH, _ROUND_TRIP, _SEED = 50, 20, 7


def measured(llm: LLM) -> tuple[dict[str, Any], list[tuple[Written, str]]]:
    """A writer's counts, and every question with the passage that it was written for, of those that are kept."""
    counts = Counter[str]()
    kept: list[tuple[Written, str]] = []
    for name in SETS:
        source, built = ALL_SETS[name]
        found = cell_of(built(read_labelled(data(source))), "300", 1)
        rows = [(key, row.get("title") or "", row["text"], "", "", key) for key, row in sorted(found.passages.items())]
        corpus = rows_table("corpus", rows)
        corpus = with_column(corpus, "cluster", clusters(texts(corpus), 0.9))
        sides = rows_table("documents", [(key, "", "train") for key in found.passages])
        wanted = synthesis.tasks(corpus, sides, {"train": _EACH}, list(STYLES), _SEED)
        passages = texts_by_id(corpus)
        words = PassageWords.of(list(passages.values()))
        prompts = synthesis.question_prompts(wanted, passages)
        first = asked(llm, prompts)
        broken = [_rule(task, reply, passages, words) for task, reply in zip(wanted, first, strict=True)]
        counts.update(f"first: {reason or 'keeps the rules'}" for reason in broken)
        again = [
            (task, synthesis.again(prompt, reply, reason))
            for task, prompt, reply, reason in zip(wanted, prompts, first, broken, strict=True)
            if isinstance(reply, Answer) and reason
        ]
        second = asked(llm, [prompt for _, prompt in again])
        told = [_rule(task, reply, passages, words) for (task, _), reply in zip(again, second, strict=True)]
        counts.update(f"again: {reason or 'keeps the rules'}" for reason in told)
        wrote = synthesis.written([*wanted, *(task for task, _ in again)], [*first, *second])
        usable, _ = query_filters.keep_usable(wrote, passages, 0.9, (), words)
        named = {str(at): query.text for at, query in enumerate(usable)}
        ranks = run_ranks(search_each({"bm25": BM25.fitting(corpus)}, named, corpus, _ROUND_TRIP, Silent())["bm25"])
        back = [query for at, query in enumerate(usable) if (str(at), query.sources[0]) in ranks]
        counts["usable"] += len(usable)
        counts["lead back by BM25"] += len(back)
        kept += [(query, passages[query.sources[0]]) for query in back]
    return {"model": llm.model, "written": len(SETS) * _EACH, "counts": dict(sorted(counts.items()))}, kept


def _rule(task: Task, reply: Answer | Failure, passages: dict[str, str], words: PassageWords) -> str:
    """Which rule a reply breaks; empty where it keeps all."""
    if isinstance(reply, Failure):
        return f"no reply ({reply.kind})"
    (query,) = synthesis.written([task], [reply])
    return query_filters.rule_broken(query, [passages[source] for source in task.sources], words)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A row a writer."""
    lines = [["writer", "written", "keep the rules", "asked again: keep them", "lead back", "read: of use"]]
    for row in rows:
        counts = row["counts"]
        again = sum(count for name, count in counts.items() if name.startswith("again: "))
        lines.append(
            [
                row["model"],
                str(row["written"]),
                str(counts.get("first: keeps the rules", 0)),
                f"{counts.get('again: keeps the rules', 0)}/{again}",
                str(counts["lead back by BM25"]),
                row.get("of_use", "-"),
            ]
        )
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("file", type=Path, nargs="?")
    reader.add_argument("--read", metavar="OF_USE/READ")
    given = reader.parse_args()
    path = RESULTS / "writers.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    if given.file:
        llm = served(given.file, "writers")
        row, kept = measured(llm)
        for at, (query, passage) in enumerate(kept, start=1):
            print(f"{at:>3} {query.origin:<15}{query.text}\n      | {' '.join(passage.split())[:300]}")
        row["of_use"] = given.read or next(
            (old.get("of_use", "-") for old in rows if old["model"] == row["model"]), "-"
        )
        rows = [old for old in rows if old["model"] != row["model"]] + [row]
        keep("writers", {"sets": SETS, "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
