"""The LLM of a run, made from its settings: what it may cost, how much of that a step may use, and what came back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.tables import rows_table
from denizen.engine.errors import InputError
from denizen.engine.settings import Params, setting
from denizen.engine.step import Partial
from denizen.llm.answer import Failure, Prompt
from denizen.llm.budget import Budget, Prices, Spending
from denizen.llm.client import LLM
from denizen.llm.gguf_file import file_of
from denizen.llm.local import endpoint_of
from denizen.llm.replies import Replies

REPLIES = "replies.sqlite"
# environment variables with the keys of the run's endpoint, and of another one that judges
KEY, JUDGE_KEY = "OPENAI_API_KEY", "JUDGE_API_KEY"
# of English text; only for estimates
TOKEN_CHARS = 4
QUESTION_TOKENS, GRADE_TOKENS = 40, 10


@dataclass(frozen=True)
class Asking(Params):
    """How an LLM is asked, and what that may cost; it decides on no answer."""

    panel = "Teacher"
    effect = False

    endpoint: str = setting(
        "", "Base URL of an OpenAI-compatible endpoint, as http://localhost:8000/v1; a GGUF file needs none."
    )
    prices: str = setting("", "Price of a million input and output tokens, as 0.15/0.60; 0/0: your own server.")
    allow_unpriced: bool = setting(False, "Call an LLM of unknown price.")
    budget_calls: int = setting(0, "Most LLM calls of the run; 0: no limit.", least=0)
    budget_tokens: int = setting(0, "Most LLM tokens of the run, input and output; 0: no limit.", least=0)
    budget_money: float = setting(0.0, "Most money for the LLM, in the unit of prices; 0: no limit.", least=0)
    concurrency: int = setting(8, "LLM calls at a time; fewer where llama.cpp is started here.", least=1, most=1024)
    timeout: float = setting(
        120.0, "Seconds after which a call that has not ended is tried again; a GGUF file has 1800 at least.", least=0.1
    )
    # what models spend on it is a few hundred tokens for a grade, and those that do not think stop by themselves
    thinking_tokens: int = setting(
        2000, "Tokens that a reply may take besides the answer, for models that think.", least=0, most=1 << 20
    )
    replies: str = setting("", "File of LLM replies that several runs share; empty: in the run's folder.")
    min_coverage: float = setting(0.9, "A stage fails when fewer of its calls were answered.", least=0, most=1)

    @property
    def budget(self) -> Budget:
        """The limits of a run.

        Raises:
            InputError: When the price is unknown and allow_unpriced is not set.
        """
        return Budget(
            calls=self.budget_calls or None,
            tokens=self.budget_tokens or None,
            money=self.budget_money or None,
            prices=Prices.read(self.prices),
            allow_unpriced=self.allow_unpriced,
        )

    def check(self, llm: str) -> None:
        """Makes sure that an LLM can be asked, as far as that is known without asking.

        Raises:
            InputError: When its price is unknown, the endpoint is no URL, or a file is missing or cannot be served.
        """
        self.of_llm(llm).budget  # noqa: B018  (it says whether the price is known)
        endpoint_of(llm, self.endpoint, KEY, self.timeout)

    def of_llm(self, llm: str) -> Asking:
        """The same as it goes for an LLM: what is served here costs nothing, unless prices are given."""
        return replace(self, prices=self.prices or "0/0") if file_of(llm, self.endpoint) else self

    def called(self, llm: str) -> str:
        """What an LLM is called in results: a GGUF file by its name and digest, wherever it lies."""
        file = file_of(llm, self.endpoint)
        return file.name if file else llm

    def replies_path(self, out: Path) -> Path:
        """Where a run keeps its LLM's replies."""
        return Path(self.replies).expanduser() if self.replies else out / REPLIES

    def client(self, llm: str, out: Path, key_variable: str = KEY) -> LLM:
        """The client of a run's LLM."""
        # a store of its own may move with its folder; in a shared one, the folder says whose calls are whose
        replies = Replies(self.replies_path(out), out.resolve().as_posix() if self.replies else "run")
        return LLM(
            llm,
            replies,
            self.of_llm(llm).budget,
            endpoint=self.endpoint,
            concurrency=self.concurrency,
            timeout=self.timeout,
            thinking_tokens=self.thinking_tokens,
            key_variable=key_variable,
        )

    def judge(self, own: str, out: Path, llm: str, endpoint: str, prices: str) -> LLM:
        """The client of another LLM than the run's, on the run's budget.

        At another endpoint it has its own key, in `JUDGE_API_KEY`: nobody's key is sent to somebody else's server. A
        GGUF file without an endpoint of its own is served here, wherever the run's LLM is.

        Args:
            own: The run's LLM.
            out: The run's folder.
            llm: The other one.
            endpoint: Its endpoint; empty: that of the run.
            prices: Its prices; empty: nothing, for a file and at the run's endpoint if that costs nothing either.

        Raises:
            InputError: When its price is not known.
        """
        if file_of(llm, endpoint):
            return replace(self, endpoint="", prices=prices).client(llm, out)
        # where the run's own is a file, the run has no endpoint that could be free
        free = not endpoint and not file_of(own, self.endpoint) and Prices.read(self.prices) == Prices(0, 0)
        prices = prices or ("0/0" if free else "")
        if not prices and not self.allow_unpriced:
            raise InputError(
                f"the price of {llm} is not known, and need not be that of {own}; give its prices as 0.15/0.60, or "
                "0/0 for your own server"
            )
        if not llm:
            raise InputError("the other LLM has no name; give it as its endpoint calls it")
        other = replace(self, endpoint=endpoint or self.endpoint, prices=prices)
        return other.client(llm, out, JUDGE_KEY if endpoint else KEY)

    def limits(self, llm: LLM) -> dict[str, Any]:
        """What may cut a step off, and which generation of the store it has seen."""
        names = ("budget_calls", "budget_tokens", "budget_money")
        return {**{name: getattr(self, name) for name in names}, "replies": llm.replies.generation()}


