"""The first step, called without a pipeline: a source is cut, split or divided, and guarded against leaks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from denizen.data.formats import read_source
from denizen.data.formats.rows import BadRow
from denizen.data.formats.source import Source
from denizen.data.prepare import Dividing, Given, Splitting, content_digest, divide, given_by, prepare, source_digest
from denizen.data.tables import read_table, rows_table, texts_by_id
from denizen.engine.errors import InputError, LeakError
from denizen.engine.progress import Silent
from denizen.engine.step import Context
from denizen.measuring.students import visible
from denizen.supervision.synthesis import tasks

TOPICS = [f"{one}{two}" for one in ("gout", "lupus", "fever", "pain") for two in ("adults", "children", "elderly")]


def source_of(
    splits: Sequence[str | None] = (None,) * 12,
    questions: Sequence[str] = tuple(f"what helps against {topic}" for topic in TOPICS),
    texts: Sequence[str] = tuple(f"{topic} is treated with {topic[::-1]} and rest." for topic in TOPICS),
    cut: bool = True,
    **more: Any,
) -> Source:
    """A question with its own document for each topic."""
    numbers = range(len(texts))
    return Source(
        rows_table("corpus", [{"doc_id": f"d{at:02}", "text": texts[at]} for at in numbers]),
        rows_table(
            "queries", [{"query_id": f"q{at:02}", "text": questions[at], "split": splits[at]} for at in numbers]
        ),
        rows_table("qrels", [{"query_id": f"q{at:02}", "doc_id": f"d{at:02}", "relevance": 1} for at in numbers]),
        cut=cut,
        bad_rows=more.pop("bad_rows", []),
        **more,
    )


class Noted(Silent):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def _context(source: Source, **read: Any) -> Context:
    return Context(Silent(), resources={Given: Given(lambda: source, {}, read)})


def _prepare(folder: Path, source: Source, **settings: Any) -> dict[str, Any]:
    folder.mkdir()
    facts: dict[str, Any] = prepare(folder, Splitting.of(settings), _context(source), source={})
    return facts


def _divide(folder: Path, source: Source, **settings: Any) -> dict[str, Any]:
    folder.mkdir()
    facts: dict[str, Any] = divide(folder, Dividing.of(settings), _context(source, files=3), source={})
    return facts


def _side(folder: Path) -> dict[str, str]:
    return {row["query_id"]: row["split"] for row in read_table(folder / "queries.parquet", "queries").to_pylist()}


def _leaking() -> Source:
    """The source's own splits; the first question of the test is one of training, too."""
    questions = [f"what helps against {topic}" for topic in TOPICS]
    questions[8] = questions[0].upper()
    return source_of(["train"] * 6 + ["dev"] * 2 + ["test"] * 4, questions)


def test_a_source_without_splits_is_split_by_document_without_leaks(tmp_path: Path) -> None:
    facts = _prepare(tmp_path / "out", source_of(), dev_share=0.2, test_share=0.3)
    assert facts["split"] == "by document and near-duplicate cluster" and facts["leaks"] == 0
    assert sum(facts["queries"].values()) == 12 and min(facts["queries"].values()) >= 2
    assert (facts["documents"], facts["passages"]) == (12, 12)
    assert json.loads((tmp_path / "out/leaks.json").read_text()) == []
    corpus = read_table(tmp_path / "out/corpus.parquet", "corpus")
    assert corpus["doc_id"].to_pylist() == sorted(corpus["doc_id"].to_pylist())
    assert _prepare(tmp_path / "again", source_of(), dev_share=0.2, test_share=0.3) == facts
    assert _side(tmp_path / "again") == _side(tmp_path / "out")


def test_splits_that_leak_stop_the_run_and_leave_no_table(tmp_path: Path) -> None:
    with pytest.raises(LeakError, match=r"q08"):
        _prepare(tmp_path / "out", _leaking())
    assert list((tmp_path / "out").iterdir()) == []


