"""What an LLM may cost, how much of that a step may use, and what came back."""

from __future__ import annotations

from pathlib import Path

import pytest

from denizen.data.tables import rows_table
from denizen.engine.errors import InputError
from denizen.engine.step import Partial
from denizen.llm.answer import Failure, Prompt
from denizen.llm.replies import Replies, StoredReply
from denizen.supervision.asking import Asking, calls_left, check_coverage, spending, whole_or_partial
from denizen.supervision.judging import Grade

from .asked_steps import client

URL = "http://127.0.0.1:9/v1"


def _failed(*kinds: str) -> list[Failure]:
    return [Failure("key", kind, "what is wrong", "") for kind in kinds]  # type: ignore[arg-type]


def _paid(llm_replies: Replies, stage: str, calls: int) -> None:
    for at in range(calls):
        llm_replies.add(
            StoredReply(f"{stage} {at}", stage, "tiny", "{}", "x", prompt_tokens=10, completion_tokens=5, cost=0.5)
        )


def test_what_a_budget_cut_off_was_not_asked_and_does_not_count() -> None:
    found = check_coverage("test", 10, _failed("budget", "budget", "schema"), 0.8)
    assert found == {"asked": 10, "coverage": 0.875, "failures": {"schema": 1}, "cut_off_by_budget": 2}
    assert check_coverage("test", 2, _failed("budget", "budget"), 1.0)["coverage"] == 1


def test_too_few_answers_stop_the_step_with_what_failed_and_the_way_on() -> None:
    rows = [{"stage": "test", "key": "k", "error": kind, "raw": ""} for kind in ("schema", "refusal", "refusal")]
    told = r"test: 70\.0% of 10 were answered, --min-coverage is 80%; failed: 2 refusal, 1 schema\. `denizen retry RUN`"
    with pytest.raises(InputError, match=told):
        check_coverage("test", 10, rows_table("failures", rows), 0.8)
    # as many as are asked for are enough
    assert check_coverage("test", 10, rows_table("failures", rows), 0.7)["coverage"] == 0.7


def test_a_step_lacks_what_failed_and_what_the_budget_cut_off() -> None:
    whole = check_coverage("test", 3, [], 0.9)
    assert whole_or_partial(whole) is whole
    facts = check_coverage("test", 10, _failed("budget", "empty"), 0.5)
    assert whole_or_partial(facts) == Partial(facts, {"failures": {"empty": 1}, "cut_off_by_budget": 1})
    cut = check_coverage("test", 10, _failed("budget"), 0.5)
    assert whole_or_partial(cut) == Partial(cut, {"cut_off_by_budget": 1})


def test_what_a_step_and_those_after_it_have_paid_for_is_still_theirs(tmp_path: Path) -> None:
    llm = client(tmp_path, URL, calls=200)
    stages = ("synthesis", "round-0/judgments", "round-2/judgments", "round-10/judgments", "test", "audit", "pool")
    for at, stage in enumerate(stages):
        _paid(llm.replies, stage, 2**at)
    # what an audit and a comparison took is gone
    left = 200 - 32 - 64
    assert [calls_left(llm, stage) for stage in stages[:5]] == [left, left - 1, left - 3, left - 7, left - 15]
    assert calls_left(llm, "round-1/judgments") == left - 3
    assert calls_left(client(tmp_path, URL), "test") is None
    assert calls_left(None, "test") is None


def test_before_any_call_its_cost_is_estimated_from_the_prompts(tmp_path: Path) -> None:
    # a hundred characters are about 25 tokens, and a question about 40
    prompts = [Prompt((("system", "x" * 60), ("user", "y" * 40)), Grade, 32)] * 10
    assert calls_left(client(tmp_path, URL, tokens=650), "synthesis", prompts) == 10
    assert calls_left(client(tmp_path, URL, money=140e-6), "synthesis", prompts) == 2
    llm = client(tmp_path, URL, tokens=650)
    _paid(llm.replies, "synthesis", 2)
    # of others there are costs now: 15 tokens a call
    assert calls_left(llm, "test", prompts) == 41


def test_limits_are_the_budgets_and_the_generation_of_the_replies(tmp_path: Path) -> None:
    asking, llm = Asking(budget_calls=7, budget_money=0.5, prices="1/1"), client(tmp_path, URL)
    seen = asking.limits(llm)
    assert seen == {"budget_calls": 7, "budget_tokens": 0, "budget_money": 0.5, "replies": 0}
    assert Asking(budget_calls=7, budget_money=0.5, concurrency=2, min_coverage=0.1).limits(llm) == seen
    llm.replies.supersede_failures(0)
    assert asking.limits(llm) == {**seen, "replies": 1}


def test_a_shared_store_knows_whose_calls_are_whose(tmp_path: Path) -> None:
    shared = str(tmp_path / "shared.sqlite")
    one, two = (Asking(prices="1/1", replies=shared).client("tiny", tmp_path / name) for name in ("one", "two"))
    _paid(one.replies, "test", 3)
    assert (spending(one)["total"]["calls"], spending(two)["total"]["calls"]) == (3, 0)
    assert spending(one)["by_stage"] == {"test": {"calls": 3, "tokens": 45, "money": 1.5}}
    # a store of its own may be moved with its run
    own = Asking(prices="1/1").client("tiny", tmp_path / "one")
    _paid(own.replies, "test", 2)
    (tmp_path / "one").rename(tmp_path / "moved")
    assert spending(Asking(prices="1/1").client("tiny", tmp_path / "moved"))["total"]["calls"] == 2
    assert spending(None) == {}


def test_another_judge_needs_a_name_and_a_price(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the price of other is not known, and need not be that of tiny"):
        Asking(prices="1/1").judge("tiny", tmp_path, "other", "", "")
    with pytest.raises(InputError, match="the price of other is not known"):
        # the run's own endpoint is free, another one need not be
        Asking(prices="0/0").judge("tiny", tmp_path, "other", URL, "")
    with pytest.raises(InputError, match="the other LLM has no name"):
        Asking(prices="0/0").judge("tiny", tmp_path, "", "", "")
    free = Asking(prices="0/0", endpoint=URL).judge("tiny", tmp_path, "other", "", "")
    assert (free.model, free.budget.spending(10, 10).money) == ("other", 0)
    dear = Asking(prices="0/0", budget_calls=3).judge("tiny", tmp_path, "other", URL, "1000000/0")
    assert dear.budget.spending(2, 10).money == 2
    assert calls_left(dear, "audit") == 3
    assert Asking(allow_unpriced=True).judge("tiny", tmp_path, "other", URL, "").budget.prices is None
