"""What a user with few labels gets: 100 labels, 300, or all that a set has.

So many labels are all there are: training and dev queries together are drawn from the set's train part and divided
80/20, no relevant passage on both sides; the set's dev part is not looked at. With "all" they are the set's own train
and dev parts. Every cell of a set is measured on the same test queries. Its passages are those relevant to them or to
its labels, and 3,000 others (all, where there are fewer) in an order that is the same for all cells, so that embeddings
are shared. Two things follow: a cell with more labels has more passages, so its base is not that of another (all gains
are within a cell), and seconds are those of work that no cell before has done.

cfpb_long and medquad_long are the same sets with long passages: consecutive paragraphs of a section joined to about 150
to 450 words, and the answers of 150 to 500 words alone. The mean over sets is without them.

    python bench/few_labels.py --part SET/LABELS/SEED [--part SET/LABELS/SEED ...]
    python bench/few_labels.py
    python bench/few_labels.py draw

The first writes bench/results/few_labels/SET-LABELS-SEED.json for each as soon as it is done; the second prints the
table of what is there, the third draws it as docs/few_labels.svg (needs matplotlib).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from denizen.data.delimited import Dialect
from denizen.data.formats.rows import BadRows, delimited, json_lines
from denizen.data.near_duplicates import tied
from denizen.data.splitting import SIDES, dev_from_train
from denizen.data.tables import each, rows_table
from measuring import ROOT, RUNS, chosen_of, data, keep, kept_of, print_kept, shown, timed_adapt

LABELS: tuple[str, ...] = ("100", "300", "all")
SEEDS = (1, 2, 3)
_MEASURES = ("MRR@5", "nDCG@10")
_SHOWN = "MRR@5"
_GENERAL = "nq_general"
_TEST, _OTHERS, _DEV_SHARE = 500, 3000, 0.2
# words of a passage that was joined, and of one that is long by itself
_JOINED, _LONG = (150, 450), (150, 500)
_FOLDER = "few_labels"

Row = dict[str, Any]
# query to passage to relevance
Links = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Labelled:
    """A set, or a part of one.

    Attributes:
        passages: Id to the row of corpus.jsonl, in the order of the file.
        queries: Id to the row of queries.jsonl.
        links: What is relevant, by side.
    """

    passages: Mapping[str, Row]
    queries: Mapping[str, Row]
    links: Mapping[str, Links]


@dataclass(frozen=True)
class Cell:
    """One run: a set, how many labels, and the seed that draws them."""

    data_set: str
    labels: str
    seed: int

    @property
    def asked(self) -> str:
        """As it is asked for."""
        return f"{self.data_set}/{self.labels}/{self.seed}"

    @property
    def name(self) -> str:
        """As it is kept."""
        return f"{_FOLDER}/{self.data_set}-{self.labels}-{self.seed}"


def main(cells: Sequence[Cell]) -> None:
    for cell in cells:
        result = measured(cell)
        show(result)
        keep(cell.name, result)


def measured(cell: Cell) -> dict[str, Any]:
    """The figures of one run."""
    source, built = SETS[cell.data_set]
    drawn = cell_of(built(read_labelled(data(source))), cell.labels, cell.seed)
    labels = RUNS / cell.name / "labels"
    write(labels, drawn)
    store, general = str(RUNS / _FOLDER / f"store-{cell.data_set}"), (str(data(_GENERAL)),)
    result = timed_adapt(f"{cell.name}/run", labels, drop_leaks=True, general=general, store=store)
    counts = {side: len(links) for side, links in drawn.links.items()}
    return {"set": cell.data_set, "labels": cell.labels, "seed": cell.seed, "drawn": counts, **figures(result)}


def figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a run: every system that it measured, what the user is given, the gate, and the time."""
    metrics = result["metrics"]
    differences = metrics["differences"]
    gate = metrics["gate"]
    found = {
        "queries": metrics["data"]["queries"],
        "queries_dropped_as_leaks": metrics["data"]["queries_dropped_as_leaks"],
        "passages": metrics["data"]["passages"],
        "means": {name: _some(metrics[name]) for name in ("base", *differences)},
        "differences": {name: _some(found) for name, found in differences.items()},
        "shipped": metrics["shipped"],
        "chosen": metrics["chosen"],
        "gate": {
            "change": gate["change"],
            "met": gate["met"],
            "limit": gate["limit"],
            _GENERAL: gate["sets"][_GENERAL]["differences"],
        },
        # folders say where this was run, and nothing of what came out
        "settings": {name: value for name, value in result["settings"].items() if name not in ("general", "store")},
        "seconds": result["seconds"],
        "seconds_by_stage": result["seconds_by_stage"],
    }
    return found | ({"reading": metrics["reading"]} if "reading" in metrics else {})