def test_leaking_queries_are_dropped_or_allowed_where_that_is_wanted(tmp_path: Path) -> None:
    dropped = _prepare(tmp_path / "dropped", _leaking(), drop_leaks=True)
    assert (dropped["queries_dropped_as_leaks"], dropped["leaks"]) == (1, 0)
    # of the learning side: what is measured stays as it was
    assert "q00" not in _side(tmp_path / "dropped") and _side(tmp_path / "dropped")["q08"] == "test"
    allowed = _prepare(tmp_path / "allowed", _leaking(), allow_leak=True)
    assert (allowed["queries_dropped_as_leaks"], allowed["leaks"]) == (0, 1)
    assert _side(tmp_path / "allowed")["q08"] == "test"
    (leak,) = json.loads((tmp_path / "allowed/leaks.json").read_text())
    assert "q08" in json.dumps(leak)
    # split anew, both stand on one side
    anew = _prepare(tmp_path / "anew", _leaking(), split="document", dev_share=0.2, test_share=0.3)
    assert anew["leaks"] == 0


def test_dev_is_cut_from_train_where_the_source_has_none(tmp_path: Path) -> None:
    facts = _prepare(tmp_path / "out", source_of(["train"] * 8 + ["test"] * 4), dev_share=0.25)
    assert facts["split"] == "the source's own, dev cut from train by document"
    side = _side(tmp_path / "out")
    assert [side[f"q{at:02}"] for at in range(8, 12)] == ["test"] * 4
    assert 1 <= facts["queries"]["dev"] <= 3 and facts["queries"]["test"] == 4


def test_queries_outside_the_source_s_splits_are_left_out_and_an_empty_split_is_said(tmp_path: Path) -> None:
    splits = ["train"] * 6 + [None] * 2 + ["dev"] * 2 + ["test"] * 2
    facts = _prepare(tmp_path / "out", source_of(splits))
    assert facts["split"] == "the source's own" and not {"q06", "q07"} & set(_side(tmp_path / "out"))
    with pytest.raises(InputError, match=r"no query of dev has a relevant passage \(without one: 1 dev\)"):
        _prepare(tmp_path / "empty", source_of(["dev", *["train"] * 11], ["  ", *TOPICS[1:]], ["", *TOPICS[1:]]))


def _judged(source: Source, wrong: Sequence[str]) -> Source:
    """The same, some queries of which are judged to have no answer in their document."""
    rows = source.qrels.to_pylist()
    changed = [{**row, "relevance": int(row["query_id"] not in wrong)} for row in rows]
    return replace(source, qrels=rows_table("qrels", changed))


def test_queries_without_a_relevant_passage_are_counted_by_split_and_told(tmp_path: Path) -> None:
    source = _judged(source_of(["train"] * 6 + ["dev"] * 2 + ["test"] * 4), ["q00", "q10", "q11"])
    progress, folder = Noted(), tmp_path / "out"
    folder.mkdir()
    facts = prepare(folder, Splitting(), Context(progress, resources={Given: Given(lambda: source, {})}), source={})
    assert facts["queries"] == {"train": 5, "dev": 2, "test": 2}
    assert facts["queries_without_relevant"] == {"test": 2, "train": 1}
    assert "queries left out, since no passage is relevant to them: 2 test, 1 train" in progress.notes
    divided = _divide(tmp_path / "divided", source)
    assert divided["queries_without_relevant"] == {"test": 2, "train": 1} and divided["labelled_test_queries"] == 2
    # nothing is said of what is not there
    assert _prepare(tmp_path / "none", source_of())["queries_without_relevant"] == {}


@pytest.mark.parametrize("split", ["auto", "document", "random"])
@pytest.mark.parametrize(
    "splits", [[None] * 12, ["train"] * 6 + ["dev"] * 2 + ["test"] * 4, ["train"] * 8 + ["test"] * 4]
)
def test_a_source_in_which_nothing_is_relevant_is_refused(splits: list[str | None], split: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"the source: no query has a relevant passage .*: no label there is above 0.*--teacher"
    ):
        _prepare(tmp_path / "out", _judged(source_of(splits), [f"q{at:02}" for at in range(12)]), split=split)


