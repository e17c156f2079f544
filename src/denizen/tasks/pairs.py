"""The step that makes pairs of a chosen and a rejected answer, for training by preference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from denizen.data.artifacts import Model, Preferences, TaskRows
from denizen.data.formats.rows import BadRows
from denizen.data.tables import folded, write_table
from denizen.data.task_rows import Message, Preference, TaskRow, preference_table, task_rows
from denizen.engine.artifact import Artifact, Value
from denizen.engine.errors import InputError
from denizen.engine.files import read_json_lines, write_json_lines
from denizen.engine.settings import Seeded, setting
from denizen.engine.step import Context, Partial, step
from denizen.language_models.language_model import Conversation, LanguageModel
from denizen.llm.answer import Answer, Failure, Prompt
from denizen.llm.client import LLM
from denizen.llm.prompts import messages
from denizen.retrievers.encoding import Arithmetic
from denizen.supervision.asking import Asking, calls_left, check_coverage, failure_table, whole_or_partial
from denizen.supervision.write_queries import LLMChoice
from denizen.tasks.balance import balanced
from denizen.tasks.dropped import Dropped, dropped_table, told_of
from denizen.tasks.given import read_given, row_id_of
from denizen.tasks.rejected import Attempt, cut_off, dealt, overlap

STAGE = "preferences"
# the prompt that is sent here, for the fingerprint of the step
PROMPTS = ("task_worse",)
_ANSWERS = "answers.jsonl"
# answered together, and between two savings
_AT_A_TIME = 16
# from which share of words two answers may well say the same, so that neither is the worse one
_ALIKE = 0.5
_JUDGE_TOKENS = 20
# judging takes at most the budget divided by this: who judges all systems is paid by the same one
_PART = 4


@dataclass(frozen=True)
class PairMaking(LLMChoice, Arithmetic, Seeded):
    """How pairs of answers are made."""

    panel = "Tasks"

    # the paper has no sizes (arXiv 2511.21101); each takes an answer of the model, of which two cores give one a second
    made_pairs: int = setting(300, "Training rows for which a worse answer is made, at most.", least=0, most=10**7)
    max_new_tokens: int = setting(160, "Tokens of an answer at most.", least=8, most=8192)


class Better(BaseModel):
    """The reply to task_worse.txt."""

    better: Literal[0, 1, 2]


@step(version=1, makes=Preferences, name=STAGE)
def make_preferences(
    out: Path,
    params: PairMaking,
    ctx: Context,
    *,
    rows: TaskRows,
    model: Model,
    given: Sequence[Artifact] = (),
    prompts: Value | None = None,
) -> dict[str, Any] | Partial:
    """Writes preferences.parquet, dropped_queries.parquet and failures.parquet.

    The chosen answer is a row's reference. The rejected one is the model's, asked without the passage, with a wrong
    one, or as it is; or the reference without its last words. Each way has the same part of the rows, as far as rows
    allow it. Of an answer of the model that says what the reference says, no pair is made; whether its own answer is
    worse says the LLM, in both orders, or without one how few words it shares with the reference.

    Args:
        out: Where to write.
        params: How many, and how the model answers.
        ctx: Its LLM judges; its scratch folder keeps what is answered already.
        rows: The rows; those of train and dev that are answers to questions are used.
        model: The model that answers.
        given: The files of which rows were made; their pairs are taken as they are.
        prompts: What the LLM is asked.

    Raises:
        InputError: When too few calls were answered, or there is no pair to train on.
    """
    llm, known = ctx.get(LLM), task_rows(rows.table, "train", "dev")
    brought = _brought(given, known)
    asked_already = {_key(pair.messages) for pair in brought}
    open_rows = [row for row in known if row.expert == "answering" and _key(row.messages) not in asked_already]
    attempts = _attempts(open_rows, params)
    tried = list(zip(attempts, _worse(attempts, model, params, ctx), strict=True))
    judged, failures, told = _judged([pair for pair in tried if pair[0].way == "own answer"], llm, ctx)
    pairs, dropped = list[Preference](), list[Dropped]()
    for one, text in tried:
        if reason := _problem(one, text, judged):
            dropped.append(Dropped(text, one.row.split, one.row.document, one.way, f"{one.way}: {reason}"))
        else:
            pairs.append(_pair(one, text))
    pairs, ways, lost = _balanced(pairs)
    dropped += lost
    found = [*brought, *pairs]
    if not any(pair.split == "train" for pair in found):
        raise InputError(
            f"of {len(attempts):,} rows no pair is left to train on ({told_of(dropped)['dropped']}); with --tasks give "
            "pairs (prompt, chosen, rejected) or more questions with answers"
        )
    write_table(out / "preferences.parquet", preference_table(found))
    write_table(out / "dropped_queries.parquet", dropped_table(dropped))
    write_table(out / "failures.parquet", failure_table(STAGE, failures))
    given_ways = [_way_facts("given", split, [p for p in brought if p.split == split], 0) for split in ("train", "dev")]
    ways = [*(way for way in given_ways if way["pairs"]), *ways]
    by_way = Counter(pair.way for pair in found)
    shown = ", ".join(f"{count:,} {way}" for way, count in by_way.items())
    ctx.progress.note(f"{len(found):,} pairs: {shown}; {len(dropped):,} dropped")
    told = {"pairs": len(found), "ways": ways, **told_of(dropped), **told}
    return whole_or_partial(told) if llm is not None else told


def _brought(given: Sequence[Artifact], rows: Sequence[TaskRow]) -> list[Preference]:
    """The pairs of files, as far as their rows are used, on the side of those."""
    known = {row.row_id: row for row in rows}
    # rows that cannot be used were told of where rows were collected
    read, _ = read_given(given, [], BadRows(skip=True))
    found: dict[str, Preference] = {}
    for one in read:
        row = known.get(one.row_id)
        if row is not None and one.rejected is not None:
            name = row_id_of(one.messages, one.answer, one.rejected)
            own = (row.task, row.split, row.document, "given", row.messages, row.answer, one.rejected, "given")
            found[name] = Preference(name, *own)  # type: ignore[arg-type]
    return [*found.values()]


def _attempts(rows: Sequence[TaskRow], params: PairMaking) -> list[Attempt]:
    """Ways for as many training rows as are wanted, and for dev in proportion."""
    random = np.random.default_rng(params.seed)
    train = sum(row.split == "train" for row in rows)
    found = []
    for split in ("train", "dev"):
        own = [row for row in rows if row.split == split]
        most = params.made_pairs if split == "train" else round(params.made_pairs * len(own) / max(1, train))
        order = random.permutation(len(own))[:most].tolist()
        found += dealt([own[at] for at in order], random)
    return found


def _worse(attempts: Sequence[Attempt], model: Model, params: PairMaking, ctx: Context) -> list[str]:
    """What each attempt comes to: the reference without its end, or what the model answers."""
    found = ["" if one.messages else cut_off(one.row.answer) for one in attempts]
    # prompts of one length cost no padding
    asked = [(sum(len(turn.content) for turn in one.messages), at) for at, one in enumerate(attempts) if one.messages]
    order = [at for _, at in sorted(asked)]
    for at, text in zip(
        order, _answered([attempts[at].messages or () for at in order], model, params, ctx), strict=True
    ):
        found[at] = text
    return found


def _answered(asked: Sequence[Conversation], model: Model, params: PairMaking, ctx: Context) -> list[str]:
    """The model's answers, each batch kept in the scratch folder as soon as it is there."""
    from denizen.retrievers.backends import use_bf16

    answering = LanguageModel(model.path, use_bf16(params.precision))
    done: list[str] = [row["answer"] for row in read_json_lines(ctx.scratch / _ANSWERS)]
    with ctx.progress.bar(len(asked), "answers") as advance:
        advance(len(done))
        for begin in range(len(done), len(asked), _AT_A_TIME):
            said = answering.answers(asked[begin : begin + _AT_A_TIME], params.max_new_tokens)
            done += [answer.text for answer in said]
            write_json_lines(ctx.scratch / _ANSWERS, ({"answer": text} for text in done))
            advance(len(said))
    return done


