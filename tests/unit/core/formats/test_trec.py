import pytest

from denizen.core.formats.trec import write_trec_run
from denizen.core.tables import table


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