@pytest.mark.parametrize(("part", "others"), [("train", "test"), ("test", "train"), ("dev", "train"), ("train", "dev")])
def test_a_split_in_which_nothing_is_relevant_is_refused_by_name(part: str, others: str, tmp_path: Path) -> None:
    source = _judged(source_of([part] * 4 + [others] * 8), ["q00", "q01", "q02", "q03"])
    with pytest.raises(InputError, match=rf"no query of {part} has .*\(without one: 4 {part}\).*--split document"):
        _prepare(tmp_path / "out", source)
    # split anew, the others are enough
    assert sum(_prepare(tmp_path / "anew", source, split="document", test_share=0.3)["queries"].values()) == 8


def test_negatives_that_a_source_brings_are_passages_that_its_queries_are_known_not_to_mean(tmp_path: Path) -> None:
    rows = [{"anchor": f"what helps against {topic}", "positive": f"{topic} needs {topic[::-1]}"} for topic in TOPICS]
    # two rows ask the same; what is wrong for one of them is right for the other
    rows[1]["anchor"] = rows[0]["anchor"]
    given = [f"{topic[::-1]} is no matter" for topic in TOPICS]
    given[0] = rows[1]["positive"]
    path = tmp_path / "triplets.jsonl"
    path.write_text("".join(json.dumps({**row, "negative": no}) + "\n" for row, no in zip(rows, given, strict=True)))
    facts = _prepare(tmp_path / "out", read_source(str(path)), dev_share=0.2, test_share=0.3)
    text = texts_by_id(read_table(tmp_path / "out/corpus.parquet", "corpus"))
    qrels = read_table(tmp_path / "out/qrels.parquet", "qrels")
    assert facts["passages"] == 23 and facts["columns_left_out"] == []
    found = {(row["query_id"], text[row["doc_id"]]): row["relevance"] for row in qrels.to_pylist()}
    both = {("q1", rows[0]["positive"]): 1, ("q1", rows[1]["positive"]): 1, ("q1", given[1]): 0}
    others = {(f"q{at + 1}", rows[at]["positive"]): 1 for at in range(2, 12)}
    assert found == {**both, **others, **{(f"q{at + 1}", given[at]): 0 for at in range(2, 12)}}


def test_the_content_of_a_data_set_with_an_id_is_part_of_what_it_is_known_by_and_read_once() -> None:
    reads = []

    def load(text: str) -> Source:
        reads.append(text)
        return source_of(questions=[text, *TOPICS[1:]])

    one, same, other = (given_by(lambda text=text: load(text), "owner/name") for text in ("a", "a", "b"))
    assert one.digests == same.digests and reads == ["a", "a", "b"]
    # the change names the data set, and what of it is another
    changed = [name for name in one.digests if one.digests[name] != other.digests[name]]
    assert changed == ["owner/name queries"]
    assert one.load().queries["text"][0].as_py() == "a" and len(reads) == 3


def test_rows_that_could_not_be_read_are_failures(tmp_path: Path) -> None:
    source = source_of(bad_rows=[BadRow("line 3", "no answer", "{}")], parts_left_out=("extra",))
    facts = _prepare(tmp_path / "out", source)
    assert (facts["skipped_rows"], facts["parts_left_out"]) == (1, ["extra"])
    rows = read_table(tmp_path / "out/failures.parquet", "failures").to_pylist()
    assert rows == [{"stage": "corpus", "key": "line 3", "error": "no answer", "raw": "{}"}]


@pytest.mark.parametrize(("cut", "merged"), [(True, 2), (False, 1)])
def test_equal_questions_become_one_where_published_figures_do_not_count_them(
    cut: bool, merged: int, tmp_path: Path
) -> None:
    questions = [f"what helps against {topic}" for topic in TOPICS]
    questions[1], questions[11] = questions[0], questions[10]
    source = source_of(["train"] * 6 + ["dev"] * 2 + ["test"] * 4, questions, cut=cut)
    facts = _prepare(tmp_path / "out", source)
    assert sum(facts["queries"].values()) == 12 - merged
    assert facts["queries"]["train"] == 5