def calls_left(llm: LLM | None, stage: str, prompts: Sequence[Prompt] = ()) -> int | None:
    """How many calls the budget leaves to a step and all that follow.

    What these have paid for already is included: a step that goes on, or is entered again with a larger budget, deals
    out what it would have dealt out from the start, and those after it find paid what they ask again.

    Args:
        llm: The run's LLM.
        stage: The step that asks.
        prompts: Some of its calls, from which the cost of one is estimated as long as none was made.

    Returns:
        None where there is no limit.
    """
    if llm is None:
        return None
    spent = llm.replies.spent_by_stage()
    before = sum((part for name, part in spent.items() if _order(name) < _order(stage)), Spending())
    written = sum(len(text) for prompt in prompts for _, text in prompt.messages)
    into, out = round(written / TOKEN_CHARS), QUESTION_TOKENS * len(prompts)
    prices = llm.budget.prices
    likely = Spending(len(prompts), into + out, prices.cost(into, out) if prices else 0.0)
    return llm.budget.calls_left(before, likely)


def _order(stage: str) -> float:
    """Where a step stands among those of a run that ask; what asks beside a run, as an audit does, comes before all."""
    number = re.fullmatch(r"round-(\d+)/.*", stage)
    return {"tasks": 0, "preferences": 0.5, "synthesis": 0, "trial": 0.5, "negatives": 0.75, "test": math.inf}.get(
        stage, 1 + int(number[1]) if number else -1
    )


def failure_table(stage: str, failures: Iterable[Failure]) -> pa.Table:
    """A `failures` table of calls of a step, each named by its key in the store of replies."""
    rows = ({"stage": stage, "key": row.key, "error": row.kind, "raw": row.raw or row.message} for row in failures)
    return rows_table("failures", rows)


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


def whole_or_partial(facts: dict[str, Any]) -> dict[str, Any] | Partial:
    """The facts of a step that has asked, as partial where calls failed or a budget cut them off."""
    lacks = {name: facts[name] for name in ("failures", "cut_off_by_budget") if facts[name]}
    return Partial(facts, lacks) if lacks else facts


def named(llm: LLM) -> dict[str, Any]:
    """What a run's LLM is called in results, and its prices, or None."""
    return {"name": llm.model, "prices": asdict(llm.budget.prices) if llm.budget.prices else None}


def spending(llm: LLM | None) -> dict[str, Any]:
    """What the run's calls have cost so far, whole and by step."""
    if llm is None:
        return {}
    return {
        "total": asdict(llm.replies.spent()),
        "by_stage": {stage: asdict(found) for stage, found in llm.replies.spent_by_stage().items()},
    }
