"""vLLM Semantic Router: the part of its configuration by which it tells a run's domains apart, by a served model.

The router embeds a request and the examples of each domain by the same call, compares them by their product, and a
domain counts where its most similar example reaches the domain's threshold (`aggregation_method: max`). Examples are
queries of train, thresholds are chosen on dev, and how often they are wrong is counted on test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from denizen.data.formats.beir import is_beir_folder
from denizen.data.tables import each, folded, read_table
from denizen.engine.errors import InputError
from denizen.engine.progress import Progress
from denizen.measuring.agreement import rate
from denizen.measuring.retrieval_sets import read_parts
from denizen.measuring.thresholds import WANTED, Similarities, at_false_positive_rates
from denizen.recipes.run_folder import settings_of_run
from denizen.reports.finished_run import FinishedRun
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.retriever import MANIFEST, every_part
from denizen.retrievers.routed import Routed
from denizen.retrievers.saved import load
from denizen.retrievers.searchable import RETRIEVER
from denizen.retrievers.store import Vectors

FRAGMENT = "semantic-router.yaml"
# the router's documentation asks for 8 to 15 of a domain; each costs a product a request
_EXAMPLES = 15
# of queries that are none of the domain's, what may be let through: the middle of what `denizen thresholds` says
_WRONG = WANTED[1]
# of a domain's own queries, what is let through where nothing else is known
_RIGHT = 0.95
# the router keeps thresholds in floats of 32 bits and vectors come from batches of any size: more digits mean nothing
_DIGITS = 4
# of a domain: fewer say nothing of a threshold
_FEWEST = 20
# where a run has none: draws what of other queries chooses and what measures
_SEED = 42
_SPLITS = ("train", "dev", "test")

Asked = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Share:
    """A share of queries with its 95 % interval (Wilson)."""

    value: float
    low: float
    high: float
    queries: int

    @classmethod
    def of(cls, counted: np.ndarray[Any, Any]) -> Share | None:
        """The share of what is true; None of nothing."""
        found = rate(counted)
        return None if found is None else cls(found.value, found.low, found.high, found.count)


@dataclass(frozen=True)
class Signal:
    """How a domain is told.

    Attributes:
        examples: Queries of train.
        threshold: Of the cosine of a request to the most similar of them.
        own: Which share of the domain's own test queries is let through; None where there are none.
        others: Which share of test queries that are not its own; None where there are none.
        chosen_on: How many dev queries have chosen the threshold: its own, and others.
    """

    examples: tuple[str, ...]
    threshold: float
    own: Share | None
    others: Share | None
    chosen_on: tuple[int, int]


@dataclass(frozen=True)
class Router:
    """What the router is told.

    Attributes:
        name: What the server calls the model.
        serves: What is to be served, where RUN is the run's folder.
        digest: That of the model.
        dim: Numbers of a vector.
        signals: Domain to how it is told.
        outcomes: Which share of the domains' test queries goes to the right domain, to a wrong one, to none.
    """

    name: str
    serves: str
    digest: str
    dim: int
    signals: Mapping[str, Signal]
    outcomes: Mapping[str, Share | None]

    def report(self) -> dict[str, Any]:
        """The contents of export.json."""
        found = asdict(self)
        return {**found, "domains": found.pop("signals"), "examples_from": "train", "rates_on": "test"}


def router_of(source: str, data: Path | None, encoders: Encoders, progress: Progress) -> Router:
    """Finds examples and thresholds.

    Args:
        source: A finished run of adapt, whose domain is one, or of domains.
        data: A BEIR folder whose queries are of none of the domains; None: those of the run's general sets, if any.
        encoders: What embeds.
        progress: Receives what a person should see.

    Raises:
        InputError: When it is no run, or its model does not compare by cosine, or there are too few queries.
    """
    folder = Path(source).expanduser()
    if not (folder / "metrics.json").is_file() or not (folder / RETRIEVER / MANIFEST).is_file():
        raise InputError(f"{source} is no finished run of adapt or domains, whose queries the router is told; give one")
    serves, model = _served(folder, encoders)
    if model.lowest is None:
        raise InputError(f"{source} compares by dot product, which has no scale; the router compares by cosine")
    asked, strange = _queries(folder), _strangers(folder, data, progress)
    for domain, queries in asked.items():
        if min(len(queries["train"]), len(queries["dev"])) < 2:
            raise InputError(
                f"{domain} has {len(queries['train'])} train and {len(queries['dev'])} dev queries; the router needs "
                f"at least 2 of each, and {_FEWEST} of dev for a threshold that means something"
            )
    vectors = {domain: {part: model.embed_queries(its[part]) for part in _SPLITS} for domain, its in asked.items()}
    others = {part: model.embed_queries(strange[part]) for part in ("dev", "test")}
    examples = {domain: _examples(asked[domain]["train"], of["train"]) for domain, of in vectors.items()}
    banks = {domain: of["train"][list(examples[domain])] for domain, of in vectors.items()}
    similar = {part: _similar(banks, vectors, others[part], part) for part in ("dev", "test")}
    signals = {
        domain: _signal(domain, similar, [asked[domain]["train"][at] for at in examples[domain]]) for domain in banks
    }
    name = folder.resolve().name
    return Router(name, serves, model.digest, model.dimensions, signals, _outcomes(signals, banks, vectors))


def write(router: Router, folder: Path) -> None:
    """Writes the fragment and how to use it."""
    text = yaml.safe_dump(fragment(router), sort_keys=False, allow_unicode=True, width=120)
    (folder / FRAGMENT).write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(_readme(router), encoding="utf-8")


def fragment(router: Router) -> dict[str, Any]:
    """What is merged into the router's configuration, by its names."""
    embedding_config = {
        "backend": "openai_compatible",
        "model_type": "remote",
        "preload_embeddings": False,
        "target_dimension": router.dim,
        # below its threshold a domain does not count
        "enable_soft_matching": False,
        "top_k": 1,
        # the thresholds are of the most similar of all examples
        "prototype_scoring": {"enabled": False},
    }
    endpoint = {
        "base_url": "http://127.0.0.1:8000/v1",
        "model": router.name,
        "timeout_seconds": 10,
        "max_retries": 2,
        "dimensions": router.dim,
    }
    signals = [
        {
            "name": domain,
            "threshold": signal.threshold,
            "aggregation_method": "max",
            "candidates": list(signal.examples),
        }
        for domain, signal in router.signals.items()
    ]
    return {
        "global": {
            "model_catalog": {"embeddings": {"semantic": {"embedding_config": embedding_config, "endpoint": endpoint}}}
        },
        "routing": {"signals": {"embeddings": signals}},
    }


