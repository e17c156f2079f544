"""What a user with few labels gets: n labels are all there are, training and dev queries together.

    python bench/few_labels.py --part SET/LABELS/SEED ...   # LABELS a number, or all; writes its JSON at once
    python bench/few_labels.py                              # the table of what is there
    python bench/few_labels.py draw                         # docs/few_labels.svg (needs matplotlib)

LABELS queries are drawn from a set's train part by the seed and divided 80/20 into train and dev, queries that share a
passage together; with all the set's own train and dev parts are taken. Test queries are at most 500 of the set's. The
corpus is what is relevant to any of them and 3,000 others. tatqa_long and the like are passages of 200 to 700 tokens:
neighbours in the order of the corpus, with one title, are joined. Corpus and test are drawn by a seed of their own, so
that parts of a set differ in labels alone. Fewer others (`--others N`) and no nq_general (`--no-general`) are for
machines with little time; the JSON says so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from denizen.data.formats import read_source
from denizen.data.tables import relevant
from measuring import RESULTS, ROOT, RUNS, data, keep, timed_adapt

SETS = ("tatqa", "obliqa", "financial_qa_10k", "medquad", "policyqa", "cfpb_regs")
LONG = ("cfpb_regs_long", "medquad_long")
LABELS = ("100", "300", "all")
SEEDS = {"100": (1, 2, 3), "300": (1, 2, 3), "all": (1,)}
SYSTEMS = ("base", "bm25", "base-windows", "base-hybrid", "plain", "plain-hybrid", "ungated", "adapted", "hybrid")
_TEST = 500
_OTHERS = 3000
_DEV_SHARE = 0.2
# of a joined passage: about 200 to 700 tokens
_WORDS = (150, 500)
_FIXED = 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("draw", nargs="?", choices=["draw"])
    parser.add_argument("--part", action="append", default=[])
    parser.add_argument("--others", type=int, default=_OTHERS)
    parser.add_argument("--no-general", action="store_true")
    given = parser.parse_args()
    for part in given.part:
        name, labels, seed = part.split("/")
        measure(name, labels, int(seed), given.others, general=not given.no_general)
    if given.draw:
        draw(there())
    else:
        show(there())


def measure(name: str, labels: str, seed: int, others: int, *, general: bool) -> None:
    """Runs one part and writes its JSON."""
    place = f"few_labels/{name}-{labels}-{seed}"
    folder = RUNS / place / "labels"
    if not (folder / "qrels/test.tsv").is_file():
        write_part(name, labels, seed, others, folder)
    sets = {"general": (str(data("nq_general")),)} if general else {}
    store = str(RUNS / "few_labels/store")
    result = timed_adapt(f"{place}/run", folder, drop_leaks=True, store=store, **sets)
    metrics = result["metrics"]
    gate = metrics["gate"]
    keep(
        f"few_labels/{name}-{labels}-{seed}",
        {
            "part": {"set": name, "labels": labels, "seed": seed, "others": others, "general": general},
            "queries": metrics["data"]["queries"],
            "passages": metrics["data"]["passages"],
            "means": {system: metrics[system] for system in SYSTEMS if system in metrics},
            "differences": metrics["differences"],
            "advantages": metrics["advantages"],
            "shipped": metrics["shipped"],
            "chosen": metrics["chosen"],
            "reading": metrics["reading"],
            "decided": metrics["decided"],
            "gate": gate and {"met": gate["met"], "change": gate["change"]},
            "settings": result["settings"],
            "versions": metrics["versions"],
            "seconds": result["seconds"],
            "seconds_by_stage": result["seconds_by_stage"],
        },
    )


def write_part(name: str, labels: str, seed: int, others: int, folder: Path) -> None:
    """Writes what a part has as a BEIR folder."""
    source = read_source(str(data(name.removesuffix("_long"))))
    documents, links = source.documents.to_pylist(), relevant(source.qrels)
    if name.endswith("_long"):
        documents, links = joined(documents, links)
    queries: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for row in source.queries.to_pylist():
        if row["split"] in queries and links.get(row["query_id"]):
            queries[row["split"]].append(row["query_id"])
    text_of = {row["query_id"]: row["text"] for row in source.queries.to_pylist()}
    test = drawn(queries["test"], _TEST, _FIXED)
    sides = {"train": queries["train"], "dev": queries["dev"]}
    if labels != "all":
        sides = divided(drawn(queries["train"], int(labels), seed), links, seed)
    sides["test"] = test
    known = {doc_id for of in queries.values() for query_id in of for doc_id in links[query_id]}
    wanted = {doc_id for of in sides.values() for query_id in of for doc_id in links[query_id]}
    rest = [row["doc_id"] for row in documents if row["doc_id"] not in known]
    # what only other queries ask for fills up where there is too little else
    rest = drawn(rest, others, _FIXED)
    if len(rest) < others:
        more = [row["doc_id"] for row in documents if row["doc_id"] in known - wanted]
        rest += drawn(more, others - len(rest), _FIXED)
    wanted |= set(rest)
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    kept = (row for row in documents if row["doc_id"] in wanted)
    _write(folder / "corpus.jsonl", ({"_id": r["doc_id"], "title": r["title"] or "", "text": r["text"]} for r in kept))
    asked = (query_id for of in sides.values() for query_id in of)
    _write(folder / "queries.jsonl", ({"_id": query_id, "text": text_of[query_id]} for query_id in asked))
    for split, ids in sides.items():
        lines = [f"{query_id}\t{doc_id}\t1" for query_id in ids for doc_id in sorted(links[query_id])]
        text = "\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n"
        (folder / f"qrels/{split}.tsv").write_text(text, encoding="utf-8")


def joined(
    documents: Sequence[Mapping[str, Any]], links: Mapping[str, Mapping[str, int]]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    """Passages of 200 to 700 tokens: neighbours of one title joined; what is shorter then, or longer, is left out.

    Returns:
        The passages, and to which of them queries lead.
    """
    place: dict[str, str] = {}
    made: list[dict[str, Any]] = []
    for title, group in groupby(documents, key=lambda row: row["title"] or row["doc_id"]):
        text, ids = "", []
        for row in [*group, None]:
            words = len(text.split())
            if ids and (row is None or words >= _WORDS[0]):
                if _WORDS[0] <= words <= _WORDS[1]:
                    place |= dict.fromkeys(ids, ids[0])
                    made.append({"doc_id": ids[0], "title": "" if title == ids[0] else title, "text": text})
                text, ids = "", []
            if row is not None:
                text, ids = f"{text}\n{row['text']}".strip(), [*ids, row["doc_id"]]
    found = {query: {place[doc_id]: 1 for doc_id in of if doc_id in place} for query, of in links.items()}
    return made, {query: of for query, of in found.items() if of}


def drawn(ids: Sequence[str], count: int, seed: int) -> list[str]:
    """Some of them, the same ones of the same ids."""
    listed = sorted(ids)
    return [listed[at] for at in np.random.default_rng(seed).permutation(len(listed))[:count].tolist()]


def divided(ids: Sequence[str], links: Mapping[str, Mapping[str, int]], seed: int) -> dict[str, list[str]]:
    """About 80 % for train and the rest for dev; queries that share a passage stay together."""
    of: dict[str, str] = {query_id: query_id for query_id in ids}

    def root(query_id: str) -> str:
        while of[query_id] != query_id:
            query_id = of[query_id]
        return query_id

    first: dict[str, str] = {}
    for query_id in ids:
        for doc_id in links[query_id]:
            of[root(query_id)] = root(first.setdefault(doc_id, query_id))
    groups: dict[str, list[str]] = {}
    for query_id in ids:
        groups.setdefault(root(query_id), []).append(query_id)
    found: dict[str, list[str]] = {"train": [], "dev": []}
    for name in drawn(list(groups), len(groups), seed):
        side = "dev" if len(found["dev"]) + len(groups[name]) <= _DEV_SHARE * len(ids) else "train"
        found[side] += groups[name]
    return found


def there() -> dict[tuple[str, str, int], dict[str, Any]]:
    """The results that are there, by part."""
    found = {}
    for path in sorted((RESULTS / "few_labels").glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        part = result["part"]
        found[part["set"], part["labels"], part["seed"]] = result
    return found


def show(results: Mapping[tuple[str, str, int], dict[str, Any]]) -> None:
    """The table: MRR@5 on test by part, what is shipped, and which parts are missing."""
    print(f"{'part':<28}" + "".join(f"{system[:12]:>13}" for system in SYSTEMS) + f"{'shipped':>9}  over base")
    for (name, labels, seed), result in results.items():
        means = result["means"]
        row = "".join(f"{means[system]['MRR@5']:>13.3f}" if system in means else f"{'':>13}" for system in SYSTEMS)
        shipped = result["shipped"]
        gain = shipped["difference"]["MRR@5"]
        told = f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}] {shipped['name']}, {shipped['reading']}"
        print(f"{name}/{labels}/{seed:<6}".ljust(28) + row + f"{shipped['means']['MRR@5']:>9.3f}  {told}")
    for labels in LABELS:
        of = [result for (name, found, _), result in results.items() if found == labels and name in SETS]
        if of:
            mean = statistics.mean(result["shipped"]["difference"]["MRR@5"]["value"] for result in of)
            print(f"{labels} labels: what is shipped gains {mean:+.3f} over the base, mean of {len(of)} parts")
    wanted = [(name, labels, seed) for name in SETS for labels in LABELS for seed in SEEDS[labels]]
    missing = [f"{name}/{labels}/{seed}" for name, labels, seed in wanted if (name, labels, seed) not in results]
    print(f"missing: {', '.join(missing) or 'none'}")


def draw(results: Mapping[tuple[str, str, int], dict[str, Any]]) -> None:
    """Draws docs/few_labels.svg: the gain of what is shipped over the base by labels, a line a set."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "few_labels"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2))
    for name in SETS:
        points = []
        for at, labels in enumerate(LABELS):
            of = [result for (known, found, _), result in results.items() if (known, found) == (name, labels)]
            if of:
                gains = [result["shipped"]["difference"]["MRR@5"]["value"] for result in of]
                points.append((at, statistics.mean(gains)))
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xticks(range(len(LABELS)), [f"{labels} labels" for labels in LABELS])
    axes.set_xlim(-0.2, len(LABELS) - 0.8)
    axes.set_ylabel("MRR@5 of what is shipped, minus the base's")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(ROOT / "docs/few_labels.svg", bbox_inches="tight", metadata={"Date": None})
    print("drawn: docs/few_labels.svg")


def _write(path: Path, rows: Iterator[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    sys.exit(main())
