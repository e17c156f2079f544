import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.formats.trec import read_trec_qrels, read_trec_run, write_trec_qrels, write_trec_run
from denizen.data.tables import rows_table, table
from denizen.engine.errors import InputError


def test_ranks_count_from_one_within_each_query(tmp_path):
    run = table(
        "run",
        {"query_id": ["q1", "q1", "q2"], "doc_id": ["d2", "d1", "d2"], "score": [0.75, 0.5, -1.25]},
    )
    write_trec_run(tmp_path / "run.trec", run, "base")
    assert (tmp_path / "run.trec").read_text() == ("q1 Q0 d2 1 0.75 base\nq1 Q0 d1 2 0.5 base\nq2 Q0 d2 1 -1.25 base\n")


def test_an_empty_run_is_an_empty_file(tmp_path):
    write_trec_run(tmp_path / "run.trec", table("run", {"query_id": []}), "base")
    assert (tmp_path / "run.trec").read_bytes() == b""


@pytest.mark.parametrize("text, field", [("q 1", "q%201"), ("d\t1", "d%091"), ("d\u00a01", "d%C2%A01"), ("d/1", "d/1")])
def test_white_space_in_an_id_is_percent_encoded(tmp_path, text, field):
    run = table("run", {"query_id": [text], "doc_id": [text], "score": [1.0]})
    write_trec_run(tmp_path / "run.trec", run, "base")
    assert (tmp_path / "run.trec").read_text() == f"{field} Q0 {field} 1 1 base\n"


def test_scores_that_differ_in_the_run_differ_in_the_file(tmp_path):
    scores = [0.50000012, 0.50000006]
    run = table("run", {"query_id": ["q", "q"], "doc_id": ["a", "b"], "score": scores})
    write_trec_run(tmp_path / "run.trec", run, "base")
    written = [line.split()[4] for line in (tmp_path / "run.trec").read_text().splitlines()]
    assert float(written[0]) > float(written[1])


_ids = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=8)


@given(st.dictionaries(_ids, st.dictionaries(_ids, st.floats(-4, 4, width=32), min_size=1, max_size=4), max_size=4))
def test_a_run_survives_the_file_whatever_its_ids(found):
    rows = [
        {"query_id": query_id, "doc_id": doc_id, "score": score}
        for query_id, scores in found.items()
        for doc_id, score in sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    run = rows_table("run", rows)
    with tempfile.TemporaryDirectory() as folder:
        write_trec_run(Path(folder) / "x.trec", run, "x")
        assert read_trec_run(Path(folder) / "x.trec", own=True).to_pylist() == run.to_pylist()


@given(st.lists(st.tuples(_ids, _ids, st.integers(-5, 5)), max_size=6, unique_by=lambda row: row[:2]))
def test_qrels_survive_the_file(found):
    qrels = rows_table("qrels", [{"query_id": one, "doc_id": other, "relevance": grade} for one, other, grade in found])
    with tempfile.TemporaryDirectory() as folder:
        write_trec_qrels(Path(folder) / "x.qrels", qrels)
        assert read_trec_qrels(Path(folder) / "x.qrels", own=True).to_pylist() == qrels.to_pylist()


def test_the_order_is_by_score_and_then_by_id_whatever_the_ranks_say(tmp_path):
    (tmp_path / "x").write_text("q Q0 b 1 0.5 t\nq Q0 a 2 0.5 t\nq Q0 c 3 0.9 t\n\n")
    assert read_trec_run(tmp_path / "x")["doc_id"].to_pylist() == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q Q0 d 1 0.5", "x:1 has 5 fields; a line has 6"),
        ("q Q0 d 1 high t", "x:1: 'high' is not a number"),
        ("q Q0 d 1 nan t", "'nan' is not a number"),
        ("q Q0 d 1 1 t\nq Q0 d 2 .5 t", "x:2: passage 'd' stands twice in query 'q'"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    (tmp_path / "x").write_text(line)
    with pytest.raises(InputError, match=message):
        read_trec_run(tmp_path / "x")


def test_broken_qrels_are_named(tmp_path):
    (tmp_path / "x").write_text("q 0 d 0.5\n")
    with pytest.raises(InputError, match=r"x:1: relevance 0\.5 is not a whole number"):
        read_trec_qrels(tmp_path / "x")
    (tmp_path / "x").write_text("q 0 d 1e19\n")
    with pytest.raises(InputError, match=r"1e19 is not a whole number of at most 1000000"):
        read_trec_qrels(tmp_path / "x")
    (tmp_path / "x").write_text("q 0 d 1\nq 0 d 2\n")
    with pytest.raises(InputError, match=r"x:2: passage 'd' is judged twice for query 'q'"):
        read_trec_qrels(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"q 0 caf\xe9 1\n")
    with pytest.raises(InputError, match=r"x:1 is not UTF-8"):
        read_trec_qrels(tmp_path / "x")
    with pytest.raises(InputError, match="does not exist"):
        read_trec_qrels(tmp_path / "y")


def test_ids_of_other_programs_stay_as_they_are(tmp_path):
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfq1 0 A%20B 1\n")
    assert read_trec_qrels(tmp_path / "x").to_pylist() == [{"query_id": "q1", "doc_id": "A%20B", "relevance": 1}]