def _some(found: Mapping[str, Any]) -> dict[str, Any]:
    return {measure: found[measure] for measure in _MEASURES}


def read_labelled(folder: Path) -> Labelled:
    """A BEIR folder with all columns of its rows."""
    bad = BadRows()
    tables = []
    for name in ("corpus", "queries"):
        plain = folder / f"{name}.jsonl"
        path = plain if plain.is_file() else folder / f"{name}.jsonl.gz"
        tables.append({row["_id"]: row for _, row in json_lines(path, bad)})
    links: dict[str, Links] = {}
    for side in SIDES:
        of_side = links.setdefault(side, {})
        for _, row in delimited(folder / f"qrels/{side}.tsv", bad, Dialect("\t", quote="")):
            if int(row["score"]) > 0:
                of_side.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    bad.check()
    return Labelled(*tables, links)


def joined(found: Labelled) -> Labelled:
    """Consecutive passages of one title joined; a section that is short as a whole stays short."""
    passages, home = dict[str, Row](), dict[str, str]()
    for _, section in groupby(found.passages.values(), key=lambda row: row["title"]):
        for rows in _parts(section):
            name = rows[0]["_id"]
            passages[name] = {**rows[0], "text": "\n".join(row["text"] for row in rows)}
            home.update((row["_id"], name) for row in rows)
    links: dict[str, Links] = {side: {} for side in found.links}
    for side, of_side in found.links.items():
        for query_id, judged in of_side.items():
            mapped = links[side].setdefault(query_id, {})
            for doc_id, score in judged.items():
                mapped[home[doc_id]] = max(score, mapped.get(home[doc_id], score))
    return Labelled(passages, found.queries, links)


def _parts(section: Iterable[Row]) -> list[list[Row]]:
    """A section in parts that are long enough where they can be, and no longer than allowed unless by one paragraph."""
    least, most = _JOINED
    parts: list[list[Row]] = []
    for row in section:
        if not parts or _words(parts[-1]) >= least or _words([*parts[-1], row]) > most:
            parts.append([])
        parts[-1].append(row)
    # what is left over at the end goes to what stands before it
    if len(parts) > 1 and _words(parts[-1]) < least and _words([*parts[-2], *parts[-1]]) <= most:
        parts[-2:] = [[*parts[-2], *parts[-1]]]
    return parts


def long_alone(found: Labelled) -> Labelled:
    """The long passages, and the queries that one of them answers; labels of others are gone with the passages."""
    least, most = _LONG
    passages = {name: row for name, row in found.passages.items() if least <= _words([row]) <= most}
    links = {
        side: {query_id: kept for query_id, judged in of_side.items() if (kept := _only(judged, passages))}
        for side, of_side in found.links.items()
    }
    return Labelled(passages, found.queries, links)


def _only(judged: Mapping[str, int], passages: Mapping[str, Row]) -> dict[str, int]:
    return {doc_id: score for doc_id, score in judged.items() if doc_id in passages}


def _words(rows: Iterable[Row]) -> int:
    return sum(len(row["text"].split()) for row in rows)


def as_it_is(found: Labelled) -> Labelled:
    """A set as it is."""
    return found


# name to the folder in ../shared/data and what is made of it
SETS: dict[str, tuple[str, Callable[[Labelled], Labelled]]] = {
    "tatqa": ("tatqa", as_it_is),
    "obliqa": ("obliqa", as_it_is),
    "financial_qa_10k": ("financial_qa_10k", as_it_is),
    "medquad": ("medquad", as_it_is),
    "policyqa": ("policyqa", as_it_is),
    "cfpb_regs": ("cfpb_regs", as_it_is),
    "cfpb_long": ("cfpb_regs", joined),
    "medquad_long": ("medquad", long_alone),
}
MEAN_OF = {
    "mean of sets": [name for name, (source, _) in SETS.items() if name == source],
    "mean of long": [name for name, (source, _) in SETS.items() if name != source],
}
CELLS = [
    Cell(name, labels, seed) for name in SETS for labels in LABELS for seed in (SEEDS if labels != "all" else SEEDS[:1])
]