def _judged(
    tried: Sequence[tuple[Attempt, str]], llm: LLM | None, ctx: Context
) -> tuple[dict[str, bool] | None, list[Failure], dict[str, Any]]:
    """Row to whether the reference is better than the model's answer in both orders; None: nobody was asked.

    A row of which a call failed is not among them.
    """
    if llm is None:
        return None, [], {"judge": "overlap of words"}
    worth = [(one, text) for one, text in tried if text and folded(text) != folded(one.row.answer)]
    calls = [prompt for one, text in worth for prompt in both_orders(one.row, text)]
    left = calls_left(llm, STAGE, calls)
    with ctx.progress.bar(len(calls), "calls that judge") as advance:
        replies = llm.ask(calls, STAGE, advance, None if left is None else left // _PART)
    failures = [reply for reply in replies if isinstance(reply, Failure)]
    told = check_coverage(STAGE, len(replies), failures, ctx[Asking].min_coverage)
    values = [reply.value.model_dump()["better"] if isinstance(reply, Answer) else None for reply in replies]
    both = zip(worth, values[::2], values[1::2], strict=True)
    found = {one.row.row_id: said == (1, 2) for (one, _), *said_of in both if None not in (said := tuple(said_of))}
    return found, failures, {"judge": llm.model, **told}


def both_orders(row: TaskRow, text: str) -> list[Prompt]:
    """The calls that compare the reference, which is the first answer and then the second, with another one."""
    return [
        Prompt(messages("task_worse", {"query": _shown(row.messages), "passages": order}), Better, _JUDGE_TOKENS)
        for order in ([row.answer, text], [text, row.answer])
    ]


def _shown(turns: Sequence[Message]) -> str:
    return turns[0].content if len(turns) == 1 else "\n\n".join(f"{turn.role}: {turn.content}" for turn in turns)


def _problem(one: Attempt, text: str, judged: dict[str, bool] | None) -> str:
    """Why an answer is no rejected one; empty where it is."""
    if not text:
        return "nothing was answered"
    if folded(text) == folded(one.row.answer):
        return "the same as the reference"
    if one.way == "own answer" and judged is not None:
        worse = judged.get(one.row.row_id)
        return "not judged" if worse is None else "" if worse else "not judged worse in both orders"
    if one.way != "cut off" and overlap(text, one.row.answer) >= _ALIKE:
        return "says what the reference says"
    return ""


def _pair(one: Attempt, text: str) -> Preference:
    row = one.row
    name = f"{row.row_id}-{one.way.replace(' ', '-')}"
    return Preference(name, row.task, row.split, row.document, row.origin, row.messages, row.answer, text, one.way)


def _balanced(pairs: Sequence[Preference]) -> tuple[list[Preference], list[dict[str, Any]], list[Dropped]]:
    """Pairs without a longer side, what is told of each way, and what was left out."""
    parts: dict[tuple[str, str], list[Preference]] = {}
    for pair in pairs:
        parts.setdefault((pair.way, pair.split), []).append(pair)
    kept, ways, dropped = list[Preference](), [], list[Dropped]()
    for (way, split), part in sorted(parts.items()):
        found = balanced(part)
        kept += found.pairs
        ways.append(_way_facts(way, split, found.pairs, found.cut))
        dropped += [
            Dropped(pair.rejected, split, pair.document, way, f"{way}: too short beside the reference")
            for pair in found.left_out
        ]
    return kept, ways, dropped


def _way_facts(way: str, split: str, pairs: Sequence[Preference], cut: int) -> dict[str, Any]:
    """How many pairs a way has on a side, how long they are in the mean, and how many answers were cut for that."""
    told = {"way": way, "split": split, "pairs": len(pairs), "cut": cut}
    for name in ("chosen", "rejected"):
        told[f"{name}_chars"] = round(fmean(len(getattr(pair, name)) for pair in pairs), 1) if pairs else 0.0
    return told


def _key(turns: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    return tuple((turn.role, turn.content) for turn in turns)
