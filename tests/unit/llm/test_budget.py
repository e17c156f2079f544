from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.errors import InputError
from denizen.llm.budget import Budget, Prices, Spending, worst_prompt_tokens

MESSAGES = (("system", "Grade."), ("user", "naïve gout"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.15/0.60", Prices(0.15, 0.6)), ("0/0", Prices(0, 0)), (" 3 / 15 ", Prices(3, 15)), (".5/1", Prices(0.5, 1))],
)
def test_prices_are_read(text: str, expected: Prices) -> None:
    assert Prices.read(text) == expected


def test_no_text_is_no_prices() -> None:
    assert Prices.read("") is None and Prices.read("  ") is None


@pytest.mark.parametrize("text", ["0.15", "a/b", "-1/2", "1/2/3", "nan/1", "inf/1", "1e3/2", "0,15/0,60"])
def test_other_prices_are_refused_with_the_form_that_is_meant(text: str) -> None:
    with pytest.raises(InputError, match=r"0\.15/0\.60.*0/0"):
        Prices.read(text)


def test_cost_of_a_call() -> None:
    """1000 x 0.15 + 200 x 0.60 = 270 for a million."""
    assert Prices(0.15, 0.6).cost(1000, 200) == pytest.approx(0.00027)


def test_spending_adds_up() -> None:
    assert Spending(1, 20, 0.5) + Spending(2, 5, 0.25) == Spending(3, 25, 0.75)


def test_the_worst_case_is_a_token_a_byte_and_the_chat_template() -> None:
    """6 bytes, and 11 of naïve gout (ï has two); 2 x 32; 64."""
    assert worst_prompt_tokens(MESSAGES) == 6 + 11 + 64 + 64
    budget = Budget(prices=Prices(2_000_000, 1_000_000))
    assert budget.spending(worst_prompt_tokens(MESSAGES), 50) == Spending(1, 195, 2 * 145 + 50)


def test_prices_must_be_known_or_waived() -> None:
    with pytest.raises(InputError, match=r"0/0 for your own server, or allow_unpriced"):
        Budget(calls=5)
    assert Budget(allow_unpriced=True).reserve(Spending(1, 10)) == "yes"
    with pytest.raises(InputError, match="a budget of 2 cannot be kept without prices"):
        Budget(money=2, allow_unpriced=True)


@pytest.mark.parametrize("limit", [{"calls": -1}, {"tokens": -5}, {"money": -0.1}, {"money": math.nan}])
def test_limits_below_nothing_are_refused(limit: dict[str, float]) -> None:
    with pytest.raises(InputError, match="it must be 0 or more"):
        Budget(prices=Prices(1, 1), **limit)  # type: ignore[arg-type]


def test_a_limit_of_0_allows_nothing() -> None:
    assert Budget(calls=0, allow_unpriced=True).reserve(Spending(1, 1)) == "no"


def test_yes_wait_no() -> None:
    """Of 100 tokens 60 are reserved; 50 more may fit later, 101 never; when 60 turned out to be 55, 50 do not fit."""
    budget = Budget(tokens=100, allow_unpriced=True)
    assert budget.reserve(Spending(1, 60)) == "yes"
    assert budget.reserve(Spending(1, 50)) == "wait"
    assert budget.reserve(Spending(1, 101)) == "no"
    assert budget.reserve(Spending(1, 40)) == "yes"
    budget.settle(Spending(1, 40), Spending())
    budget.settle(Spending(1, 60), Spending(1, 55))
    assert budget.reserve(Spending(1, 50)) == "no"
    assert budget.reserve(Spending(1, 45)) == "yes"
    assert budget.spent == Spending(1, 55)


def test_rounding_errors_do_not_add_up() -> None:
    """As floats, .44 + .15 + .49 - .44 - .15 - .49 is 1.1e-16, and then 1.09 would not fit into 1.09."""
    budget = Budget(money=1.09, prices=Prices(1, 1))
    parts = [Spending(1, 0, money) for money in (0.44, 0.15, 0.49)]
    assert [budget.reserve(part) for part in parts] == ["yes"] * 3
    for part in parts:
        budget.settle(part, Spending())
    assert budget.reserve(Spending(1, 0, 1.09)) == "yes"


def test_what_never_can_fit_does_not_wait() -> None:
    """90 of 100 are spent, 5 reserved; 11 will not fit, whatever the 5 turn out to be."""
    budget = Budget(tokens=100, allow_unpriced=True)
    budget.begin(Spending(3, 90))
    assert budget.reserve(Spending(1, 5)) == "yes"
    assert budget.reserve(Spending(1, 11)) == "no"
    assert budget.reserve(Spending(1, 10)) == "wait"


def test_the_store_is_believed_unless_calls_are_under_way() -> None:
    budget = Budget(calls=10, allow_unpriced=True)
    budget.begin(Spending(4, 100))
    assert budget.reserve(Spending(1, 5)) == "yes"
    budget.begin(Spending(9, 900))
    assert budget.spent == Spending(4, 100)


calls = st.tuples(
    st.integers(0, 40), st.floats(0, 3, allow_nan=False), st.sampled_from([0.0, 0.3, 0.999, 1.0]), st.integers(0, 5)
)


@given(st.lists(calls, max_size=40), st.integers(0, 12), st.integers(0, 200), st.floats(0, 9), st.floats(0, 4))
def test_no_order_of_calls_passes_a_limit(
    script: list[tuple[int, float, float, int]], most: int, tokens: int, money: float, before: float
) -> None:
    """Each call ends, with a share of its worst case, when a few later ones have been asked for.

    Compared are floats as they are reported, without any tolerance.
    """
    budget = Budget(most, tokens, money, Prices(1, 1))
    budget.begin(Spending(0, 0, min(before, money)))
    under_way: list[tuple[int, Spending, Spending]] = []
    for step, (size, price, share, lasts) in enumerate(script):
        for entry in [entry for entry in under_way if entry[0] <= step]:
            under_way.remove(entry)
            budget.settle(entry[1], entry[2])
        worst = Spending(1, size, price)
        verdict = budget.reserve(worst)
        assert verdict != "wait" or under_way
        if verdict == "yes":
            under_way.append((step + lasts, worst, Spending(int(share > 0), int(size * share), price * share)))
        spent = budget.spent
        assert spent.calls <= most and spent.tokens <= tokens and spent.money <= money
    for _, worst, used in under_way:
        budget.settle(worst, used)
    assert budget.spent.calls <= most and budget.spent.tokens <= tokens and budget.spent.money <= money
    # nothing stays reserved: what is left can be had to the last token
    left = Spending(0, tokens - budget.spent.tokens)
    assert budget.reserve(left) == "yes"
