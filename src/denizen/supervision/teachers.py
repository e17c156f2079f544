"""The LLM and the teacher of a run, made from its settings, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.engine.errors import InputError
from denizen.llm.answer import Failure, Prompt
from denizen.llm.budget import Budget, Prices, Spending
from denizen.llm.client import LLM
from denizen.llm.replies import Replies
from denizen.recipes.config import AdaptConfig
from denizen.retrievers.encoder import locate
from denizen.supervision.judging import CrossEncoderTeacher, LLMTeacher, Teacher
from denizen.supervision.synthesis import read_styles

REPLIES = "replies.sqlite"
# environment variables with the keys of the run's endpoint, and of another one that judges
KEY, JUDGE_KEY = "OPENAI_API_KEY", "JUDGE_API_KEY"
# of English text; only for estimates
TOKEN_CHARS = 4
QUESTION_TOKENS, GRADE_TOKENS = 40, 10


def check(config: AdaptConfig) -> None:
    """Makes sure that a run with a teacher can begin, before anything is read or paid.

    Raises:
        InputError: On settings that do not fit together, an unknown style, a missing price, a model that is not there.
    """
    read_styles(config.styles)
    if config.teacher == "cross-encoder":
        locate_cross_encoder(config.cross_encoder)
    if config.llm:
        budget(config)
    elif not config.query_log:
        raise InputError("without labels, queries must come from somewhere: give llm, or query_log")
    if config.query_log and not Path(config.query_log).expanduser().is_file():
        raise InputError(f"query_log {config.query_log!r} does not exist; give a text file with one query a line")


def budget(config: AdaptConfig) -> Budget:
    """The limits of a run.

    Raises:
        InputError: When the price is unknown and allow_unpriced is not set.
    """
    return Budget(
        calls=config.budget_calls or None,
        tokens=config.budget_tokens or None,
        money=config.budget_money or None,
        prices=Prices.read(config.prices),
        allow_unpriced=config.allow_unpriced,
    )


def replies_path(config: AdaptConfig, out: Path) -> Path:
    """Where a run keeps its LLM's replies."""
    return Path(config.replies).expanduser() if config.replies else out / REPLIES


def make_llm(config: AdaptConfig, out: Path, key_variable: str = KEY) -> LLM | None:
    """The client of a run's LLM; None where it has none."""
    if not config.llm:
        return None
    path = replies_path(config, out)
    # a store of its own may move with its folder; in a shared one, the folder says whose calls are whose
    replies = Replies(path, out.resolve().as_posix() if config.replies else "run")
    return LLM(
        config.llm,
        replies,
        budget(config),
        endpoint=config.endpoint,
        concurrency=config.concurrency,
        timeout=config.timeout,
        thinking_tokens=config.thinking_tokens,
        key_variable=key_variable,
    )


def run_llm(config: AdaptConfig, run: Path, key_variable: str = KEY) -> LLM:
    """The client of a finished run's LLM.

    Raises:
        InputError: When it has none.
    """
    llm = make_llm(config, run, key_variable)
    if llm is None:
        raise InputError(f"{run} has no LLM; give the folder of a run with --llm")
    return llm


def make_judge(config: AdaptConfig, out: Path, llm: str, endpoint: str, prices: str) -> LLM:
    """Another LLM than the run's, on the run's budget.

    At another endpoint it has its own key, in `JUDGE_API_KEY`: nobody's key is sent to somebody else's server.

    Args:
        config: The run's settings.
        out: The run's folder.
        llm: Its name.
        endpoint: Its endpoint; empty: that of the run.
        prices: Its prices; empty: nothing, at the run's endpoint if that costs nothing either.

    Raises:
        InputError: When its price is not known.
    """
    free = not endpoint and Prices.read(config.prices) == Prices(0, 0)
    prices = prices or ("0/0" if free else "")
    if not prices and not config.allow_unpriced:
        raise InputError(
            f"the price of {llm} is not known, and need not be that of {config.llm}; give its prices as 0.15/0.60, or "
            "0/0 for your own server"
        )
    if not llm:
        raise InputError("the other LLM has no name; give it as its endpoint calls it")
    own = replace(config, llm=llm, endpoint=endpoint or config.endpoint, prices=prices)
    return run_llm(own, out, JUDGE_KEY if endpoint else KEY)


