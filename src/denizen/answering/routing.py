"""The step that makes the router of the experts: ways to route are tried on dev, and measured on test.

Always one expert costs nothing, neighbours cost one reading of the request, an expert that is asked reads a prompt with
examples for each name. Dev chooses; of ways that are as good, the cheaper one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from denizen.answering.router import AlwaysOne, Asked, Kind, Nearest, Router, Shares, directions, request_of
from denizen.data.artifacts import Adapter, Evaluation, Model, TaskRows
from denizen.data.task_rows import EXPERTS, TaskRow, task_rows
from denizen.engine.errors import InputError
from denizen.engine.files import read_json_lines, write_json_lines
from denizen.engine.settings import setting
from denizen.engine.step import Context, step
from denizen.language_models.language_model import LanguageModel
from denizen.language_models.pooled_states import pooled_states
from denizen.measuring.agreement import rate
from denizen.retrievers.encoding import Arithmetic
from denizen.retrievers.routing.calibration import Calibration
from denizen.retrievers.routing.fitting import NEIGHBOURS, log_loss
from denizen.retrievers.routing.knn import Neighbours
from denizen.retrievers.store import Vectors

ROUTES = "routes.jsonl"
# of training, each of them read once; more brought nothing for routers of queries (docs/domains.md)
_MOST_TRAINED = 1000
# of each expert, shown before a request
_EXAMPLES = 2
# done between two savings
_AT_A_TIME = 32
# requests that are timed one by one, after one that warms up
_TIMED = 10


@dataclass(frozen=True)
class TaskRouting(Arithmetic):
    """How requests find their expert."""

    panel = "Router"

    # of a request with a long text to be summarized, what is wanted stands at its beginning or at its end
    request_tokens: int = setting(
        256, "Tokens of a request that the router reads, half from its beginning and half from its end.", least=16
    )
    # an interval of .04 to each side at nine in ten right; each row is some hundred tokens, read once for each expert
    asked_rows: int = setting(
        200,
        "Rows of dev, and of test, on which an expert is asked whose each is; all if it wins.",
        least=2,
    )


@step(version=1, makes=Evaluation, name="router")
def route_tasks(
    out: Path, params: TaskRouting, ctx: Context, *, start: Model, experts: Mapping[str, Adapter], rows: TaskRows
) -> dict[str, Any]:
    """Fits routers on train, chooses on dev, and measures all of them on test.

    Args:
        out: Where `routes.jsonl` goes (where each way sends each row of dev and test; null: it was not tried on it),
            and the router that was chosen (`Router.load`).
        params: What is read, and how often an expert is asked.
        ctx: Its scratch folder keeps what is read and asked already.
        start: The model under the experts.
        experts: Name to adapters.
        rows: The rows, each with the expert that it belongs to.

    Returns:
        What was `chosen`, `accuracy` by split and way with Wilson intervals, on test `by_task`, too, who was asked
        (`asked`) on how many rows, `neighbours` that count, and `milliseconds` of processor a request takes.

    Raises:
        InputError: When there are no rows to fit on, or none to choose on.
    """
    from denizen.retrievers.backends import use_bf16

    folders = {name: adapter.path for name, adapter in experts.items()}
    work = _Routing(LanguageModel(start.path, use_bf16(params.precision), folders), params, ctx, _split(rows))
    ways = work.ways()
    chosen = work.chosen(ways)
    if isinstance(chosen.kind, Asked):
        ways = {**ways, chosen.kind.name: chosen}
    Router(chosen.kind).save(out)
    write_json_lines(out / ROUTES, work.routes(ways, chosen))
    return work.facts(ways, chosen)


@dataclass(frozen=True)
class Tried:
    """A way to route, and where it sends rows.

    Attributes:
        kind: It.
        shares: Row id to the probability of each expert, shape (experts,); rows that it was not tried on are missing.
    """

    kind: Kind
    shares: Mapping[str, Shares]

    def expert(self, row: TaskRow) -> str | None:
        """Where a row goes; None where it was not tried."""
        found = self.shares.get(row.row_id)
        return None if found is None else EXPERTS[int(found.argmax())]

    def accuracy(self, rows: Sequence[TaskRow]) -> dict[str, Any] | None:
        """The share of rows that go where they belong, of those that it was tried on; None where there are none."""
        found = rate(
            np.array([self.expert(row) == row.expert for row in rows if row.row_id in self.shares], dtype=bool)
        )
        return asdict(found) if found else None


@dataclass(frozen=True)
class _Routing:
    """The rows, by split, and what reads them."""

    model: LanguageModel
    params: TaskRouting
    ctx: Context
    split: Mapping[str, list[TaskRow]]

    @property
    def measured(self) -> list[TaskRow]:
        """Rows of dev and test."""
        return [*self.split["dev"], *self.split["test"]]

    def ways(self) -> dict[str, Tried]:
        """All that are tried, the cheapest first."""
        always = self._always()
        found = {AlwaysOne.name: always}
        if min(always.kind.shares([""])[0]) == 0:
            # of one expert alone there is nothing to tell apart
            return found
        if {row.expert for row in self.split["dev"]} == set(EXPERTS):
            found[Nearest.name] = self._nearest()
        return {**found, Asked.name: self._asked()}

    def chosen(self, ways: Mapping[str, Tried]) -> Tried:
        """The best on the rows of dev that all were tried on; of equal ones the cheapest."""
        asked = [row for row in self.split["dev"] if all(row.row_id in way.shares for way in ways.values())]
        best = max(ways.values(), key=lambda way: sum(way.expert(row) == row.expert for row in asked))
        if not isinstance(best.kind, Asked):
            return best
        return Tried(best.kind, self._answers(best.kind, self.measured))

    def routes(self, ways: Mapping[str, Tried], chosen: Tried) -> list[dict[str, Any]]:
        """A row of `routes.jsonl` for each row of dev and test."""
        fields = {"few_shot": Asked.name, "knn": Nearest.name, "always": AlwaysOne.name}
        return [
            {"row_id": row.row_id, "split": row.split, "expert": row.expert}
            | {field: ways[name].expert(row) if name in ways else None for field, name in fields.items()}
            | {"chosen": chosen.expert(row), "confidence": round(float(chosen.shares[row.row_id].max()), 6)}
            for row in self.measured
        ]

    def facts(self, ways: Mapping[str, Tried], chosen: Tried) -> dict[str, Any]:
        """What the step has to say."""
        test = self.split["test"]
        tasks = sorted({row.task for row in test})
        by_task = {
            name: {task: way.accuracy([row for row in test if row.task == task]) for task in tasks}
            for name, way in ways.items()
        }
        accuracy = {
            split: {name: way.accuracy(self.split[split]) for name, way in ways.items()} for split in ("dev", "test")
        }
        told: dict[str, Any] = {"chosen": chosen.kind.name, "accuracy": accuracy, "by_task": by_task}
        told |= {"rows": {split: len(of) for split, of in self.split.items()}}
        if (asked := ways.get(Asked.name)) and isinstance(asked.kind, Asked):
            told["asked"] = asked.kind.expert
        if (nearest := ways.get(Nearest.name)) and isinstance(nearest.kind, Nearest):
            told["neighbours"] = nearest.kind.head.k
        requests = [request_of(row.messages) for row in (test or self.split["dev"])[: _TIMED + 1]]
        return {**told, "milliseconds": {name: milliseconds(way.kind, requests) for name, way in ways.items()}}

    def _always(self) -> Tried:
        train = self.split["train"]
        shares = [sum(row.expert == name for row in train) / len(train) for name in EXPERTS]
        kind = AlwaysOne((shares[0], shares[1]))
        return Tried(kind, dict(zip(_ids(self.measured), kind.shares([""] * len(self.measured)), strict=True)))

    def _nearest(self) -> Tried:
        """Neighbours, as many of each expert as dev foresees best with."""
        train, dev = _drawn(self.split["train"], _MOST_TRAINED), self.split["dev"]
        states = self._states([*train, *self.measured])
        centre = states[: len(train)].mean(axis=0)
        vectors = directions(states, centre)
        domains = tuple(sorted(EXPERTS))
        known, asked = vectors[: len(train)], vectors[len(train) : len(train) + len(dev)]
        places = [domains.index(row.expert) for row in dev]
        fitted = []
        for k in NEIGHBOURS:
            head = Neighbours.fit(known, [row.expert for row in train], k=k)
            scores = head.scores(asked)
            calibration = Calibration.fit(scores, head.closeness(asked, scores), places)
            loss = log_loss(calibration.probabilities(scores, head.closeness(asked, scores)), places)
            fitted.append((loss, k, Nearest(self.model, head, calibration, centre, self.params.request_tokens)))
        _, _, kind = min(fitted, key=lambda each: each[:2])
        return Tried(kind, dict(zip(_ids(self.measured), kind.of_states(states[len(train) :]), strict=True)))

    def _asked(self) -> Tried:
        """Each expert is asked on dev, and the better one on test, too."""
        most = self.params.asked_rows
        dev, test = (_drawn(self.split[split], most) for split in ("dev", "test"))
        examples = _examples(self.split["train"])
        kinds = [Asked(self.model, name, examples) for name in EXPERTS if name in self.model.adapters]
        tried = [Tried(kind, self._answers(kind, dev)) for kind in kinds]
        best = max(tried, key=lambda way: sum(way.expert(row) == row.expert for row in dev)).kind
        if not isinstance(best, Asked):
            raise TypeError(f"{best} asks nobody")
        return Tried(best, self._answers(best, [*dev, *test]))

    def _states(self, rows: Sequence[TaskRow]) -> Vectors:
        """The states of requests, shape (rows, dim)."""
        from safetensors.numpy import load_file, save_file

        journal = self.ctx.scratch / "states.safetensors"
        done: Vectors | None = load_file(journal)["states"] if journal.is_file() else None
        with self.ctx.progress.bar(len(rows), "requests read") as advance, self.model.using(None):
            advance(0 if done is None else len(done))
            for at in range(0 if done is None else len(done), len(rows), _AT_A_TIME):
                part = [request_of(row.messages) for row in rows[at : at + _AT_A_TIME]]
                new = pooled_states(self.model, part, self.params.request_tokens)
                done = new if done is None else np.concatenate([done, new])
                partial = journal.with_name(f".{journal.name}.partial")
                save_file({"states": done}, partial)
                partial.replace(journal)
                advance(len(part))
        assert done is not None  # noqa: S101  (there are rows of dev)
        return done

    def _answers(self, kind: Asked, rows: Sequence[TaskRow]) -> dict[str, Shares]:
        """What an expert says of rows; what it has said before is not asked again."""
        journal = self.ctx.scratch / f"asked-{kind.expert}.jsonl"
        done = {row["row_id"]: np.asarray(row["shares"]) for row in read_json_lines(journal)}
        left = [row for row in rows if row.row_id not in done]
        with self.ctx.progress.bar(len(rows), f"requests that {kind.expert} is asked about") as advance:
            advance(len(rows) - len(left))
            for at in range(0, len(left), _AT_A_TIME):
                part = left[at : at + _AT_A_TIME]
                done |= zip(_ids(part), kind.shares([request_of(row.messages) for row in part]), strict=True)
                write_json_lines(
                    journal, ({"row_id": row_id, "shares": shares.tolist()} for row_id, shares in done.items())
                )
                advance(len(part))
        return {row_id: done[row_id] for row_id in _ids(rows)}


def milliseconds(kind: Kind, requests: Sequence[str]) -> float:
    """The median processor time of a decision, one request at a time, summed over cores."""
    ticks: list[float] = [time.process_time()]
    for request in requests:
        kind.shares([request])
        ticks.append(time.process_time())
    seconds = [after - before for before, after in pairwise(ticks)]
    return round(float(np.median(seconds[min(1, len(seconds) - 1) :]) * 1000), 3)


def _split(rows: TaskRows) -> dict[str, list[TaskRow]]:
    """Rows by split.

    Raises:
        InputError: When there are none to fit on, or none to choose on.
    """
    found = {split: task_rows(rows.table, split) for split in ("train", "dev", "test")}
    for split, use in (("train", "fit a router on"), ("dev", "choose one by")):
        if not found[split]:
            raise InputError(f"there are no {split} rows to {use}; give more tasks, or documents for them")
    return found


def _ids(rows: Sequence[TaskRow]) -> list[str]:
    return [row.row_id for row in rows]


def _chance(row: TaskRow) -> str:
    return hashlib.sha256(row.row_id.encode()).hexdigest()


def _drawn(rows: Sequence[TaskRow], most: int) -> list[TaskRow]:
    """So many rows, by chance that is the same each time, in an order of chance."""
    return sorted(rows, key=_chance)[:most]


def _examples(train: Sequence[TaskRow]) -> tuple[tuple[str, str], ...]:
    """Some requests of each expert in turn, one of each task before a second of any."""
    found = list[tuple[int, str, str]]()
    for name in EXPERTS:
        own, turns = _drawn([row for row in train if row.expert == name], len(train)), dict[str, int]()
        ordered = list[tuple[int, TaskRow]]()
        for row in own:
            turns[row.task] = turns.get(row.task, -1) + 1
            ordered.append((turns[row.task], row))
        ordered.sort(key=lambda each: each[0])
        found += [(at, name, request_of(row.messages)) for at, (_, row) in enumerate(ordered[:_EXAMPLES])]
    return tuple((text, name) for _, name, text in sorted(found))
