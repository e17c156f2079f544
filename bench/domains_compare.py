"""What to do with several domains: one model, routing, ensembles, merging, compared where domains are far and near.

Far: medical, finance, legal and general sets, 600 passages a domain. Near: four sets of law and rules and two of
financial reports, 400 passages a set. All of a setting stand in one corpus that every query searches. An expert takes
40 steps; 8 merges are measured on 200 passages a domain. A part is a setting, a base and a seed, and goes on where it
was stopped; the first seed takes the longest, for the others find what the base has embedded.

    python bench/domains_compare.py --part SETTING/MODEL/SEED [--part ...] [--minutes 25]
    python bench/domains_compare.py
    python bench/domains_compare.py tiny

The first writes bench/results/domains/SETTING-MODEL-SEED.json for each as soon as it is done; with --minutes it stops
itself after so many, to be run again. The second prints the table of what is there and names the parts that are
missing; the third tries it all at a size of some minutes and keeps nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from denizen.api import domains
from denizen.engine.pipeline import records
from denizen.engine.progress import Terminal
from denizen.recipes.domains_config import DomainsConfig
from denizen.reports.domains import cost_lines, domains_headline, option_lines, routing_lines
from experts import SLICES, in_columns, named, part_of, spread
from few_labels import Labelled, read_labelled, write
from measuring import RUNS, chosen_of, data, keep, print_kept, seconds_by_stage, stop_after

_NEAR = ("cfpb_regs", "obliqa", "policyqa", "insurance_dupq", "financial_qa_10k", "tatqa")
# setting to domain to its sets
SETTINGS: dict[str, dict[str, tuple[str, ...]]] = {"far": SLICES, "near": {name: (name,) for name in _NEAR}}
# adapters alone are trained in the second
MODELS: dict[str, dict[str, Any]] = {"minilm": {}, "minilm-lora": {"lora_rank": 16}}
SEEDS = (42, 43, 44)
_MEASURE = "nDCG@10"
_FOLDER = "domains"


@dataclass(frozen=True)
class Size:
    """How much is done: passages of a domain by setting, steps of an expert, merges, and passages that those see."""

    passages: Mapping[str, int]
    steps: int
    merges: int
    measured: int


FULL = Size({"far": 600, "near": 400}, 40, 8, 200)
TINY = Size({"far": 40, "near": 40}, 1, 2, 20)


@dataclass(frozen=True)
class Part:
    """One run: a setting, a base and a seed."""

    setting: str
    model: str
    seed: int

    @property
    def asked(self) -> str:
        """As it is asked for."""
        return f"{self.setting}/{self.model}/{self.seed}"

    @property
    def name(self) -> str:
        """As it is kept."""
        return f"{_FOLDER}/{self.setting}-{self.model}-{self.seed}"


PARTS = [Part(setting, "minilm", seed) for setting in SETTINGS for seed in SEEDS]
# one seed: whether adapters change what is to be done
PARTS += [Part(setting, "minilm-lora", SEEDS[0]) for setting in SETTINGS]


def main(parts: Sequence[Part]) -> None:
    for part in parts:
        result = measured(part, FULL, part.name)
        show(result)
        keep(part.name, result)


def measured(part: Part, size: Size, name: str) -> dict[str, Any]:
    """The figures of one run."""
    sources = [domain_folder(part.setting, domain, size) for domain in SETTINGS[part.setting]]
    settings = {
        **MODELS[part.model],
        "seed": part.seed,
        "epochs": 3.0,
        "expert_steps": size.steps,
        "merge_evaluations": size.merges,
        "dev_passages": size.measured,
        "drop_leaks": True,
        "store": str(RUNS / _FOLDER / "store"),
    }
    out = RUNS / name
    report = domains(DomainsConfig(sources, **settings), out, progress=Terminal())
    left_out = ("retriever", "experts", "config", "machine")
    kept = {key: value for key, value in report.items() if key not in left_out}
    # folders say where this was run, and nothing of what came out
    asked = {key: value for key, value in report["config"].items() if key not in ("sources", "store")}
    found = {"setting": part.setting, "base": part.model, "seed": part.seed, "sets": SETTINGS[part.setting]}
    seconds = seconds_by_stage(out)
    alone = {domain: seconds_alone(out, domain) for domain in report["domains"]}
    times = {"seconds": round(sum(seconds.values()), 1), "seconds_by_stage": seconds, "seconds_alone": alone}
    return {**found, **kept, "settings": asked, **times}


def seconds_alone(out: Any, domain: str) -> float:
    """What a domain takes by itself: its passages, its examples and its expert."""
    own = (f"slices/{domain}/", f"experts/{domain}")
    return round(sum(its["seconds"] for place, its in records(out).items() if place.startswith(own)), 1)


def domain_folder(setting: str, domain: str, size: Size) -> str:
    """A BEIR folder of a domain, written anew: the same bytes each time."""
    sets, passages = SETTINGS[setting][domain], size.passages[setting]
    folder = RUNS / _FOLDER / f"{setting}-{passages}" / domain
    drawn = [named(part_of(read_labelled(data(of)), passages // len(sets)), of) for of in sets]
    rows, queries = ({key: row for of in drawn for key, row in getattr(of, kind).items()} for kind in _ROWS)
    links = {side: {key: known for of in drawn for key, known in of.links[side].items()} for side in drawn[0].links}
    write(folder, Labelled(rows, queries, links))
    return str(folder)


_ROWS = ("passages", "queries")


def show(result: Mapping[str, Any]) -> None:
    """One run."""
    print(f"\n{result['setting']}, {result['base']}, seed {result['seed']}: {result['seconds']:.0f} s")
    print(domains_headline(result))
    for rows in (option_lines(result), cost_lines(result), routing_lines(result)):
        print(in_columns(rows), flush=True)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """A block a setting and base: a row an option, the mean of its seeds with its spread, and what is recommended."""
    blocks = []
    for setting, base in dict.fromkeys((result["setting"], result["base"]) for result in results):
        of = [result for result in results if (result["setting"], result["base"]) == (setting, base)]
        names = list(of[0]["domains"])
        rows = [[f"{setting}, {base}, {len(of)} seed(s)", f"{_MEASURE}, mean of domains", "- oracle", *names]]
        for option, its in of[0]["options"].items():
            means = [result["options"][option]["means"][_MEASURE]["value"] for result in of]
            oracle = [result["options"]["oracle"]["means"][_MEASURE]["value"] for result in of]
            gap = mean(means) - mean(oracle)
            by_domain = (mean(result["domains"][name]["means"][option][_MEASURE] for result in of) for name in names)
            rows.append([its["called"], spread(means), f"{gap:+.3f}", *(f"{value:.3f}" for value in by_domain)])
        blocks += [in_columns(rows), "\n".join(recommended(result) for result in of)]
    return "\n\n".join(blocks)


def recommended(result: Mapping[str, Any]) -> str:
    """What one seed recommends, how sure that is, what falls, and how long one domain more takes."""
    said, options = result["recommended"], result["options"]
    taken = said["taken"]
    falls = [
        name
        for name, its in result["domains"].items()
        if (apart := its["own"][taken][_MEASURE])["value"] < -said["fall_limit"] and apart["high"] < 0
    ]
    more = options[taken]["seconds_to_add"] - mean(result["seconds_alone"].values())
    told = "told" if said["told"] else "cannot be told"
    return (
        f"  seed {result['seed']}: {options[taken]['called']} ({told}: {said['samples'].count(taken)} of "
        f"{len(said['samples'])} samples); below their own expert: {', '.join(falls) or 'no domain'}; one domain more "
        f"takes {more:+.0f} s beyond its own training"
    )


def _try() -> None:
    for setting in SETTINGS:
        result = measured(Part(setting, "minilm", 42), TINY, f"{_FOLDER}/tiny-{setting}")
        print(table([result]))
    print(f"tried at the size {TINY}; nothing is kept but {RUNS / _FOLDER}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What to do with several domains, far and near.")
    parser.add_argument("do", nargs="?", choices=["tiny"])
    parser.add_argument("--part", action="append", default=[], metavar="SETTING/MODEL/SEED")
    parser.add_argument("--minutes", type=float, default=0.0, help="Stop after so many; 0: at the end.")
    given = parser.parse_args()
    if given.do and given.part:
        parser.error("tiny takes no --part")
    if given.minutes:
        stop_after(given.minutes)
    if given.part:
        main(chosen_of(PARTS, given.part))
    elif given.do:
        _try()
    else:
        print_kept(PARTS, table)
