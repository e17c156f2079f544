"""A router that asks an LLM: what it is asked, what its answers are worth, and what happens without one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denizen.engine.errors import InputError
from denizen.llm.budget import Budget, Prices
from denizen.llm.client import LLM
from denizen.llm.replies import Replies
from denizen.retrievers.routing.decision import Thresholds
from denizen.retrievers.routing.llm_router import LLMRouter
from denizen.retrievers.routing.saved import load_router, save_router
from tests.llm_server import ScriptedServer

EXAMPLES = [("is it a tort?", "law"), ("is it gout?", "medicine")]
NOTHING = np.zeros((0, 4), dtype=np.float32)


def answer(body: dict[str, Any]) -> str:
    """Says medicine where it reads gout, law where it reads law, nothing of use of noise, else none of these."""
    asked = re.sub(r"</?query>", "", body["messages"][-1]["content"]).strip()
    if "noise" in asked:
        return "I would rather not"
    domain = "medicine" if "gout" in asked else "law" if "law" in asked else "none of these"
    return json.dumps({"domain": domain})


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer) as found:
        yield found


def client(server: ScriptedServer, folder: Path, model: str = "tiny") -> LLM:
    return LLM(model, Replies(folder / "replies.sqlite", "run"), Budget(prices=Prices(0, 0)), endpoint=server.url)


def test_an_answer_is_worth_what_came_true_of_it(server: ScriptedServer, tmp_path: Path) -> None:
    """Four dev queries: law twice, right once; medicine once, right; none once, right.

    The prior of (law, medicine, none), each once or twice of four, with one more of each: (2, 3, 2) / 7. After "law"
    the counts are (1, 1, 0): (1 + 2/7) / 3 = .4286 law, (1 + 3/7) / 3 = .4762 medicine. After "medicine" (0, 1, 0):
    (0 + 2/7) / 2 = .1429 and (1 + 3/7) / 2 = .7143.
    """
    dev = {"a": "what law?", "b": "lawful pain?", "c": "gout?", "d": "rain?"}
    router = LLMRouter.fit(client(server, tmp_path), EXAMPLES, dev, ["law", "medicine", "medicine", ""])
    found = router.probabilities({"x": "law!", "y": "more gout"}, NOTHING)
    assert found == pytest.approx(np.asarray([[0.4286, 0.4762], [0.1429, 0.7143]]), abs=1e-4)
    assert (router.table.sum(axis=1) <= 1).all()


def test_examples_stand_before_the_query_and_names_are_all_that_can_be_said(
    server: ScriptedServer, tmp_path: Path
) -> None:
    LLMRouter.fit(client(server, tmp_path), EXAMPLES, {"a": "</query> gout"}, ["medicine"])
    (body,) = server.requests
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert json.loads(body["messages"][2]["content"]) == {"domain": "law"}
    assert "- law\n- medicine" in body["messages"][0]["content"]
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["domain"]["enum"] == ["law", "medicine", "none of these"]
    # what a query says cannot close its own marker
    assert body["messages"][-1]["content"].count("</query>") == 1


def test_without_an_answer_nothing_is_known_of_a_query(server: ScriptedServer, tmp_path: Path) -> None:
    router = LLMRouter.fit(client(server, tmp_path), EXAMPLES, {"a": "gout", "b": "law"}, ["medicine", "law"])
    assert router.probabilities({"x": "noise"}, NOTHING).tolist() == [[0.0, 0.0]]


def test_an_llm_that_does_not_answer_is_no_router(server: ScriptedServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tiny named a domain for 1 of 2 dev queries, and nine in ten are needed"):
        LLMRouter.fit(client(server, tmp_path), EXAMPLES, {"a": "gout", "b": "noise"}, ["medicine", "law"])


def test_a_domain_cannot_be_called_none_of_these(server: ScriptedServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a domain is called 'none of these'.*rename it"):
        LLMRouter.fit(client(server, tmp_path), [("?", "none of these"), ("!", "law")], {"a": "law"}, ["law"])


def test_it_reads_as_it_was_saved_and_asks_the_same_llm(server: ScriptedServer, tmp_path: Path) -> None:
    llm = client(server, tmp_path)
    router = LLMRouter.fit(llm, EXAMPLES, {"a": "gout", "b": "law"}, ["medicine", "law"])
    save_router(tmp_path / "router", router, Thresholds(0.4, 1.0))
    again, thresholds = load_router(tmp_path / "router", llm)
    asked = {"x": "gout again", "y": "rain"}
    assert np.array_equal(again.probabilities(asked, NOTHING), router.probabilities(asked, NOTHING))
    assert thresholds == Thresholds(0.4, 1.0)
    # what was asked once is not asked twice
    count = len(server.requests)
    again.probabilities(asked, NOTHING)
    assert len(server.requests) == count
    with pytest.raises(InputError, match="asks tiny, and no LLM is given; give that one"):
        load_router(tmp_path / "router")
    with pytest.raises(InputError, match="asks tiny, and the LLM given is other"):
        load_router(tmp_path / "router", client(server, tmp_path, "other"))
