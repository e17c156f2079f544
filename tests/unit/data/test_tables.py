import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from denizen.data.tables import SCHEMAS, read_table, relevant, rows_table, table, texts, write_table
from denizen.engine.errors import InputError
from denizen.engine.files import file_digest

words = st.text(st.characters(codec="utf-8"), max_size=8)
qrels_rows = st.lists(
    st.fixed_dictionaries({"query_id": words, "doc_id": words, "relevance": st.integers(-5, 5) | st.none()}),
    max_size=20,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=qrels_rows)
def test_what_is_written_is_read_again_and_the_bytes_are_the_same_each_time(tmp_path, rows):
    first, second, third = (tmp_path / f"{number}.parquet" for number in range(3))
    write_table(first, rows_table("qrels", rows))
    write_table(second, rows_table("qrels", rows))
    again = read_table(first, "qrels")
    assert again.to_pylist() == rows
    write_table(third, again)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_table_keeps_its_schema_on_disk_even_without_rows(tmp_path, name):
    path = tmp_path / "table.parquet"
    write_table(path, rows_table(name, []))
    assert read_table(path, name).schema.equals(SCHEMAS[name])


def test_lists_and_floats_come_back_from_disk(tmp_path):
    row = {
        "query_id": "q1",
        "positive_id": "d1",
        "negative_ids": ["d2", "d3"],
        "teacher_scores": [0.5, -0.25],
        "kind": "hard",
        "reason": None,
        "round": 1,
    }
    write_table(tmp_path / "examples.parquet", rows_table("examples", [row]))
    assert read_table(tmp_path / "examples.parquet", "examples").to_pylist() == [row]


def test_one_changed_value_or_another_order_changes_the_digest(tmp_path):
    rows = [{"query_id": "q1", "doc_id": "d1", "relevance": 1}, {"query_id": "q2", "doc_id": "d2", "relevance": 1}]
    variants = [rows, rows[::-1], rows[:1], [rows[0], {**rows[1], "relevance": 2}]]
    digests = set()
    for number, variant in enumerate(variants):
        write_table(tmp_path / f"{number}.parquet", rows_table("qrels", variant))
        digests.add(file_digest(tmp_path / f"{number}.parquet"))
    assert len(digests) == len(variants)


def test_columns_left_out_are_null_and_the_types_are_those_of_the_schema():
    made = table("corpus", {"doc_id": ["d1", "d2"], "text": ["one", "two"]})
    assert made.schema.equals(SCHEMAS["corpus"])
    assert made["doc_id"].to_pylist() == ["d1", "d2"]
    assert made["cluster"].to_pylist() == [None, None]


def test_an_unknown_column_is_refused_naming_it_and_those_there_are():
    with pytest.raises(InputError, match=r"qrels has no columns \['score'\]; it has \['query_id', 'doc_id', 'rel"):
        table("qrels", {"query_id": ["q1"], "score": [1]})


def test_a_missing_file_is_refused_naming_the_file_and_the_table(tmp_path):
    with pytest.raises(InputError, match=r"none\.parquet does not exist; it should hold the table 'qrels'"):
        read_table(tmp_path / "none.parquet", "qrels")


def test_another_table_in_the_file_is_refused_naming_both_column_lists(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, table("run", {"query_id": ["q1"]}))
    with pytest.raises(InputError) as refused:
        read_table(path, "qrels")
    assert "has the columns ['query_id', 'doc_id', 'score']" in str(refused.value)
    assert "'qrels' has ['query_id', 'doc_id', 'relevance']" in str(refused.value)


def test_a_folder_name_with_an_equals_sign_adds_no_column(tmp_path):
    path = tmp_path / "rate=0.1" / "qrels.parquet"
    path.parent.mkdir()
    write_table(path, table("qrels", {"query_id": ["q1"]}))
    assert read_table(path, "qrels").num_columns == 3


def test_a_text_is_title_and_body_joined_and_a_missing_title_adds_nothing():
    corpus = table("corpus", {"title": ["Gout", "", None, "Only"], "text": ["hurts.", "b", " c ", ""]})
    assert texts(corpus) == ["Gout hurts.", "b", " c ", "Only"]


def test_relevant_leaves_out_what_was_judged_irrelevant():
    qrels = table(
        "qrels",
        {
            "query_id": ["q2", "q1", "q1", "q3", "q1"],
            "doc_id": ["d1", "d1", "d2", "d1", "d3"],
            "relevance": [1, 2, 0, -1, 1],
        },
    )
    assert relevant(qrels) == {"q2": {"d1": 1}, "q1": {"d1": 2, "d3": 1}}


def test_the_same_rows_in_other_chunks_give_the_same_bytes(tmp_path):
    count = 5000
    whole = table("corpus", {"doc_id": [f"d{i}" for i in range(count)], "text": [f"{i} " * 300 for i in range(count)]})
    write_table(tmp_path / "whole.parquet", whole)
    write_table(tmp_path / "chunks.parquet", pa.concat_tables([whole.slice(0, 7), whole.slice(7)]))
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "chunks.parquet").read_bytes()


def test_a_file_that_is_no_parquet_is_refused_naming_it(tmp_path):
    (tmp_path / "t.parquet").write_text("nothing of the kind")
    with pytest.raises(InputError, match=r"t\.parquet"):
        read_table(tmp_path / "t.parquet", "qrels")


def test_columns_of_another_type_are_refused(tmp_path):
    pq.write_table(pa.table({"query_id": [1], "doc_id": [1], "relevance": ["x"]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet"):
        read_table(tmp_path / "t.parquet", "qrels")


def test_an_unknown_column_in_rows_is_refused():
    with pytest.raises(InputError, match=r"qrels has no columns \['score'\]"):
        rows_table("qrels", [{"query_id": "q1", "score": 1.0}])


def test_no_columns_make_an_empty_table():
    assert table("qrels", {}).schema.equals(SCHEMAS["qrels"])
    assert len(table("qrels", {})) == 0


def test_columns_of_different_lengths_are_refused_naming_them():
    with pytest.raises(InputError, match=r"qrels have different lengths: \{'query_id': 2, 'doc_id': 1\}"):
        table("qrels", {"query_id": ["q1", "q2"], "doc_id": ["d1"]})
