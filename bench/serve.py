"""Serving: requests a second, a server's processor second, and how long they take, against what people serve with.

Every server has the same MiniLM and this machine alone, one after another, in the order A B C A B C; each request is
one text of MedQuAD that no other one has had. The clients share the cores, so that requests a processor second of the
server say more than requests a second. Vectors are held against sentence-transformers' first.

    python bench/serve.py [--repetitions 3] [--seconds 6] [--infinity PROGRAM]

PROGRAM is infinity_emb in an environment of its own; without it that row is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np

from denizen.data.formats import read_source
from denizen.data.passages import cut
from denizen.data.tables import texts
from denizen.retrievers.loading import load_encoder, locate
from measuring import RUNS, data, keep
from rival_servers import HOST, MODEL

CLIENTS = (1, 8, 64)
_DENIZEN, _INFINITY = "denizen", "infinity"
# seconds until the first answer at most
_START = 180
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Work:
    """What clients ask: `clients` of them, each with a text of a kind at a time."""

    kind: str
    clients: int

    @property
    def name(self) -> str:
        """As it is kept."""
        return f"{self.kind}, {self.clients} client{'s' * (self.clients > 1)}"


WORKS = [Work(kind, clients) for kind in ("queries", "passages") for clients in CLIENTS]


def commands(infinity: str) -> dict[str, list[str]]:
    """A server to the command that starts it; PORT stands for its port."""
    here = Path(__file__).with_name("rival_servers.py")
    found = {_DENIZEN: [sys.executable, "-m", "denizen", "serve", MODEL, "--port", "PORT"]}
    for name in ("sentence-transformers", "llama.cpp"):
        found[name] = [sys.executable, str(here), name, "PORT"]
    if infinity:
        model = ["--model-id", str(locate(MODEL)), "--served-model-name", MODEL]
        how = ["--engine", "torch", "--device", "cpu", "--no-bettertransformer", "--url-prefix", "/v1"]
        found[_INFINITY] = [infinity, "v2", *model, *how, "--port", "PORT", "--host", HOST]
    return found


def main(repetitions: int, seconds: float, infinity: str) -> None:
    fresh = {kind: iter_of(of) for kind, of in asked_texts().items()}
    model = load_encoder(locate(MODEL))
    rows: dict[str, dict[str, list[dict[str, float]]]] = {}
    starts: dict[str, list[float]] = {}
    equal: dict[str, float] = {}
    for _ in range(repetitions):
        for name, command in commands(infinity).items():
            with_server = asyncio.run(measured(name, command, fresh, seconds))
            starts.setdefault(name, []).append(with_server["start"])
            theirs = model.encode(with_server["texts"], show_progress_bar=False)
            equal[name] = min(equal.get(name, 1.0), _least_cosine(with_server["vectors"], theirs))
            for work, its in with_server["works"].items():
                rows.setdefault(name, {}).setdefault(work, []).append(its)
                print(f"{name:22} {work:22} {said(its)}", flush=True)
    result = {"model": MODEL, "seconds": seconds, "start": starts, "least_cosine": equal, "servers": rows}
    print(table(result))
    keep("serve", result)


def said(its: Mapping[str, float]) -> str:
    """A measurement in a line."""
    return (
        f"{its['rate']:8.1f} /s  {its['rate_a_cpu_second']:8.1f} /CPU s  p50 {its['p50']:7.1f} ms  "
        f"p99 {its['p99']:7.1f} ms  {its['refused']:.0f} refused"
    )


def asked_texts() -> dict[str, list[str]]:
    """Questions, and passages, each once."""
    source = read_source(str(data("medquad/medquad_qa.jsonl.gz")))
    corpus, _ = cut(source.documents, source.qrels, 1000)
    return {
        "queries": list(dict.fromkeys(row["text"] for row in source.queries.to_pylist())),
        "passages": list(dict.fromkeys(texts(corpus))),
    }


def iter_of(of: Sequence[str]) -> Iterator[str]:
    """The texts, and after the last one the first again, made another one by a number."""
    for number in count():
        for text in of:
            yield f"{text} {number}" if number else text


async def measured(
    name: str, command: Sequence[str], fresh: Mapping[str, Iterator[str]], seconds: float
) -> dict[str, Any]:
    """Starts a server, asks it, and ends it."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = str(free.getsockname()[1])
    log = RUNS / "serve" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0", "DO_NOT_TRACK": "1"}
    began = time.perf_counter()
    with log.open("wb") as written:
        process = subprocess.Popen(
            [port if part == "PORT" else part for part in command],
            stdout=written,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=_START) as session:
            await _first_answer(session, process, log)
            start = time.perf_counter() - began
            sample = [next(fresh[kind]) for kind in fresh for _ in range(8)]
            vectors = [await _embedded(session, text) for text in sample]
            works = {}
            for work in WORKS:
                works[work.name] = await _asked(session, process.pid, work, fresh[work.kind], seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    return {"start": start, "texts": sample, "vectors": np.asarray(vectors), "works": works}


async def _first_answer(session: httpx.AsyncClient, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.perf_counter() + _START
    while time.perf_counter() < until and process.poll() is None:
        try:
            await _embedded(session, "the first text")
        except (httpx.TransportError, KeyError):
            await asyncio.sleep(0.05)
        else:
            return
    sys.exit(f"no answer; {log} says why")


async def _embedded(session: httpx.AsyncClient, text: str) -> list[float]:
    answer = await session.post("/v1/embeddings", json={"model": MODEL, "input": text})
    found: list[float] = answer.json()["data"][0]["embedding"]
    return found


async def _asked(
    session: httpx.AsyncClient, process: int, work: Work, fresh: Iterator[str], seconds: float
) -> dict[str, float]:
    """What comes of some seconds of clients each of which asks anew when it has been answered; after a second of it."""
    taken: list[float] = []
    refused = 0
    counted_from = time.perf_counter() + 1
    until = counted_from + seconds

    async def client() -> None:
        nonlocal refused
        while (began := time.perf_counter()) < until:
            answer = await session.post("/v1/embeddings", json={"model": MODEL, "input": next(fresh)})
            if counted_from <= (ended := time.perf_counter()) <= until:
                taken.append(1000 * (ended - began))
                refused += answer.status_code != httpx.codes.OK

    async def spent() -> float:
        await asyncio.sleep(counted_from - time.perf_counter())
        before = _cpu_seconds(process)
        await asyncio.sleep(until - time.perf_counter())
        return _cpu_seconds(process) - before

    cpu, *_ = await asyncio.gather(spent(), *(client() for _ in range(work.clients)))
    if not taken:
        sys.exit(f"{work.name}: no answer within {seconds:g} s; give more --seconds, and keep the machine quiet")
    answered = len(taken) - refused
    return {
        "rate": answered / seconds,
        "rate_a_cpu_second": answered / cpu,
        "p50": float(np.percentile(taken, 50)),
        "p99": float(np.percentile(taken, 99)),
        "refused": refused,
        "rss_mb": _resident(process),
    }


def _cpu_seconds(process: int) -> float:
    """User and system time of a process, with all its threads."""
    said = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(said[11]) + int(said[12])) / _TICKS


def _resident(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _least_cosine(ours: Any, theirs: Any) -> float:
    unit = ours / np.linalg.norm(ours, axis=1, keepdims=True)
    return float((unit * theirs).sum(axis=1).min())


def table(result: Mapping[str, Any]) -> str:
    """A row a work and a server: medians, and how many times the best of the others Denizen is, each turn by itself."""
    lines = ["| asked | server | requests/s | a CPU second | p50 ms | p99 ms | MB |", "|---|---|---|---|---|---|---|"]
    for work in WORKS:
        for name, works in result["servers"].items():
            its = works[work.name]
            mid = {of: statistics.median(row[of] for row in its) for of in its[0]}
            lines.append(
                f"| {work.name} | {name} | {mid['rate']:.0f} | {mid['rate_a_cpu_second']:.0f} | {mid['p50']:.1f} | "
                f"{mid['p99']:.1f} | {mid['rss_mb']:.0f} |"
            )
        ratios = [
            its["rate_a_cpu_second"]
            / max(
                works[work.name][turn]["rate_a_cpu_second"] for of, works in result["servers"].items() if of != _DENIZEN
            )
            for turn, its in enumerate(result["servers"][_DENIZEN][work.name])
        ]
        times = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        lines.append(f"| | **denizen over the best other** | | **{times}** | | | |")
    started = {name: statistics.median(of) for name, of in result["start"].items()}
    lines.append("\nfirst answer after: " + ", ".join(f"{name} {of:.1f} s" for name, of in started.items()))
    lines.append("least cosine to sentence-transformers: " + str(result["least_cosine"]))
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Requests a second of servers of one model.")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--infinity", default="", metavar="PROGRAM")
    given = parser.parse_args()
    main(given.repetitions, given.seconds, given.infinity)