def make_teacher(
    config: AdaptConfig, llm: LLM | None, stage: str, most: int | None = None, by_query: bool = False
) -> Teacher:
    """The teacher of a run.

    Args:
        config: The settings.
        llm: The run's LLM.
        stage: The stage that asks.
        most: The most calls that this stage may pay for.
        by_query: Where a budget ends, leave whole queries.
    """
    if config.teacher == "cross-encoder":
        return CrossEncoderTeacher(locate_cross_encoder(config.cross_encoder))
    if llm is None:
        raise InputError("teacher llm needs llm: the name of the model at the endpoint")
    return LLMTeacher(llm, stage, config.grades_per_call, most=most, by_query=by_query)


def calls_left(llm: LLM | None, stage: str, prompts: Sequence[Prompt] = ()) -> int | None:
    """How many calls the budget has left, those that this stage has paid for already, before it was stopped, included.

    Args:
        llm: The run's LLM.
        stage: The stage that asks.
        prompts: Some of its calls, from which the cost of one is estimated as long as none was made.

    Returns:
        None where there is no limit.
    """
    if llm is None:
        return None
    total, own = llm.replies.spent(), llm.replies.spent_by_stage().get(stage, Spending())
    before = Spending(total.calls - own.calls, total.tokens - own.tokens, total.money - own.money)
    written = sum(len(text) for prompt in prompts for _, text in prompt.messages)
    into, out = round(written / TOKEN_CHARS), QUESTION_TOKENS * len(prompts)
    prices = llm.budget.prices
    likely = Spending(len(prompts), into + out, prices.cost(into, out) if prices else 0.0)
    return llm.budget.calls_left(before, likely)


def locate_cross_encoder(name: str) -> Path:
    """The folder of a cross-encoder.

    Raises:
        InputError: When it is no model.
    """
    path = Path(name).expanduser()
    if (path / "config.json").is_file():
        return path
    if path.exists():
        raise InputError(f"{name} is no model folder (it has no config.json)")
    return locate(name)


def check_coverage(stage: str, asked: int, failures: Sequence[Failure] | pa.Table, least: float) -> dict[str, Any]:
    """How many calls were answered; what a budget cut off was not asked and does not count.

    Raises:
        InputError: When fewer than the share `least` were answered.
    """
    kinds = [row.kind for row in failures] if not isinstance(failures, pa.Table) else failures["error"].to_pylist()
    cut_off = kinds.count("budget")
    by_kind = {kind: kinds.count(kind) for kind in sorted(set(kinds) - {"budget"})}
    tried = asked - cut_off
    coverage = 1 - sum(by_kind.values()) / tried if tried else 1.0
    if coverage < least:
        shown = ", ".join(f"{count:,} {kind}" for kind, count in by_kind.items())
        raise InputError(
            f"{stage}: {coverage:.1%} of {tried:,} were answered, --min-coverage is {least:.0%}; failed: {shown}. "
            "`denizen retry RUN` asks those again; nothing that was answered is paid twice"
        )
    return {"asked": asked, "coverage": round(coverage, 4), "failures": by_kind, "cut_off_by_budget": cut_off}


def spending(llm: LLM | None) -> dict[str, Any]:
    """What the run's calls have cost so far, whole and by stage."""
    if llm is None:
        return {}
    return {
        "total": asdict(llm.replies.spent()),
        "by_stage": {stage: asdict(found) for stage, found in llm.replies.spent_by_stage().items()},
    }
