"""The search for an instruction against training, and training with instructions of no domain, under one budget.

The budget is a number of rows: a row that is trained on counts as one, and so does a query that is scored with an
instruction. All systems have the same labels, corpus and test queries of one set, drawn by hash:

    base          the decoder-only LLM as it is
    trained       one round of training on so many rows
    generic       the same with generic prompts (50)
    searched      a search of so many evaluations on the base
    both          half of the rows, then a search of half of the evaluations on what they made

A training step costs far more than an evaluation, and a call of the LLM more than both: seconds stand beside.

    python bench/prompts.py RETRIEVER LLM --part SET/SEED [--part SET/SEED ...]
    python bench/prompts.py
    python bench/prompts.py RETRIEVER LLM tiny

RETRIEVER is a decoder-only LLM, LLM a GGUF file that writes instructions, or a name at a server of one's own
(OPENAI_BASE_URL). The first writes
bench/results/prompts/SET-SEED.json for each part as soon as it is done; the second prints the table of what is there;
the third tries it all at a size of some minutes and keeps nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.api import adapt
from denizen.engine.files import read_json
from denizen.engine.progress import Terminal
from denizen.measuring.provenance import machine
from denizen.recipes.config import AdaptConfig
from denizen.recipes.evaluate import evaluate
from denizen.recipes.prompt_search import prompt_search
from experts import in_columns, part_of
from few_labels import read_labelled, write
from measuring import RUNS, chosen_of, data, keep, print_kept, seconds_by_stage, shown

SETS = ("obliqa", "financial_qa_10k", "medquad", "tatqa")
SEEDS = (42, 43, 44)
_MEASURE = "nDCG@10"
_FOLDER = "prompts"
_BATCH, _GENERIC = 32, 50
SYSTEMS = {
    "base": "as it is",
    "trained": "trained",
    "generic": "trained with generic prompts",
    "searched": "instruction searched",
    "both": "half trained, then half searched",
}


@dataclass(frozen=True)
class Size:
    """Passages of the set, and the budget in rows."""

    passages: int
    rows: int


# 60 steps, as an expert of bench/experts.py
FULL, TINY = Size(1000, 60 * _BATCH), Size(120, 100)


@dataclass(frozen=True)
class Part:
    """One set and one seed."""

    data_set: str
    seed: int

    @property
    def asked(self) -> str:
        """As it is asked for."""
        return f"{self.data_set}/{self.seed}"

    @property
    def name(self) -> str:
        """As it is kept."""
        return f"{_FOLDER}/{self.data_set}-{self.seed}"


PARTS = [Part(data_set, seed) for data_set in SETS for seed in SEEDS]


def measured(part: Part, retriever: str, llm: str, size: Size, name: str) -> dict[str, Any]:
    """The figures of one part."""
    source = RUNS / _FOLDER / f"sets-{size.passages}" / part.data_set
    drawn = part_of(read_labelled(data(part.data_set)), size.passages)
    write(source, drawn)
    out = RUNS / name
    # an adaptation mines about one example a query
    epochs = size.rows / len(drawn.links["train"])
    trained = {
        "trained": student(out / "trained", source, retriever, part.seed, epochs=epochs),
        "generic": student(out / "generic", source, retriever, part.seed, epochs=epochs, generic_prompts=_GENERIC),
        "half": student(out / "half", source, retriever, part.seed, epochs=epochs / 2),
    }
    searched = {
        "searched": search(retriever, out, "searched", llm, part.seed, size.rows),
        "both": search(trained["half"][0], out, "both", llm, part.seed, size.rows // 2),
    }
    models = {"base": retriever, **{system: trained[system][0] for system in ("trained", "generic")}}
    models |= {system: str(out / system / "model") for system in searched}
    found = evaluate(list(models.values()), source, bm25=False, store=str(RUNS / _FOLDER / "store"))
    # they are called by their folders there
    called = dict(zip(found["means"], models, strict=True))
    means = {called[folder]: values for folder, values in found["means"].items()}
    seconds = {system: each[1]["seconds"] for system, each in trained.items()}
    seconds |= {system: each["seconds"] for system, each in searched.items()}
    return {
        "set": part.data_set,
        "seed": part.seed,
        "rows": size.rows,
        "passages": size.passages,
        "queries": {side: len(links) for side, links in drawn.links.items()},
        "means": means,
        "differences": {called[folder]: each for folder, each in found["differences"].items()},
        "trained": {system: each[1] for system, each in trained.items()},
        "searches": searched,
        "seconds": {**seconds, "both": seconds["both"] + seconds["half"]},
        "machine": machine(),
    }


def student(out: Path, source: Path, retriever: str, seed: int, **settings: Any) -> tuple[str, dict[str, Any]]:
    """What one round of training makes of the retriever, on dev's choice or not, and what that took."""
    one = {"rounds": 1, "batch_size": _BATCH, "baselines": False, "cross_fitting": False, "windows": "whole"}
    shared = {"store": str(RUNS / _FOLDER / "store"), "drop_leaks": True}
    adapt(AdaptConfig(str(source), model=retriever, seed=seed, **one, **shared, **settings), out, progress=Terminal())
    facts = (read_json(out / "round-0/student/step.json") or {})["facts"]
    told = {"steps": facts["steps"], "examples": facts["rows"], "seconds": seconds_by_stage(out)["round-0/student"]}
    return str(out / "round-0/student"), told


