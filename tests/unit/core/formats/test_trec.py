import pytest

from denizen.core.errors import InputError
from denizen.core.formats.trec import write_trec_run
from denizen.core.tables import table


def test_ranks_count_from_one_within_each_query(tmp_path):
    run = table(
        "run",
        {"query_id": ["q1", "q1", "q2"], "doc_id": ["d2", "d1", "d2"], "score": [0.75, 0.5, -1.25]},
    )
    write_trec_run(tmp_path / "run.trec", run, "base")
    assert (tmp_path / "run.trec").read_text() == (
        "q1 Q0 d2 1 0.750000 base\nq1 Q0 d1 2 0.500000 base\nq2 Q0 d2 1 -1.250000 base\n"
    )


def test_an_empty_run_is_an_empty_file(tmp_path):
    write_trec_run(tmp_path / "run.trec", table("run", {"query_id": []}), "base")
    assert (tmp_path / "run.trec").read_bytes() == b""


@pytest.mark.parametrize(
    "query_id, doc_id", [("q 1", "d1"), ("q1", "d\t1"), (" q1", "d1"), ("", "d1"), ("q1", "d\u00a01")]
)
def test_an_id_that_the_format_cannot_carry_is_refused_naming_it(tmp_path, query_id, doc_id):
    run = table("run", {"query_id": [query_id], "doc_id": [doc_id], "score": [1.0]})
    with pytest.raises(InputError) as refused:
        write_trec_run(tmp_path / "run.trec", run, "base")
    assert not (tmp_path / "run.trec").exists()
    assert str(refused.value) == f"ids {query_id!r}, {doc_id!r} hold white space; a TREC run cannot carry them"


def test_an_empty_id_beside_one_with_white_space_is_refused(tmp_path):
    run = table("run", {"query_id": [""], "doc_id": ["d 1"], "score": [1.0]})
    with pytest.raises(InputError, match="white space"):
        write_trec_run(tmp_path / "run.trec", run, "base")
