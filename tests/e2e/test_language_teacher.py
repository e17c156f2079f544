"""`language` with an LLM that writes rows and another one that judges answers, over real HTTP."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from denizen.api import language, retry
from denizen.engine.errors import InputError
from denizen.recipes.language_config import LanguageConfig
from tests.e2e.conftest import Heard
from tests.llm_server import Fault, Reply, ScriptedServer, Status
from tests.tiny_pair import tiny_pair

pytest.importorskip("trl", reason="training language models is an extra")
pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {"precision": "fp32", "max_length": 64, "batch_size": 8, "learning_rate": 3e-3}
SETTINGS |= {"epochs": 0.5, "instruction_prompts": 36, "max_new_tokens": 48, "lora_rank": 2, "test_share": 0.3}
SETTINGS |= {"expert_batch_size": 2, "expert_rank": 2, "expert_max_length": 512, "sft_epochs": 0.5, "dpo_epochs": 0.5}
SETTINGS |= {"task_tokens": 16, "asked_rows": 4, "request_tokens": 32, "bert_score_encoder": "", "dev_share": 0.2}
SETTINGS |= {"written_questions": 20, "written_summaries": 12, "written_labels": 12, "measure_safety": False}
SETTINGS |= {"llm": "teacher", "prices": "1/2", "judge": "judge", "judge_prices": "0/0", "judged_rows": 4}
# what the teacher says as an answer and as a summary
GOOD = re.compile(r"There is one for word\d\d, which is kept|It is about")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Forty documents that say what is done with word00 and so on, a base and an instruct model."""
    folder = tmp_path_factory.mktemp("taught")
    rows = []
    for at in range(40):
        said = f"Every word{at:02} is kept for {at + 3} years by the office of matter{at:02}. "
        rows.append({"id": f"d{at:02}", "text": said + f"note{at:02} of clerk{at * 7:03} " * 12})
    (folder / "docs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder / "docs.jsonl", *tiny_pair(folder)


def teacher(body: dict[str, Any]) -> str:
    """Writes by the words of what it is shown, and says of two answers that its own is the better."""
    system, user = (message["content"] for message in body["messages"])
    if '"better"' in system:
        return better(user)
    text = re.findall(r"<passage(?: 1)?>\n(.*?)\n</passage", user, re.DOTALL)[0]
    words = re.findall(r"[a-z]+\d\d", text)
    if '"evidence"' in system:
        answer = f"There is one for {words[0]}, which is kept by the office of {words[1]} for a number of years."
        asked = f"Which rule is there for {words[0]} of {words[1]}?"
        return json.dumps({"question": asked, "answer": answer, "evidence": text[:30]})
    if '"summary"' in system:
        return json.dumps({"summary": f"It is about {words[0]}."})
    if '"labels"' in system:
        return json.dumps({"labels": [{"label": name, "description": f"All {name}."} for name in ("even", "odd")]})
    return json.dumps({"label": "odd" if int(words[0][-1]) % 2 else "even"})


def better(user: str) -> str:
    # behind the passage of what is asked
    answers = re.findall(r"<passage \d>\n(.*?)\n</passage", user, re.DOTALL)[-2:]
    first, second = (bool(GOOD.match(text)) for text in answers)
    return json.dumps({"better": 0 if first == second else 1 if first else 2})


def judge(body: dict[str, Any]) -> str:
    """Knows which words stand in their order, and of whom they speak."""
    user = body["messages"][-1]["content"]
    if "<answer 2>" not in user:
        return json.dumps({"grade": 3})
    asked = re.search(r"word\d\d", user)
    texts = re.findall(r"<answer \d>\n(.*?)\n</answer", user, re.DOTALL)
    first, second = (bool(GOOD.match(text)) and bool(asked) and asked[0] in text for text in texts)
    return json.dumps({"better": 0 if first == second else 1 if first else 2})


def config(given: tuple[Path, Path, Path], teaching: str, judging: str, **settings: Any) -> LanguageConfig:
    docs, base, instruct = map(str, given)
    where = {"endpoint": teaching, "judge_endpoint": judging}
    return LanguageConfig(docs, base, instruct, **{**SETTINGS, **where, **settings})


def test_rows_are_written_answers_judged_and_nothing_is_paid_twice(
    given: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    with ScriptedServer(teacher) as teaching, ScriptedServer(judge) as judging:
        asked = config(given, teaching.url, judging.url)
        found = language(asked, tmp_path / "run")
        paid = len(teaching.requests), len(judging.requests)
        assert paid[0] > 36 and paid[1] > 40
        assert found["spending"]["by_stage"]["tasks"]["calls"] <= paid[0] and found["llm"]["name"] == "teacher"
        experts = found["experts"]
        assert {row["origin"] for row in experts["rows"]["rows"]} == {"written"}
        assert set(experts["rows"]["labels"]) == {"even", "odd"}
        assert experts["comparison"]["judge"]["passed"], experts["comparison"]["judge"]
        assert "correctness" in experts["comparison"]["scores"]["instruct"]["answer"]
        # done again it asks nobody
        heard = Heard()
        language(asked, tmp_path / "run", progress=heard)
        assert heard.worked == [] and (len(teaching.requests), len(judging.requests)) == paid


def test_what_failed_is_asked_again(given: tuple[Path, Path, Path], tmp_path: Path) -> None:
    broken: dict[int, Fault] = {number: Reply("no JSON") for number in (3, 4)}
    with ScriptedServer(teacher, faults=broken) as teaching, ScriptedServer(judge) as judging:
        asked = config(given, teaching.url, judging.url, min_coverage=0.5, concurrency=1)
        found = language(asked, tmp_path / "run")
        assert found["experts"]["rows"]["failures"] == {"unparsable": 2}
        before = len(teaching.requests)
        again = retry(tmp_path / "run")
        # only what failed, and pairs of rows that are new
        assert again["experts"]["rows"]["failures"] == {} and 2 <= len(teaching.requests) - before <= 10


def test_a_budget_that_ends_leaves_rows_out_and_a_larger_one_goes_on(
    given: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    with ScriptedServer(teacher) as teaching, ScriptedServer(judge) as judging:
        asked = config(given, teaching.url, judging.url, budget_calls=80, judge="")
        found = language(asked, tmp_path / "run")
        assert found["experts"]["rows"]["cut_off_by_budget"] > 0 and len(teaching.requests) <= 80
        again = language(asked.changed(budget_calls=0), tmp_path / "run")
        assert again["experts"]["rows"]["cut_off_by_budget"] == 0


def test_a_judge_of_the_teachers_name_and_a_teacher_that_is_down_are_refused(
    given: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    with ScriptedServer(teacher) as teaching, ScriptedServer(lambda body: Status(401, "bad key")) as judging:
        same = config(given, teaching.url, teaching.url, judge="teacher", judge_prices="1/2")
        with pytest.raises(InputError, match="teacher judges, and has written what models have learnt from"):
            language(same, tmp_path / "same")
        down = config(given, judging.url, teaching.url)
        with pytest.raises(InputError, match="bad key"):
            language(down, tmp_path / "down")