def search(model: str, out: Path, name: str, llm: str, seed: int, evaluations: int) -> dict[str, Any]:
    """What a search for an instruction came to, on the sides of the run that was trained."""
    found = prompt_search(
        model,
        str(out / "trained"),
        llm,
        out / name,
        store=str(RUNS / _FOLDER / "store"),
        progress=Terminal(),
        seed=seed,
        evaluations=evaluations,
        prices="0/0",
    )
    names = ("own", "taken", "why", "unseen", "evaluations", "calls", "sentences", "failures", "queries")
    return {**{key: found["search"][key] for key in names}, "seconds": seconds_by_stage(out / name)["search"]}


def table(results: Iterable[Mapping[str, Any]]) -> str:
    """A row a system and part: its mean, what it is better by than the base, and its seconds."""
    rows = [["set", "seed", "system", _MEASURE, "- as it is", "seconds"]]
    for result in results:
        for system, called in SYSTEMS.items():
            apart = result["differences"].get(system)
            cells = [f"{result['means'][system][_MEASURE]:.3f}", shown(apart[_MEASURE]) if apart else ""]
            seconds = f"{result['seconds'][system]:.0f}" if apart else ""
            rows.append([result["set"], str(result["seed"]), called, *cells, seconds])
    return in_columns(rows)


def main(retriever: str, llm: str, parts: Sequence[Part]) -> None:
    for part in parts:
        result = measured(part, retriever, llm, FULL, part.name)
        print(table([result]), flush=True)
        keep(part.name, result)


def _try(retriever: str, llm: str) -> None:
    result = measured(PARTS[0], retriever, llm, TINY, f"{_FOLDER}/tiny")
    print(table([result]))
    for system, found in result["searches"].items():
        print(f"{system}: {found['taken'] or found['own']} ({found['why']})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Prompt search against training, and generic prompts while training.")
    parser.add_argument("retriever", nargs="?", help="a decoder-only LLM")
    parser.add_argument("llm", nargs="?", help="a GGUF file that writes instructions")
    parser.add_argument("do", nargs="?", choices=["tiny"])
    parser.add_argument("--part", action="append", default=[], metavar="SET/SEED")
    given = parser.parse_args()
    if not given.retriever:
        print_kept(PARTS, table)
    elif not given.llm or bool(given.do) == bool(given.part):
        parser.error("give RETRIEVER and LLM with --part, or with tiny")
    elif given.do:
        _try(given.retriever, given.llm)
    else:
        main(given.retriever, given.llm, chosen_of(PARTS, given.part))