def cell_of(found: Labelled, labels: str, seed: int) -> Labelled:
    """The part of a set that one cell knows: its labels, the test queries of all cells, and its passages."""
    test = _in_order(found.links["test"], "test")[:_TEST]
    sides = draw_labels(found, labels, seed) | {"test": test}
    of_side = {"train": "train", "dev": "dev" if labels == "all" else "train", "test": "test"}
    links = {side: {name: found.links[of_side[side]][name] for name in names} for side, names in sides.items()}
    wanted = {doc_id for of_one in links.values() for judged in of_one.values() for doc_id in judged}
    others = [doc_id for doc_id in _in_order(found.passages, "others") if doc_id not in wanted]
    wanted.update(others[:_OTHERS])
    asked = {query_id for of_one in links.values() for query_id in of_one}
    return Labelled(
        {doc_id: row for doc_id, row in found.passages.items() if doc_id in wanted},
        {query_id: row for query_id, row in found.queries.items() if query_id in asked},
        links,
    )


def _in_order(names: Iterable[str], salt: str) -> list[str]:
    """An order that is as good as random and the same whatever else is there."""
    return sorted(names, key=lambda name: sha256(f"{salt}:{name}".encode()).digest())


def draw_labels(found: Labelled, labels: str, seed: int) -> dict[str, list[str]]:
    """The train and dev queries; of one seed, those of fewer labels are among those of more."""
    known = found.links["train"]
    if labels == "all":
        return {"train": [*known], "dev": [*found.links["dev"]]}
    count, names = int(labels), sorted(known)
    if count > len(names):
        sys.exit(f"{count} labels are asked for; the set has {len(names)} train queries")
    chosen = [names[at] for at in np.random.default_rng(seed).permutation(len(names))[:count].tolist()]
    groups = dict(zip(chosen, tied(known[name] for name in chosen), strict=True))
    rows = [{"query_id": name, "text": "", "split": "train", "origin": "source"} for name in chosen]
    divided = [*each(dev_from_train(rows_table("queries", rows), groups, _DEV_SHARE, seed), "query_id", "split")]
    return {side: [name for name, its in divided if its == side] for side in ("train", "dev")}


def write(folder: Path, found: Labelled) -> None:
    """Writes a BEIR folder, in place of one that is there."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", found.passages), ("queries", found.queries)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values())
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    for side, of_side in found.links.items():
        links = [(query_id, doc_id, score) for query_id, judged in of_side.items() for doc_id, score in judged.items()]
        lines = "".join("\t".join(map(str, row)) + "\n" for row in (("query-id", "corpus-id", "score"), *links))
        (folder / f"qrels/{side}.tsv").write_text(lines, encoding="utf-8")


def show(result: Mapping[str, Any]) -> None:
    """One run."""
    shipped, gate, counts = result["shipped"], result["gate"], result["queries"]
    sides = "/".join(str(counts[side]) for side in ("train", "dev", "test"))
    print(f"\n{result['set']}, {result['labels']} labels, seed {result['seed']}: {result['seconds']:.0f} s")
    print(f"  train/dev/test {sides}, {result['queries_dropped_as_leaks']} dropped as leaks")
    print(f"  {_SHOWN} " + ", ".join(f"{name} {found[_SHOWN]:.3f}" for name, found in result["means"].items()))
    print(f"  shipped: {shipped['name']} {shown(shipped['difference'][_SHOWN])}; {shipped['why']}")
    print(f"  {_GENERAL} {gate['change']['general']:+.4f}: {'met' if gate['met'] else 'MISSED'}", flush=True)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """A row for each set and count of labels, the mean of its seeds; then the means over sets, which count once each.

    A system that one of the runs does not measure is "-", since the mean would be of others.
    """
    systems = list(dict.fromkeys(name for result in results for name in result["means"]))
    header = ["set", "labels", "seeds", *systems, "shipped", "- base", "- BM25", "given", _GENERAL, "met"]
    rows, of_set = [header], {}
    for (name, labels), found in by_set(results):
        of_set[name, labels] = line = _line(found, systems)
        names = Counter(result["shipped"]["name"] for result in found)
        given = ", ".join(f"{count} {shipped}" for shipped, count in sorted(names.items()))
        met = f"{sum(result['gate']['met'] for result in found)}/{len(found)}"
        rows.append([name, labels, str(len(found)), *_cells(line), given, f"{line['forgotten']:+.4f}", met])
    for title, names in MEAN_OF.items():
        for labels in LABELS:
            lines = [of_set[name, labels] for name in names if (name, labels) in of_set]
            if lines:
                line = {key: _mean([each_line[key] for each_line in lines]) for key in lines[0]}
                of = f"{len(lines)} of {len(names)}"
                rows.append([title, labels, of, *_cells(line), "", f"{line['forgotten']:+.4f}", ""])
    widths = [max(len(row[at]) for row in rows) for at in range(len(header))]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def by_set(results: Sequence[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str], list[Mapping[str, Any]]]]:
    """The results of each set and count of labels, in the order of `CELLS`."""
    for key in dict.fromkeys((cell.data_set, cell.labels) for cell in CELLS):
        if found := [result for result in results if (result["set"], result["labels"]) == key]:
            yield key, found


def _line(found: Sequence[Mapping[str, Any]], systems: Sequence[str]) -> dict[str, float | None]:
    """The means over seeds."""
    shipped = [result["shipped"] for result in found]
    return {
        **{name: _mean([result["means"].get(name, {}).get(_SHOWN) for result in found]) for name in systems},
        "shipped": mean(each_one["means"][_SHOWN] for each_one in shipped),
        "gain": mean(each_one["difference"][_SHOWN]["value"] for each_one in shipped),
        "over_bm25": mean(each_one["difference_bm25"][_SHOWN]["value"] for each_one in shipped),
        "forgotten": mean(result["gate"]["change"]["general"] for result in found),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where one is not known."""
    there = [value for value in values if value is not None]
    return mean(there) if len(there) == len(values) else None


