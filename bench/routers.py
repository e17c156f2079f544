"""Routers over frozen embeddings of MiniLM on labelled queries: which domain, how sure, are strangers known.

Five tasks of four real sets in ../shared/data: five domains (router_domains), twelve topics of insurance
(router_insurance), 77 intents of a bank (router_banking77), 150 intents and their ten domains (router_clinc150, whose
out-of-scope queries measure abstention). At most 6,000 training queries of a set, drawn alike from each label; those
whose text stands in dev or test, too, are left out. Routers are calibrated and chosen on dev; test is read once.

    python bench/routers.py [TASK ...]
    python bench/routers.py --llm FILE.gguf
    python bench/routers.py --table

The first writes bench/results/routers.json, a task at a time; the second asks an LLM for 100 dev and 200 test queries
of router_domains and writes bench/results/routers_llm.json; the third prints the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from denizen.measuring.routing import measure_router, milliseconds_a_query
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.encoder import Encoder
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.loading import locate
from denizen.retrievers.routing.decision import RoutingCosts, choose_thresholds
from denizen.retrievers.routing.fitting import Fitted, best_of, fit_embedding_routers, fit_llm_router
from denizen.retrievers.routing.labelled import LabelledQueries, drawn, unit
from denizen.retrievers.routing.saved import EMBEDDING_ROUTERS
from measuring import RESULTS, RUNS, data, keep, served
from tables import router_confusion_table, router_table

# task to its set and the column of its labels
TASKS = {
    "domains": ("router_domains", "label"),
    "insurance": ("router_insurance", "label"),
    "banking77": ("router_banking77", "label"),
    "clinc150": ("router_clinc150", "label"),
    "clinc150 domains": ("router_clinc150", "domain"),
}
_OUTSIDE = "oos"
_MOST, _SEED = 6000, 42
_LLM_DEV, _LLM_TEST = 100, 200
_NAME = "routers"
Sides = dict[str, LabelledQueries]


def main(tasks: list[str]) -> None:
    path = RESULTS / f"{_NAME}.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["tasks"] if path.is_file() else {}
    if unknown := set(tasks) - set(TASKS):
        sys.exit(f"unknown tasks {sorted(unknown)}; there are {', '.join(TASKS)}")
    for task in tasks or TASKS:
        kept[task] = measured(task)
        ordered = {name: kept[name] for name in TASKS if name in kept}
        keep(_NAME, {"base": "all-MiniLM-L6-v2", "seed": _SEED, "most_training_queries": _MOST, "tasks": ordered})
    print(router_table())


def measured(task: str) -> dict[str, Any]:
    """Every kind of router on a task, the best variant of each by dev."""
    encoder = _encoder()
    sides, left_out = read(task, encoder)
    began = time.monotonic()
    tried = fit_embedding_routers(sides["train"], sides["dev"], encoder.digest, _SEED)
    seconds = time.monotonic() - began
    found = {}
    for kind in EMBEDDING_ROUTERS:
        name = best_of(tried, (kind,))
        found[kind] = {"variant": name, **_figures(tried[name], sides["test"])}
    return {
        "labels": len(set(sides["train"].domains)),
        "queries": {side: len(of.inside.texts) for side, of in sides.items()},
        "outside": {side: len(of.texts) - len(of.inside.texts) for side, of in sides.items()},
        "left_out_of_train": left_out,
        "log_loss_dev": {name: of.log_loss for name, of in tried.items()},
        "chosen": best_of(tried, EMBEDDING_ROUTERS),
        "seconds_of_training": round(seconds, 1),
        "routers": found,
    }


def with_llm(file: Path) -> None:
    """An LLM as a router of five domains, beside the router of embeddings that is chosen, on the same test queries."""
    encoder, llm = _encoder(), served(file, f"{_NAME}/llm")
    sides, _ = read("domains", encoder)
    tried = fit_embedding_routers(sides["train"], sides["dev"], encoder.digest, _SEED)
    chosen = best_of(tried, EMBEDDING_ROUTERS)
    test = sides["test"].only(drawn(len(sides["test"].texts), _LLM_TEST, _SEED))
    fitted = fit_llm_router(llm, sides["train"], sides["dev"], _LLM_DEV, _SEED)
    figures = _figures(fitted, test, timed=False)
    rows = {
        "llm": {"variant": file.stem, **figures},
        chosen.split()[0]: {"variant": chosen, **_figures(tried[chosen], test)},
    }
    keep(f"{_NAME}_llm", {"dev": _LLM_DEV, "test": _LLM_TEST, "routers": rows})


def _figures(fitted: Fitted, test: LabelledQueries, timed: bool = True) -> dict[str, Any]:
    router, dev = fitted.router, fitted.dev
    sure = router.probabilities(dev.texts, dev.embeddings)
    thresholds = choose_thresholds(sure, router.domains, dev.domains, RoutingCosts())
    figures = measure_router(router, thresholds, test)
    figures["confused"] = figures["confused"][:5]
    figures["by_domain"] = figures["by_domain"] if len(router.domains) <= 12 else {}
    thresholds_of = {"abstain_below": thresholds.abstain_below, "second_from": thresholds.second_from}
    return {"thresholds": thresholds_of, **({"ms": milliseconds_a_query(router, test)} if timed else {}), **figures}


def read(task: str, encoder: Encoder) -> tuple[Sides, int]:
    """Train, dev and test of a task, and how many training queries stand in dev or test, too."""
    name, column = TASKS[task]
    rows = {side: _rows(data(name) / f"{side}.jsonl", column) for side in ("train", "dev", "test")}
    held_out = {_plain(text) for side in ("dev", "test") for text, _ in rows[side]}
    train = [(text, label) for text, label in rows["train"] if label and _plain(text) not in held_out]
    left_out = sum(_plain(text) in held_out for text, label in rows["train"] if label)
    rows["train"] = [train[row] for row in _drawn_alike([label for _, label in train])]
    return {side: _labelled(of, encoder) for side, of in rows.items()}, left_out


def _rows(path: Path, column: str) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row["text"], "" if row[column] == _OUTSIDE else row[column]) for row in rows]


def _drawn_alike(labels: list[str]) -> list[int]:
    """The same share of each label, in order: 6,000 rows, less what rounding takes."""
    share, of = min(1.0, _MOST / len(labels)), np.asarray(labels)
    random, found = np.random.default_rng(_SEED), list[int]()
    for label in sorted(set(labels)):
        rows = np.flatnonzero(of == label)
        found += random.permutation(rows)[: max(1, int(share * len(rows)))].tolist()
    return sorted(found)


def _labelled(rows: list[tuple[str, str]], encoder: Encoder) -> LabelledQueries:
    texts = {str(number): text for number, (text, _) in enumerate(rows)}
    embeddings = np.asarray(encoder.encode(list(texts.values()), "query"))
    return LabelledQueries(texts, [label for _, label in rows], unit(embeddings))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _encoder() -> Encoder:
    encoders = Encoders(RUNS / _NAME / "store")
    return encoders.of(locate("all-MiniLM-L6-v2"), Encoding())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--llm", type=Path)
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if asked.table:
        print(router_table(), router_confusion_table(), sep="\n\n")
    elif asked.llm:
        with_llm(asked.llm)
    else:
        main(asked.tasks)
