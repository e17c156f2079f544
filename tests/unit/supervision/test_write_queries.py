"""The step that writes queries, called without a pipeline: what is kept, dropped and counted, and what it may cost."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from denizen.data.artifacts import Corpus, Documents, Model, Qrels, Queries
from denizen.data.prepare import Shares
from denizen.data.tables import rankings, read_table, rows_table, with_column
from denizen.engine.artifact import Artifact, Value
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.engine.step import Partial
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.bm25 import BM25
from denizen.supervision import write_queries
from denizen.supervision.write_queries import Synthesis, read_query_log, synthesize
from tests.llm_server import ScriptedServer

from .asked_steps import client, context, stored

# each document is of one passage that is about its own word
WORDS = ["gout", "lupus", "fever", "pain", "drug", "dose", "child", "symptom", "treat", "cause", "which", "how"]
SIDES = ["train"] * 8 + ["dev"] * 2 + ["test"] * 2
SETTINGS: dict[str, Any] = {"llm": "tiny", "passages": 8, "styles": "question", "persona_queries": 0.0, "round_trip": 0}
SETTINGS |= {"backend": "torch", "precision": "fp32", "dev_share": 0.2, "test_share": 0.2}


def _ask(body: dict[str, Any]) -> str:
    system, *_, user = (message["content"] for message in body["messages"])
    if '"questions"' in system:
        listed = re.findall(r"^- (.*)$", user, re.MULTILINE)
        return json.dumps({"questions": [f"{text} and why {at}" for at, text in enumerate(listed)]})
    return json.dumps({"question": f"what about {re.findall(r'all about (.*?) ', user)[0]}"})


def _given(folder: Path, model: Path, labelled: bool = False, chars: int = 120) -> dict[str, Any]:
    texts = {f"d{at:02}": f"all about {word} {'and so on ' * 12}"[:chars] for at, word in enumerate(WORDS)}
    corpus = [
        {"doc_id": name, "text": text, "parent_id": name, "cluster": at, "parent_cluster": at}
        for at, (name, text) in enumerate(texts.items())
    ]
    documents = [{"parent_id": name, "split": side} for name, side in zip(texts, SIDES, strict=True)]
    asked = [{"query_id": "own", "text": "What about GOUT?", "split": "test"}] if labelled else []
    labels = [{"query_id": "own", "doc_id": "d11", "relevance": 1}] if labelled else []
    return {
        "corpus": stored(Corpus, folder / "in/corpus.parquet", corpus),
        "documents": stored(Documents, folder / "in/documents.parquet", documents),
        "test_queries": stored(Queries, folder / "in/test_queries.parquet", asked),
        "labels": stored(Qrels, folder / "in/labels.parquet", labels),
        "base": Model.outside(model),
        "prompts": Value("digest"),
    }


def _write(folder: Path, model: Path, url: str = "", **how: Any) -> Any:
    out = folder / "out"
    out.mkdir(exist_ok=True, parents=True)
    limits, settings, given = (how.get(name, {}) for name in ("limits", "settings", "given"))
    llm = client(folder, url, **limits) if url else None
    ctx = context(llm, Encoders(folder / "store"), min_coverage=how.get("min_coverage", 0.9))
    inputs = {**_given(folder, model, how.get("labelled", False), how.get("chars", 120)), **given}
    return synthesize(out, Synthesis.of({**SETTINGS, **settings}), ctx, **inputs)


def _rows(folder: Path, name: str, schema: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_table(folder / f"out/{name}.parquet", schema or name).to_pylist()
    return found


def test_every_side_has_its_queries_with_what_they_were_written_for(tiny_encoder: Path, tmp_path: Path) -> None:
    with ScriptedServer(_ask) as server:
        facts = _write(tmp_path, tiny_encoder, server.url)
        assert len(server.requests) == 12
    rows = _rows(tmp_path, "queries")
    assert Counter(row["split"] for row in rows) == {"train": 8, "dev": 2, "test": 2}
    side = {f"d{at:02}": side for at, side in enumerate(SIDES)}
    assert all(side[row["source_doc_id"]] == row["split"] for row in rows)
    assert all(row["text"] == f"what about {WORDS[int(row['source_doc_id'][1:])]}" for row in rows)
    # what is measured comes first
    assert [row["split"] for row in rows] == ["test"] * 2 + ["dev"] * 2 + ["train"] * 8
    assert [row["query_id"] for row in rows] == [f"s{at}" for at in range(1, 13)]
    sources = _rows(tmp_path, "sources", "qrels")
    assert [(row["query_id"], row["doc_id"]) for row in sources] == [
        (row["query_id"], row["source_doc_id"]) for row in rows
    ]
    assert facts["queries"] == {"train": 8, "dev": 2, "test": 2} and facts["by_style"] == {"question": 12}
    assert facts["by_domain"] == {"": {"written": 12, "kept": 12}}
    # of what, about and its own word a question shares the last two with its passage, unless its own is a short one
    assert facts["easiness"]["overlap"] == pytest.approx((11 * 2 / 3 + 1 / 2) / 12)
    assert facts["easiness"]["bm25_mrr5"] == 1 and facts["easiness"]["queries"] == 12
    assert _rows(tmp_path, "failures") == [] and _rows(tmp_path, "dropped_queries") == []


def test_where_the_test_is_labelled_none_is_written_for_it_nor_says_the_same(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    with ScriptedServer(_ask) as server:
        facts = _write(tmp_path, tiny_encoder, server.url, labelled=True)
    assert facts["queries"] == {"train": 7, "dev": 2, "test": 0}
    (dropped,) = _rows(tmp_path, "dropped_queries")
    assert (dropped["text"], dropped["reason"]) == ("what about gout", "says the same as a test query")
    assert facts["by_domain"][""] == {"written": 10, "kept": 9, "says the same as a test query": 1}


def test_training_queries_have_to_lead_back_by_model_or_by_words(tiny_encoder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    def astray(body: dict[str, Any]) -> str:
        """Of every other passage, asks about the word of another one."""
        word = re.findall(r"all about (.*?) ", body["messages"][-1]["content"])[0]
        place = WORDS.index(word)
        return json.dumps({"question": f"what about {word if place % 2 else WORDS[place - 2]}"})

    with ScriptedServer(astray) as server:
        _write(tmp_path, tiny_encoder, server.url)
        everything = {row["source_doc_id"]: row["text"] for row in _rows(tmp_path, "queries")}
        facts = _write(tmp_path, tiny_encoder, server.url, settings={"round_trip": 2})
    model = SentenceTransformer(str(tiny_encoder), device="cpu")
    passages = read_table(tmp_path / "in/corpus.parquet", "corpus")
    vectors = model.encode(passages["text"].to_pylist())
    bm25 = BM25()
    by_words = rankings(bm25.search(bm25.index(passages, Silent()), everything, 12, Silent()))
    expected, led_by = set(), set()
    for at, doc_id in enumerate(passages["doc_id"].to_pylist()):
        scores = vectors @ model.encode(everything[doc_id])
        by_model = (scores > scores[at]).sum() < 2
        known = [found for found, _ in by_words[doc_id][:2]]
        led_by.add((bool(by_model), doc_id in known))
        # of twelve passages ten are five times as many as two
        deep = (scores > scores[at]).sum() < 10 or doc_id in [found for found, _ in by_words[doc_id][:10]]
        if by_model or doc_id in known or (SIDES[at] != "train" and deep):
            expected.add(doc_id)
    kept = {row["source_doc_id"] for row in _rows(tmp_path, "queries")}
    assert kept == expected and led_by >= {(False, True), (False, False)}
    assert 2 <= facts["queries"]["train"] < 8
    assert {row["reason"] for row in _rows(tmp_path, "dropped_queries")} == {"round trip: not in the first 2"}


def test_what_breaks_a_rule_is_asked_for_once_more_with_the_reason(tiny_encoder: Path, tmp_path: Path) -> None:
    """Of every other passage the first question speaks of the passage; of one of these the second one does so, too."""
    bodies: list[dict[str, Any]] = []

    def careless(body: dict[str, Any]) -> str:
        bodies.append(body)
        *_, passage = (text["content"] for text in body["messages"] if "<passage>" in text["content"])
        about = re.findall(r"all about (.*?) ", passage)[0]
        again = body["messages"][-1]["content"].startswith("It speaks of the passage")
        bad = WORDS.index(about) % 2 == 0 and (not again or about == "fever")
        return json.dumps({"question": "what is the passage about?" if bad else f"what about {about}"})

    with ScriptedServer(careless) as server:
        facts = _write(tmp_path, tiny_encoder, server.url)
    counts = facts["by_domain"][""]
    # twelve passages and six asked for again, of which one is as bad
    assert len(bodies) == 18 and facts["asked"] == 18
    assert counts == {"written": 18, "kept": 11, "speaks of its source": 7}
    for body in bodies[12:]:
        *_, before, told = body["messages"]
        assert before == {"role": "assistant", "content": json.dumps({"question": "what is the passage about?"})}
        assert told["role"] == "user" and "Write another one" in told["content"]


def test_a_run_of_which_nearly_nothing_leads_back_stops_and_shows_what_was_written(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finds_own(queries: int) -> Callable[..., dict[str, pa.Table]]:
        """Of the first queries the own passage, of the others nothing."""
        return lambda systems, named, *rest: {
            "bm25": rows_table("run", [(at, f"d{named[at].split()[-1]}", 1.0) for at in list(named)[:queries]])
        }

    def numbered(body: dict[str, Any]) -> str:
        about = re.findall(r"all about (.*?) ", body["messages"][-1]["content"])[0]
        return json.dumps({"question": f"what of {about} {WORDS.index(about):02}"})

    told = r"2 of 12 written queries lead back (.|\n)* at least 20%(.|\n)*\n  what of "
    with ScriptedServer(numbered) as server:
        monkeypatch.setattr(write_queries, "search_each", finds_own(2))
        with pytest.raises(InputError, match=told):
            _write(tmp_path / "few", tiny_encoder, server.url, settings={"round_trip": 1})
        # three are no longer nearly nothing, though too few to go on with
        monkeypatch.setattr(write_queries, "search_each", finds_own(3))
        with pytest.raises(InputError, match="are left, at least 2 are needed"):
            _write(tmp_path / "more", tiny_encoder, server.url, settings={"round_trip": 1})


def test_a_near_duplicate_of_the_passage_leads_back_to_it(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the eight of train every second one is nearly the one before; found is the passage after the own one."""
    given = _given(tmp_path, tiny_encoder)["corpus"].table
    pairs = with_column(given, "cluster", [at // 2 if at < 8 else at for at in range(len(given))])
    corpus = stored(Corpus, tmp_path / "pairs/corpus.parquet", pairs.to_pylist())

    def finds_next(systems: Any, named: dict[str, str], *rest: Any) -> dict[str, pa.Table]:
        places = {at: WORDS.index(text.split()[-1]) for at, text in named.items()}
        found = [(at, f"d{place + (place < 8):02}", 1.0) for at, place in places.items()]
        return {"bm25": rows_table("run", found)}

    monkeypatch.setattr(write_queries, "search_each", finds_next)
    with ScriptedServer(_ask) as server:
        facts = _write(tmp_path, tiny_encoder, server.url, settings={"round_trip": 1}, given={"corpus": corpus})
    # one of two that are nearly the same is asked about; the first, after which the other stands, leads back
    kept = {row["source_doc_id"] for row in _rows(tmp_path, "queries") if row["split"] == "train"}
    asked = kept | {row["source_doc_id"] for row in _rows(tmp_path, "dropped_queries")}
    assert facts["queries"]["train"] == len(kept) > 0 and kept == asked & {"d00", "d02", "d04", "d06"}


def test_a_persona_asks_as_many_as_are_kept_for_training(tiny_encoder: Path, tmp_path: Path) -> None:
    with ScriptedServer(_ask) as server:
        facts = _write(tmp_path, tiny_encoder, server.url, settings={"persona_queries": 0.5})
    rows = [row for row in _rows(tmp_path, "queries") if row["origin"] == "persona"]
    assert len(rows) == facts["by_style"]["persona"] == 4
    assert {(row["split"], row["source_doc_id"]) for row in rows} == {("train", None)}
    assert not {row["query_id"] for row in rows} & {row["query_id"] for row in _rows(tmp_path, "sources", "qrels")}
    # they are tied to no passage, and say nothing of how far words lead
    assert facts["easiness"]["queries"] == 12


def test_writing_takes_a_third_of_the_budget_and_says_what_it_left_out(tiny_encoder: Path, tmp_path: Path) -> None:
    with ScriptedServer(_ask) as server:
        settings = {"persona_queries": 0.5}
        told = _write(tmp_path, tiny_encoder, server.url, settings=settings, limits={"calls": 36})
        # of twelve calls, in proportion to 12 for passages and one for a persona, eleven are for passages
        asked = ['"questions"' in body["messages"][0]["content"] for body in server.requests]
        assert (asked.count(False), asked.count(True)) == (11, 1)
        assert isinstance(told, Partial) and told.lacks == {"cut_off_by_budget": 1}
        assert told.facts["coverage"] == 1
        (row,) = _rows(tmp_path, "failures")
        assert (row["stage"], row["error"]) == ("synthesis", "budget")
        # a larger budget later asks for the rest, and once more for the persona, who sees other examples
        whole = _write(tmp_path, tiny_encoder, server.url, settings=settings, limits={"calls": 300})
        assert not isinstance(whole, Partial) and whole["queries"] == {"train": 12, "dev": 2, "test": 2}
        assert len(server.requests) == 12 + 1 + 1
    assert len({json.dumps(body) for body in server.requests}) == 14


def test_failed_calls_are_rows_and_too_many_of_them_stop_the_step(tiny_encoder: Path, tmp_path: Path) -> None:
    def moody(body: dict[str, Any]) -> str:
        return "no" if "all about gout" in str(body) else _ask(body)

    with ScriptedServer(moody) as server:
        told = _write(tmp_path, tiny_encoder, server.url)
        assert isinstance(told, Partial) and told.lacks == {"failures": {"unparsable": 1}}
        (row,) = _rows(tmp_path, "failures")
        assert (row["stage"], row["error"], row["raw"]) == ("synthesis", "unparsable", "no")
        with pytest.raises(InputError, match=r"synthesis: 91\.7% of 12 were answered, --min-coverage is 95%"):
            _write(tmp_path, tiny_encoder, server.url, min_coverage=0.95)


@pytest.mark.parametrize(
    ("limits", "settings", "told"),
    [
        (
            {"calls": 9},
            {},
            r"\d \w+ querie\(s\) are left, at least 2 are needed: raise the budget, which cut off 9 calls",
        ),
        (
            {},
            {"round_trip": 1, "passages": 1},
            r"1 train querie\(s\) are left, at least 2 are needed: raise --passages",
        ),
    ],
)
def test_too_few_queries_stop_the_run_with_the_reason(
    limits: dict[str, int], settings: dict[str, int], told: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    with ScriptedServer(_ask) as server, pytest.raises(InputError, match=told):
        _write(tmp_path, tiny_encoder, server.url, limits=limits, settings=settings)


def test_passages_too_short_for_a_question_stop_the_run(tiny_encoder: Path, tmp_path: Path) -> None:
    with ScriptedServer(_ask) as server, pytest.raises(InputError, match="none of 12 passages has the 100 characters"):
        _write(tmp_path, tiny_encoder, server.url, chars=99)


def test_a_log_alone_needs_no_llm(tiny_encoder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("\n".join(f"who knows {word} {at}" for at, word in enumerate(WORDS * 3)))
    facts = _write(tmp_path, tiny_encoder, given={"query_log": Artifact.outside(log)})
    rows = _rows(tmp_path, "queries")
    assert len(rows) == 36 and {row["origin"] for row in rows} == {"log"} and min(facts["queries"].values()) >= 2
    assert facts["easiness"] == {"overlap": 0.0, "bm25_mrr5": 0.0, "queries": 0}
    assert (facts["asked"], facts["coverage"]) == (0, 1.0)


def test_real_queries_are_dealt_out_by_the_shares(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("\ufeff" + "\n\n".join(f"  query {at} " for at in range(400)), encoding="utf-8")
    shares = Shares(dev_share=0.1, test_share=0.3)
    found = read_query_log(path, shares, labelled=False)
    counts = Counter(query.split for query in found)
    assert [query.text for query in found] == [f"query {at}" for at in range(400)]
    assert 25 < counts["dev"] < 60 and 90 < counts["test"] < 150 and counts["train"] > 200
    assert found == read_query_log(path, shares, labelled=False)
    with_labels = Counter(query.split for query in read_query_log(path, shares, labelled=True))
    assert with_labels["test"] == 0 and 25 < with_labels["dev"] < 60


def test_a_log_that_is_no_text_or_empty_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"what is g\xf6ut?")
    with pytest.raises(InputError, match=r"log.txt is not UTF-8 \(byte 9\); save it as UTF-8"):
        read_query_log(path, Shares(), labelled=False)
    path.write_text("\n \n")
    with pytest.raises(InputError, match="is empty; give a text file with one query a line"):
        read_query_log(path, Shares(), labelled=False)


def test_dev_and_test_are_written_for_in_proportion_to_train() -> None:
    params = Synthesis(passages=70, dev_share=0.1, test_share=0.2)
    assert params.counts(labelled=False) == {"train": 70, "dev": 10, "test": 20}
    assert params.counts(labelled=True) == {"train": 70, "dev": 8}
    # as few as can be measured at all
    assert Synthesis(passages=3).counts(labelled=False) == {"train": 3, "dev": 2, "test": 2}