def _cells(line: Mapping[str, float | None]) -> list[str]:
    signed = ("gain", "over_bm25")
    shown_ones = ((name, value) for name, value in line.items() if name != "forgotten")
    return ["-" if value is None else f"{value:{'+' if name in signed else ''}.3f}" for name, value in shown_ones]


def draw(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """What is shipped against the number of labels, a line a set: over the base, and over BM25; bars span the seeds."""
    from matplotlib import pyplot
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    pyplot.rcParams["svg.hashsalt"] = "denizen"
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.8), sharey=True)
    colors = dict(zip(SETS, pyplot.colormaps["tab10"].colors, strict=False))
    for axis, key, title in zip(axes, ("difference", "difference_bm25"), ("base", "BM25"), strict=True):
        for name, lines in groupby(by_set(results), key=lambda item: item[0][0]):
            points = []
            for _, found in lines:
                gains = [100 * result["shipped"][key][_SHOWN]["value"] for result in found]
                count = mean(result["drawn"]["train"] + result["drawn"]["dev"] for result in found)
                points.append((count, mean(gains), min(gains), max(gains)))
            counts, middle, low, high = (np.array(column) for column in zip(*points, strict=True))
            style = {"color": colors[name], "linestyle": "-" if name in MEAN_OF["mean of sets"] else ":"}
            axis.plot(counts, middle, marker="o", markersize=4, label=name, **style)
            axis.vlines(counts, low, high, color=colors[name], linewidth=1, alpha=0.6)
        axis.axhline(0, color="black", linestyle="--", linewidth=1)
        axis.annotate(title, (1, 0), xycoords=axis.get_yaxis_transform(), xytext=(4, 0), textcoords="offset points")
        axis.set_title(f"what is shipped, over {title}", fontsize=10)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(FixedLocator([100, 300, 1000, 3000, 10000]))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("labelled queries (train and dev)")
        axis.grid(visible=True, alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(f"points of {_SHOWN} on test")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=len(SETS), fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What a user with few labels gets.")
    parser.add_argument("do", nargs="?", choices=["draw"])
    parser.add_argument("--part", action="append", default=[], metavar="SET/LABELS/SEED")
    given = parser.parse_args()
    if given.do and given.part:
        parser.error("draw takes no --part")
    if given.part:
        main(chosen_of(CELLS, given.part))
    elif given.do:
        draw(kept_of(CELLS)[0], ROOT / "docs" / "few_labels.svg")
    else:
        print_kept(CELLS, table)