def test_documents_are_divided_and_labels_for_training_are_not_used(tmp_path: Path) -> None:
    facts = _divide(tmp_path / "out", source_of(["train"] * 12), dev_share=0.2, test_share=0.3)
    assert facts["sides"] == {"train": 6, "dev": 2, "test": 4} and facts["labelled_test_queries"] == 0
    assert facts["read"] == {"files": 3}
    for name, schema in (("test_queries", "queries"), ("labels", "qrels")):
        assert len(read_table(tmp_path / f"out/{name}.parquet", schema)) == 0


def test_documents_of_labelled_test_and_dev_queries_and_their_copies_stand_on_their_sides(tmp_path: Path) -> None:
    texts = [f"{topic} is treated with {topic[::-1]} and rest." for topic in TOPICS]
    # copies of a document of the test, and of one of dev
    texts[1], texts[2] = texts[10], texts[9]
    splits = ["train"] * 8 + ["dev", "dev", "test", "test"]
    facts = _divide(tmp_path / "out", source_of(splits, texts=texts))
    rows = read_table(tmp_path / "out/documents.parquet", "documents").to_pylist()
    side = {row["parent_id"]: row["split"] for row in rows}
    assert {name: side[name] for name in ("d10", "d11", "d01")} == dict.fromkeys(("d10", "d11", "d01"), "test")
    assert {name: side[name] for name in ("d08", "d09", "d02")} == dict.fromkeys(("d08", "d09", "d02"), "dev")
    assert facts["labelled_test_queries"] == 2
    kept = read_table(tmp_path / "out/test_queries.parquet", "queries")["query_id"].to_pylist()
    labels = read_table(tmp_path / "out/labels.parquet", "qrels")["query_id"].to_pylist()
    assert kept == labels == ["q10", "q11"]


@pytest.mark.parametrize(("test", "dev"), [(9, 10), (11, 10)])
def test_a_document_of_test_and_dev_stands_on_the_test_side(test: int, dev: int, tmp_path: Path) -> None:
    splits = ["train"] * 12
    splits[test], splits[dev] = "test", "dev"
    source = source_of(splits)
    rows = [*source.qrels.to_pylist(), {"query_id": f"q{dev:02}", "doc_id": f"d{test:02}", "relevance": 1}]
    both = Source(source.documents, source.queries, rows_table("qrels", rows), cut=True, bad_rows=[])
    _divide(tmp_path / "out", both)
    found = read_table(tmp_path / "out/documents.parquet", "documents").to_pylist()
    assert {row["parent_id"]: row["split"] for row in found}[f"d{test:02}"] == "test"


def _manual(sections: int = 60) -> Source:
    """One document of so many passages, each of a hundred characters or more."""
    text = "\n\n".join(
        " ".join(f"Rule {at} says {at * 7919 + part} of part {at * 104729 + part}." for part in range(4))
        for at in range(sections)
    )
    documents = rows_table("corpus", [{"doc_id": "manual", "text": text, "domain": "law"}])
    return Source(documents, rows_table("queries", []), rows_table("qrels", []), cut=True, bad_rows=[])


def test_one_document_is_divided_inside_and_whatever_reads_its_sides_sees_sections(tmp_path: Path) -> None:
    facts = _divide(tmp_path / "out", _manual(), passage_chars=180)
    assert facts["documents"] == 1 and facts["divided_inside"] == ["manual"] and facts["passages_between_sides"] > 0
    assert facts["split"].startswith("by section inside 'manual': training, dev and test come from one document")
    corpus, documents = (read_table(tmp_path / f"out/{name}.parquet", name) for name in ("corpus", "documents"))
    side = {row["parent_id"]: row["split"] for row in documents.to_pylist()}
    part_of = {row["doc_id"]: side[row["parent_id"]] for row in corpus.to_pylist()}
    shown = {"train": {"train"}, "dev": {"train", "dev"}}
    for split, sides in shown.items():
        ((seen, _),) = visible(corpus, [{"query_id": "q", "split": split, "domain": "law"}], documents)
        assert {part_of[name] for name in corpus["doc_id"].take(seen).to_pylist()} == sides
    wanted = tasks(corpus, documents, {"train": 30, "dev": 4, "test": 8}, ["multi-hop"], seed=1)
    assert {task.split for task in wanted} == {"train", "dev", "test"}
    for task in wanted:
        assert {part_of[source] for source in task.sources} == {task.split}


