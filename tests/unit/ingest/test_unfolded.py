"""What the data of a page say and the page does not: told by an index as by looking through all that was said."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from denizen.ingest.html import parsed_html
from denizen.ingest.unfolded import said_in_data

_WORDS = ("rain", "wind", "snow", "ra", "in", "a")


def _page(texts: list[str]) -> str:
    return f"<script type='application/json'>{json.dumps(texts)}</script>"


def _plainly(texts: list[str], page: str) -> list[str]:
    """The texts that stand neither in the page nor in one before them."""
    known, fresh = [page.replace(" ", "")], []
    for text in texts:
        if not any(text.replace(" ", "") in said for said in known):
            known.append(text.replace(" ", ""))
            fresh.append(text)
    return fresh


@given(st.lists(st.lists(st.sampled_from(_WORDS), min_size=8, max_size=20).map(" ".join), max_size=12), st.data())
def test_a_text_that_stands_in_another_one_is_said_once(texts: list[str], data: st.DataObject) -> None:
    # a piece of one of them, at any place, is what the page says already
    whole = data.draw(st.sampled_from(texts)) if texts else "rain"
    begin = data.draw(st.integers(0, len(whole) - 1))
    page = " ".join([whole[begin:], *["word"] * 40])
    _, left_out = said_in_data(parsed_html(_page(texts)), page)
    assert [each.text for each in left_out] == _plainly(texts, page)


def test_a_bare_page_is_drawn_from_its_data() -> None:
    long = "the rain in the hills is no reason to stay"
    fresh, left_out = said_in_data(parsed_html(_page([long, long[4:], "short"])), "a title")
    assert (fresh, left_out) == ([long], [])
