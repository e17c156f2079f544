"""What the benchmarks share: where the data is, how a run is made and timed, and how results are kept."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from denizen.api import adapt
from denizen.engine.pipeline import records
from denizen.engine.progress import Terminal
from denizen.llm.answer import Answer, Failure, Prompt
from denizen.llm.budget import Budget, Prices
from denizen.llm.client import LLM
from denizen.llm.replies import Replies
from denizen.measuring.provenance import machine
from denizen.recipes.config import AdaptConfig

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
RUNS = ROOT / "runs" / "bench"
RESULTS = ROOT / "bench" / "results"


def data(name: str) -> Path:
    """The folder or file of a data set; leaves with a message where it is missing."""
    path = DATA / name
    if not path.exists():
        sys.exit(f"the data set {name} is not in ../shared/data; this benchmark needs it")
    return path


def timed_adapt(name: str, source: Path, **settings: Any) -> dict[str, Any]:
    """Runs `adapt` under runs/bench/NAME (continuing what is there) and returns its metrics and seconds of work."""
    out = RUNS / name
    began = time.monotonic()
    report = adapt(AdaptConfig(str(source), **settings), out, progress=Terminal())
    if any(record["resumed"] for record in records(out).values()):
        sys.exit(
            f"a step of {out} was interrupted and resumed, so its time is not known; remove the folder and run again"
        )
    stages = seconds_by_stage(out)
    return {
        "metrics": {name: value for name, value in report.items() if name not in ("config", "model")},
        "settings": {name: value for name, value in report["config"].items() if name != "source"},
        "seconds_by_stage": stages,
        "seconds": round(sum(stages.values()), 1),
        "wall_seconds_of_this_call": round(time.monotonic() - began, 1),
    }


def seconds_by_stage(out: Path) -> dict[str, float]:
    """Seconds that each step of a run has taken; what was done once and stands in two places took its time once."""
    steps = records(out)
    once = {record["fingerprint"]: place for place, record in reversed(steps.items())}
    return {place: record["seconds"] for place, record in steps.items() if once[record["fingerprint"]] == place}


def served(file: Path, name: str) -> LLM:
    """A GGUF file as an LLM whose replies are kept under runs/bench/NAME, so that no call is made twice."""
    folder = RUNS / name
    folder.mkdir(parents=True, exist_ok=True)
    return LLM(str(file), Replies(folder / "replies.sqlite", "run"), Budget(prices=Prices(0, 0)))


def asked(llm: LLM, prompts: Sequence[Prompt]) -> list[Answer | Failure]:
    """What an LLM replies; shows how far it is."""
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        print(f"\r  {done}/{len(prompts)}", end="", flush=True)

    found = llm.ask(prompts, "bench", progress)
    print()
    return found


def shown(found: dict[str, float]) -> str:
    """A difference with its interval and p value."""
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]  p {found['p']:.4f}"


def show_comparison(name: str, result: dict[str, Any]) -> None:
    """Prints base, BM25 and adapted with the difference to the base, a line a measure."""
    metrics = result["metrics"]
    print(f"\n{name}: {result['seconds'] / 60:.1f} minutes, {metrics['queries']} test queries")
    print(f"{'':<12}{'base':>8}{'BM25':>8}{'adapted':>9}   adapted - base with 95 % interval")
    for measure, found in metrics["difference"].items():
        row = "".join(f"{metrics[system][measure]:>8.3f}" for system in ("base", "bm25", "adapted"))
        print(f"{measure:<12}{row}   {shown(found)}")


class Part(Protocol):
    """One run of a benchmark that is made in parts: how it is asked for, and the name of its result."""

    @property
    def asked(self) -> str:
        """As it is asked for."""

    @property
    def name(self) -> str:
        """As its result is kept."""


def stop_after(minutes: float) -> None:
    """Stops this program after so many minutes; a run goes on where it was stopped."""

    def stopped(*_: object) -> None:
        sys.exit(f"stopped after {minutes:g} minutes; run the same command again: it goes on from there")

    signal.signal(signal.SIGALRM, stopped)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes)


P = TypeVar("P", bound=Part)


def kept_of(parts: Sequence[P]) -> tuple[list[dict[str, Any]], list[P]]:
    """The results that are there, and the parts that are not."""
    there = {part.asked: RESULTS / f"{part.name}.json" for part in parts}
    found = [json.loads(path.read_text(encoding="utf-8")) for path in there.values() if path.is_file()]
    return found, [part for part in parts if not there[part.asked].is_file()]


def chosen_of(parts: Sequence[P], names: Iterable[str]) -> list[P]:
    """The parts that are asked for, each once; leaves on one that there is not."""
    known = {part.asked: part for part in parts}
    names = list(dict.fromkeys(names))
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"unknown parts {unknown}; there are {', '.join(known)}")
    return [known[name] for name in names]


def print_kept(parts: Sequence[P], table: Callable[[Sequence[dict[str, Any]]], str]) -> None:
    """Prints the table of the results that are there, and names the parts that are missing."""
    results, missing = kept_of(parts)
    if results:
        print(table(results))
    if missing:
        print(f"missing: {len(missing)} of {len(parts)}: {', '.join(part.asked for part in missing)}")


def without_places(found: Any) -> Any:
    """The same with data sets and models that lie on this machine by their names: where that is says nothing."""
    if isinstance(found, dict):
        return {key: without_places(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [without_places(value) for value in found]
    is_place = isinstance(found, str) and Path(found).is_absolute() and " " not in found
    return Path(found).name if is_place else found


def keep(name: str, result: dict[str, Any]) -> None:
    """Writes bench/results/NAME.json."""
    (RESULTS / name).parent.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    said = json.dumps(without_places({"machine": machine(), **result}), indent=2)
    path.write_text(f"{said}\n", encoding="utf-8")
    print(f"written: {path.relative_to(ROOT)}")