def test_documents_that_are_enough_stay_whole(tmp_path: Path) -> None:
    facts = _divide(tmp_path / "out", source_of())
    assert facts["split"] == "by document and near-duplicate cluster" and "divided_inside" not in facts


def test_labels_about_one_document_are_split_inside_it(tmp_path: Path) -> None:
    """Passages that know their document, as in a corpus of `ingest`, and a question about each."""
    rows = [
        {
            "doc_id": f"p{at:02}",
            "text": f"Rule {at} is {at * 7919}.",
            "parent_id": "act",
            "start": at * 50,
            "end": at * 50 + 40,
        }
        for at in range(40)
    ]
    queries = [{"query_id": f"q{at:02}", "text": f"what is {at * 104729} of {at}"} for at in range(40)]
    links = [(f"q{at:02}", f"p{at:02}", 1) for at in range(40)]
    source = Source(rows_table("corpus", rows), rows_table("queries", queries), rows_table("qrels", links), False, [])
    for split in ("auto", "document"):
        facts = _prepare(tmp_path / split, source, split=split)
        assert facts["split"].startswith("by section inside 'act'") and facts["leaks"] == 0 and facts["documents"] == 1
        assert facts["queries_between_sides"] == 40 - sum(facts["queries"].values()) > 0
        side = {int(name[1:]): part for name, part in _side(tmp_path / split).items()}
        assert not [at for at in side if side[at] != side.get(at + 1, side[at])]


def _dated(days: Sequence[str | None], of: str = "queries", **more: Any) -> Source:
    said = {f"{of[0]}{at:02}": day for at, day in enumerate(days) if day is not None}
    return source_of(**{"document_dates" if of == "documents" else "query_dates": said}, **more)


MONTHS = tuple(f"2026-{month:02}-15" for month in range(1, 13))


@pytest.mark.parametrize("of", ["queries", "documents"])
def test_labels_are_split_by_the_dates_of_queries_or_else_of_documents(of: str, tmp_path: Path) -> None:
    """Of twelve months .25 is three for the test, a sixth two for dev; the source's own split does not count."""
    source = _dated(MONTHS[::-1], of, splits=["test"] * 12)
    facts = _prepare(tmp_path / "out", source, split="time", dev_share=1 / 6, test_share=0.25)
    assert facts["split"] == "by time: train before 2026-08-15, dev from then, test from 2026-10-15"
    side = _side(tmp_path / "out")
    assert [side[f"q{at:02}"] for at in range(12)] == ["test"] * 3 + ["dev"] * 2 + ["train"] * 7


def test_near_duplicates_across_time_are_named_and_stop_nothing_but_the_same_question_does(tmp_path: Path) -> None:
    texts = [f"{topic} is treated with {topic[::-1]} and rest." for topic in TOPICS]
    texts[0] = texts[11]
    facts = _prepare(tmp_path / "out", _dated(MONTHS, texts=texts), split="time")
    assert facts["leaks"] == 0 and facts["near_duplicates_across_time"] == 1
    assert facts["split"].endswith("; 1 near-duplicate(s) stand on both sides of a cut, named in leaks.json")
    (leak,) = json.loads((tmp_path / "out/leaks.json").read_text())
    assert (leak["what"], leak["query_ids"]) == ("near-duplicate passage", ["q00", "q11"])
    dropped = _prepare(tmp_path / "dropped", _dated(MONTHS, texts=texts), split="time", drop_leaks=True)
    assert dropped["queries_dropped_as_leaks"] == 1 and "near_duplicates_across_time" not in dropped
    questions = [f"what helps against {topic}" for topic in TOPICS]
    questions[0] = questions[11]
    with pytest.raises(LeakError, match=r"query in test and train: q00, q11"):
        _prepare(tmp_path / "same", _dated(MONTHS, questions=questions), split="time")


