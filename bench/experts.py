"""Experts of slices, merged, against one model on all data: arXiv 2602.04731 with the baselines that it leaves out.

Four slices of real sets (medical, finance, legal, general), 1,000 passages each in equal parts of its sets: what is
relevant to training queries, to dev's and to test's, drawn by hash and the same for every seed. An expert takes at most
60 steps; 12 merges are measured on 300 passages a slice; the model on all data takes as many steps as all experts
together. A decoder-only LLM of 135M weights has 400 passages a slice, 20 steps, and 6 merges on 150: a step of it costs
some forty of MiniLM's. A part is one base and one seed, and goes on where it was stopped.

    python bench/experts.py --part MODEL/SEED [--part MODEL/SEED ...] [--decoder SmolLM2-135M-Instruct.gguf]
    python bench/experts.py
    python bench/experts.py tiny

The first writes bench/results/experts/MODEL-SEED.json for each as soon as it is done; the second prints the table of
what is there and names the parts that are missing; the third tries it all at a size of some minutes and keeps nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from denizen.api import experts
from denizen.data.splitting import SIDES
from denizen.engine.progress import Terminal
from denizen.recipes.experts_config import ExpertsConfig
from denizen.reports.experts import advantage_lines, called_system, system_lines
from few_labels import Labelled, read_labelled, write
from measuring import RUNS, chosen_of, data, keep, print_kept, seconds_by_stage, shown

SLICES = {
    "medical": ("medquad", "pubmedqa"),
    "finance": ("financial_qa_10k", "tatqa"),
    "legal": ("obliqa", "policyqa", "cfpb_regs"),
    "general": ("nq_general",),
}
_ENCODER, _DECODER = "minilm", "smollm2"
_MINILM = "all-MiniLM-L6-v2"
SEEDS = {_ENCODER: (42, 43, 44), _DECODER: (42,)}
_MEASURE = "nDCG@10"
_FOLDER = "experts"
# of a slice's passages, those that training, dev and test queries are about
_SHARES = {"train": 0.6, "dev": 0.15, "test": 0.25}


@dataclass(frozen=True)
class Size:
    """How much is done: passages of a slice, steps of an expert, merges, and passages of a slice that those see."""

    passages: int
    steps: int
    merges: int
    measured: int


FULL, TINY = {_ENCODER: Size(1000, 60, 12, 300), _DECODER: Size(400, 20, 6, 150)}, Size(60, 1, 5, 20)


@dataclass(frozen=True)
class Part:
    """One run: a base and a seed."""

    model: str
    seed: int

    @property
    def asked(self) -> str:
        """As it is asked for."""
        return f"{self.model}/{self.seed}"

    @property
    def name(self) -> str:
        """As it is kept."""
        return f"{_FOLDER}/{self.model}-{self.seed}"


_ROWS = ("passages", "queries")
PARTS = [Part(model, seed) for model, seeds in SEEDS.items() for seed in seeds]


def main(parts: Sequence[Part], decoder: str) -> None:
    for part in parts:
        result = measured(part, decoder if part.model == _DECODER else _MINILM, FULL[part.model], part.name)
        show(result)
        keep(part.name, result)


def measured(part: Part, model: str, size: Size, name: str) -> dict[str, Any]:
    """The figures of one run from a model, by its name or where it lies."""
    sources = [slice_folder(of_slice, size) for of_slice in SLICES]
    settings = {
        "model": model,
        "seed": part.seed,
        # 1,000 passages make some 600 examples: three epochs of 640 are 60 steps of 32 (of 400 passages 240: 20 steps)
        "epochs": 3.0,
        "expert_steps": size.steps,
        "merge_evaluations": size.merges,
        "dev_passages": size.measured,
        "drop_leaks": True,
        "store": str(RUNS / _FOLDER / "store"),
    }
    out = RUNS / name
    report = experts(ExpertsConfig(sources, **settings), out, progress=Terminal())
    stages = seconds_by_stage(out)
    left_out = ("model", "experts", "config", "machine")
    kept = {key: value for key, value in report.items() if key not in left_out}
    # folders say where this was run, and nothing of what came out
    asked = {key: value for key, value in report["config"].items() if key not in ("sources", "store", "model")}
    found = {"base": part.model, "seed": part.seed, "sets": SLICES, **kept, "settings": asked}
    return {**found, "seconds": round(sum(stages.values()), 1), "seconds_by_stage": stages}


def slice_folder(name: str, size: Size) -> str:
    """A BEIR folder of a slice, written anew: the same bytes each time."""
    folder = RUNS / _FOLDER / f"slices-{size.passages}" / name
    sets = SLICES[name]
    drawn = [named(part_of(read_labelled(data(of)), size.passages // len(sets)), of) for of in sets]
    passages, queries = ({key: row for of in drawn for key, row in getattr(of, kind).items()} for kind in _ROWS)
    links = {side: {key: known for of in drawn for key, known in of.links[side].items()} for side in SIDES}
    write(folder, Labelled(passages, queries, links))
    return str(folder)


def part_of(found: Labelled, size: int) -> Labelled:
    """So many passages of a set: what is relevant to queries of each side, as many queries as that has room for.

    A query whose passages are all taken by its own side costs none. No passage is relevant on two sides. What is left
    of the number is filled with others.
    """
    taken: dict[str, str] = {}
    links = {}
    for side, share in _SHARES.items():
        room, of_side = round(share * size), dict[str, dict[str, int]]()
        for query_id in in_order(found.links[side]):
            known = {doc_id: grade for doc_id, grade in found.links[side][query_id].items() if doc_id in found.passages}
            new = [doc_id for doc_id in known if doc_id not in taken]
            elsewhere = any(taken.get(doc_id, side) != side for doc_id in known)
            if known and not elsewhere and len(new) <= room:
                of_side[query_id] = known
                taken.update(dict.fromkeys(new, side))
                room -= len(new)
        links[side] = of_side
    others = [doc_id for doc_id in in_order(found.passages) if doc_id not in taken]
    kept = {*taken, *others[: max(0, size - len(taken))]}
    asked = {query_id for of_side in links.values() for query_id in of_side}
    passages = {doc_id: row for doc_id, row in found.passages.items() if doc_id in kept}
    return Labelled(passages, {name: row for name, row in found.queries.items() if name in asked}, links)


def in_order(names: Iterable[str]) -> list[str]:
    """An order that is as good as random and the same whatever else is there."""
    return sorted(names, key=lambda name: sha256(f"experts:{name}".encode()).digest())


def named(found: Labelled, name: str) -> Labelled:
    """A set whose ids say which it is; it has its splits by side, so one query stands on one side alone."""
    passages, queries = (
        {f"{name}-{key}": {**row, "_id": f"{name}-{key}"} for key, row in getattr(found, kind).items()}
        for kind in _ROWS
    )
    links = {
        side: {f"{name}-{key}": {f"{name}-{doc}": grade for doc, grade in known.items()} for key, known in of.items()}
        for side, of in found.links.items()
    }
    return Labelled(passages, queries, links)


def show(result: Mapping[str, Any]) -> None:
    """One run."""
    print(f"\n{result['base']}, seed {result['seed']}: {result['seconds']:.0f} s, shipped: {result['shipped']['name']}")
    print(f"  {result['merge']['called']}, {result['merge']['measured']} merges measured")
    for rows in (system_lines(result), advantage_lines(result)):
        print(in_columns(rows), flush=True)


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """A row a system and base, the mean of its seeds with its spread; then what the merged model is better by."""
    blocks = []
    for base in dict.fromkeys(result["base"] for result in results):
        of_base = [result for result in results if result["base"] == base]
        slices = list(of_base[0]["slices"])
        rows = [[f"{base}, {len(of_base)} seed(s)", f"{_MEASURE}, mean of slices", *slices]]
        for system in of_base[0]["systems"]:
            means = [result["systems"][system]["means"][_MEASURE]["value"] for result in of_base]
            by_slice = (
                mean(result["slices"][name]["means"][system][_MEASURE] for result in of_base) for name in slices
            )
            rows.append([called_system(system), spread(means), *(f"{value:.3f}" for value in by_slice)])
        blocks += [in_columns(rows), *(advantages(result) for result in of_base)]
    return "\n\n".join(blocks)


def spread(values: Sequence[float]) -> str:
    """The mean, with the standard deviation where there is one."""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def advantages(result: Mapping[str, Any]) -> str:
    """What the merged model of one seed is better by, with intervals."""
    best = f"expert-{result['best_expert']}"
    lines = [f"  seed {result['seed']}: {result['merge']['called']}; shipped: {result['shipped']['name']}"]
    for name in ("all", best, "base", "random", "uniform"):
        found = result["systems"][name]["advantages"][_MEASURE]
        lines.append(f"    merged - {called_system(name):<26} {shown(found)}")
    return "\n".join(lines)


def _try() -> None:
    result = measured(PARTS[0], _MINILM, TINY, f"{_FOLDER}/tiny")
    print(table([result]))
    print(f"tried at the size {TINY} in {result['seconds']:.0f} s; kept: nothing but {Path(RUNS, _FOLDER, 'tiny')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Experts of slices, merged, against one model on all data.")
    parser.add_argument("do", nargs="?", choices=["tiny"])
    parser.add_argument("--part", action="append", default=[], metavar="MODEL/SEED")
    parser.add_argument("--decoder", default="", metavar="FILE", help="the LLM of parts that are of one")
    given = parser.parse_args()
    if given.do and given.part:
        parser.error("tiny takes no --part")
    if given.part:
        chosen = chosen_of(PARTS, given.part)
        if not given.decoder and any(part.model == _DECODER for part in chosen):
            parser.error(f"parts of {_DECODER} need --decoder")
        main(chosen, given.decoder)
    elif given.do:
        _try()
    else:
        print_kept(PARTS, table)
