import json

import pytest

from denizen.data.formats import read_source
from denizen.engine.errors import InputError

ROW = {"question": "What is gout?", "answer": "A disease."}


@pytest.fixture
def loaded_from_hub(monkeypatch):
    """Notes the ids that would be fetched, and fetches nothing."""
    import datasets

    asked = []

    def load(name):
        asked.append(name)
        return datasets.Dataset.from_list([ROW])

    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


def beir_in(folder):
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d1", "text": "A disease."}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "What is gout?"}\n{"_id": "q2"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    return folder


def pairs_in(folder):
    folder.mkdir(parents=True)
    path = folder / "pairs.json"
    path.write_text(json.dumps([ROW, {**ROW, "answer": ""}]))
    return path


def saved_in(folder):
    import datasets

    datasets.Dataset.from_list([ROW, {**ROW, "answer": ""}]).save_to_disk(folder)
    return folder


@pytest.mark.parametrize("make, cut", [(beir_in, False), (pairs_in, True), (saved_in, True)])
def test_each_kind_of_source_is_recognized_and_told_whether_bad_rows_may_be_skipped(
    tmp_path, loaded_from_hub, make, cut
):
    path = str(make(tmp_path / "source"))
    source = read_source(path, skip_bad_rows=True)
    assert source.queries["text"].to_pylist() == ["What is gout?"]
    assert source.documents["text"].to_pylist() == ["A disease."]
    assert source.cut is cut
    assert len(source.bad_rows) == 1
    with pytest.raises(InputError, match="1 unusable row"):
        read_source(path)
    assert loaded_from_hub == []


@pytest.mark.parametrize("name", ["owner/name", "BeIR/sci-fact_v1.0"])
def test_an_id_is_asked_of_the_hub(loaded_from_hub, name):
    assert read_source(name).queries["text"].to_pylist() == ["What is gout?"]
    assert loaded_from_hub == [name]


@pytest.mark.parametrize("source", ["no_such_source", "no/such/file.csv", "/no/such/folder", "owner/name with blank"])
def test_an_unknown_source_is_refused_naming_it_and_what_can_be_given(loaded_from_hub, source):
    with pytest.raises(InputError) as refused:
        read_source(source)
    assert str(refused.value).startswith(f"{source!r} does not exist; give a BEIR folder (with corpus.jsonl), a file")
    assert ".jsonl[.gz]" in str(refused.value)
    assert "owner/name" in str(refused.value)
    assert loaded_from_hub == []


def test_an_empty_source_is_refused(loaded_from_hub):
    with pytest.raises(InputError, match="'' does not exist"):
        read_source("")