def _served(folder: Path, encoders: Encoders) -> tuple[str, BiEncoder]:
    """What is to be served, and the model that it embeds by."""
    shipped = load(folder / RETRIEVER, Encoding(), encoders)
    models = [part for part in every_part(shipped) if isinstance(part, BiEncoder)]
    # a routed retriever begins with the general model, which knows all domains
    if len(models) == 1 or isinstance(shipped, Routed):
        return "RUN", models[0]
    # vectors of experts cannot be compared; the merged model is one for all domains
    merged = load(folder / "merge/model", Encoding(), encoders)
    if not isinstance(merged, BiEncoder):
        raise InputError(f"{folder}/merge/model is no bi-encoder; run domains again")
    return "RUN/merge/model", merged


def _queries(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Domain to split to the queries there."""
    path = folder / "union/queries.parquet"
    if path.is_file():
        rows = list(each(read_table(path, "queries"), "domain", "split", "text"))
    else:
        own = folder.resolve().name
        rows = [(own, row["split"], row["text"]) for row in FinishedRun(folder).queries.values()]
    found: dict[str, dict[str, list[str]]] = {}
    for domain, split, text in rows:
        if split in _SPLITS:
            found.setdefault(domain, {part: [] for part in _SPLITS})[split].append(text)
    return found


def _strangers(folder: Path, data: Path | None, progress: Progress) -> dict[str, list[str]]:
    """Queries that are of none of the domains: those that choose thresholds (dev), and those that measure (test)."""
    settings = settings_of_run(folder)
    given = [str(data)] if data else list(settings.get("general", []))
    if data is not None and not is_beir_folder(data):
        raise InputError(f"{data} is no BEIR folder (it has no corpus.jsonl or corpus.jsonl.gz)")
    there = [name for name in given if is_beir_folder(Path(name).expanduser())]
    if len(there) < len(given):
        progress.say("general sets of the run are not where they were; give --data with queries of no domain")
    parts = read_parts(there, [], int(settings.get("seed", _SEED)))
    return {
        "dev": [text for part in parts for text in part.search.queries.values()],
        "test": [text for part in parts for text in part.test.queries.values()],
    }


def _examples(queries: Sequence[str], vectors: Vectors) -> list[int]:
    """The places of the queries that are nearest to the mean of all, none of them twice."""
    nearest = np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable").tolist()
    kept: dict[str, int] = {}
    for at in nearest:
        kept.setdefault(folded(queries[at]), at)
    return list(kept.values())[:_EXAMPLES]


def _similar(
    banks: Mapping[str, Vectors], vectors: Mapping[str, Mapping[str, Vectors]], strangers: Vectors, part: str
) -> dict[str, Similarities]:
    """Domain to the cosine to its most similar example, of its own queries and of all others."""
    found = {}
    for domain, bank in banks.items():
        others = [of[part] for name, of in vectors.items() if name != domain]
        beside = [best(bank, of) for of in (*others, strangers)]
        found[domain] = Similarities(best(bank, vectors[domain][part]), np.concatenate(beside))
    return found


def best(bank: Vectors, queries: Vectors) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The cosine of each query to the most similar example, shape (queries,), as the router computes it."""
    if not len(queries):
        return np.zeros(0)
    found: np.ndarray[Any, np.dtype[np.float64]] = (queries @ bank.T).max(axis=1).astype(np.float64)
    return found


def _signal(domain: str, similar: Mapping[str, Mapping[str, Similarities]], examples: Sequence[str]) -> Signal:
    dev, test = similar["dev"][domain], similar["test"][domain]
    if len(dev.false_positive):
        chosen = next(row for row in at_false_positive_rates(dev) if row["wanted"] == _WRONG)["threshold"]
    else:
        chosen = float(np.quantile(dev.true_positive, 1 - _RIGHT, method="lower"))
    # up: rounded down, it would let through what must not be
    rounded = math.ceil(chosen * 10**_DIGITS) / 10**_DIGITS
    # what stands just above a number of few digits is rounded to that by the product
    rounded = rounded if rounded >= chosen else round(rounded + 10**-_DIGITS, _DIGITS)
    threshold = min(1.0, max(-1.0, rounded))
    rates = [Share.of(of >= threshold) for of in (test.true_positive, test.false_positive)]
    counts = len(dev.true_positive), len(dev.false_positive)
    return Signal(tuple(examples), threshold, rates[0], rates[1], counts)


def _outcomes(
    signals: Mapping[str, Signal], banks: Mapping[str, Vectors], vectors: Mapping[str, Mapping[str, Vectors]]
) -> dict[str, Share | None]:
    """Where the domains' test queries go: to the domain with the highest score of those whose threshold is reached."""
    names, went = list(banks), list[tuple[str, str]]()
    for domain, of in vectors.items():
        scores = np.stack([best(banks[name], of["test"]) for name in names], axis=1)
        reached = scores >= [signals[name].threshold for name in names]
        chosen = np.where(reached, scores, -np.inf).argmax(axis=1).tolist()
        went += [(domain, names[at] if row.any() else "") for at, row in zip(chosen, reached, strict=True)]
    right, none = (np.asarray(found, dtype=bool) for found in ([a == b for a, b in went], [not b for _, b in went]))
    return {"right": Share.of(right), "wrong": Share.of(~right & ~none), "none": Share.of(none)}


def _readme(router: Router) -> str:
    lines = ["| domain | examples | threshold | lets through, of its own | of others |", "|---|---|---|---|---|"]
    for domain, of in router.signals.items():
        cells = [f"{len(of.examples)}", f"{of.threshold:.4f}", _said(of.own), _said(of.others)]
        lines.append(f"| {domain} | {' | '.join(cells)} |")
    return _README.format(
        name=router.name, serves=router.serves, first=next(iter(router.signals)), table="\n".join(lines)
    )


def _said(of: Share | None) -> str:
    return f"{of.value:.1%} ({of.low:.1%} to {of.high:.1%}, {of.queries:,} queries)" if of else "not known"


_README = """# {name} for vLLM Semantic Router

1. Serve the model, where RUN is the folder of the run. The router says of no text whether it is a query, and all that
   it sends are queries:

   ```bash
   denizen serve {name}={serves} --input-type query
   ```

2. Merge `semantic-router.yaml` into the router's configuration, with the address of the server as `base_url`. With keys
   (`DENIZEN_API_KEYS`) the router takes its own from `EMBEDDING_API_KEY` and asks for https: put TLS in front of the
   server, and add `api_key_env: EMBEDDING_API_KEY` to `endpoint`.

3. Send a domain somewhere:

   ```yaml
   routing:
     decisions:
       - name: {first}
         priority: 100
         rules:
           operator: AND
           conditions:
             - type: embedding
               name: {first}
         modelRefs:
           - model: YOUR-MODEL
   ```

The thresholds are of this model: those of another one mean nothing under it. They were chosen on dev so that at most
5 % of queries that are not the domain's are let through (where there were none: so that 95 % of its own are), and
counted on test queries, which chose nothing; in brackets 95 % intervals. Requests of kinds that are not among those
queries may be let through more often. The examples are training queries, word by word: a configuration is read by
others than the run is.

{table}
"""