def test_documents_are_divided_by_time_and_near_duplicates_are_named(tmp_path: Path) -> None:
    texts = [f"{topic} is treated with {topic[::-1]} and rest." for topic in TOPICS]
    texts[0] = texts[11]
    source = _dated(MONTHS, "documents", texts=texts, splits=["test"] * 12)
    facts = _divide(tmp_path / "out", source, split="time", dev_share=1 / 6, test_share=0.25)
    assert facts["sides"] == {"train": 7, "dev": 2, "test": 3} and facts["near_duplicates_across_time"] == 1
    rows = read_table(tmp_path / "out/documents.parquet", "documents").to_pylist()
    assert [row["split"] for row in rows] == ["train"] * 7 + ["dev"] * 2 + ["test"] * 3
    (leak,) = json.loads((tmp_path / "out/leaks.json").read_text())
    assert (leak["what"], leak["parent_ids"]) == ("near-duplicate document", ["d00", "d11"])
    # labelled test queries about what is older are none of the test
    kept = read_table(tmp_path / "out/test_queries.parquet", "queries")["query_id"].to_pylist()
    assert kept == ["q09", "q10", "q11"] and facts["labelled_test_queries"] == 3
    old = _dated(MONTHS, "documents", splits=["test"] + ["train"] * 11)
    with pytest.raises(InputError, match="none of the 1 labelled test queries is about the newest documents alone"):
        _divide(tmp_path / "old", old, split="time")


@pytest.mark.parametrize("of", ["queries", "documents"])
def test_rows_without_a_readable_date_are_named_or_skipped_and_counted(of: str, tmp_path: Path) -> None:
    """Days that may be either of two months are not guessed."""
    what, act = {"queries": ("query q", _prepare), "documents": ("document d", _divide)}[of]
    source = _dated(["01/02/2026", None, *MONTHS[2:]], of)
    told = rf"2 unusable row\(s\):\n  {what}00: '01/02/2026' is no date; write it as .*\n  {what}01: has no date .*"
    with pytest.raises(InputError, match=f"{told}\\n.*--skip-bad-rows"):
        act(tmp_path / "stopped", source, split="time")
    facts = act(tmp_path / "out", source, split="time", skip_bad_rows=True)
    assert facts["skipped_rows"] == 2 and sum(facts["queries" if of == "queries" else "sides"].values()) == 10
    failures = read_table(tmp_path / "out/failures.parquet", "failures")
    assert failures["key"].to_pylist() == [f"{what}00", f"{what}01"]
    with pytest.raises(InputError, match=rf"none of 12 {what[:-2]} row\(s\) says a date.* filed, .*--split document"):
        act(tmp_path / "none", source_of(), split="time")


def test_a_source_is_known_by_its_files_or_by_what_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "run").mkdir(parents=True)
    for name in ("a.jsonl", "run/b.jsonl", ".hidden"):
        (folder / name).write_text(name)
    assert set(source_digest(str(folder))) == {"a.jsonl", "run/b.jsonl"}
    # what the run itself writes there is no part of it
    before = source_digest(str(folder), folder / "run")
    assert set(before) == {"a.jsonl"} and set(source_digest(str(folder / "a.jsonl"))) == {"a.jsonl"}
    (folder / "a.jsonl").write_text("changed")
    assert source_digest(str(folder), folder / "run") != before
    one, other = (given_by(source_of, source_of(questions=[text, *TOPICS[1:]])) for text in ("a", "b"))
    assert one.digests == content_digest(source_of(questions=["a", *TOPICS[1:]]))
    assert {name for name in one.digests if one.digests[name] != other.digests[name]} == {"queries"}
    assert content_digest(_dated(MONTHS)) != content_digest(_dated(MONTHS[::-1])) != content_digest(source_of())
    assert {name: made.digest for name, made in one.source.items()} == one.digests
    assert given_by(source_of, str(folder), folder / "run").digests == source_digest(str(folder), folder / "run")
