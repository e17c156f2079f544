"""What stores find of what was written into them is what exact search finds, by whole passages and by windows."""

from __future__ import annotations

import importlib
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from denizen.data.tables import rankings
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.exports import binary, pgvector, qdrant
from denizen.exports.kinds import KINDS
from denizen.exports.subject import Subject
from denizen.retrievers.windows import WHOLE, Reading
from tests.postgres import postgres, programs
from tests.unit.exports.conftest import PASSAGES, Made

READINGS = [WHOLE, Reading(16, 8)]
EXACT = ["faiss", "qdrant", "lancedb", "pgvector"]


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(pgvector.SERVER, raising=False)


def wanted(subject: Subject, queries: dict[str, str], depth: int) -> pa.Table:
    return subject.retriever.search(subject.index, queries, depth, Silent())


def same(found: pa.Table, exact: pa.Table) -> None:
    """The same passages with the same scores; two that differ by a rounding may stand the other way round."""
    ours, theirs = rankings(found), rankings(exact)
    assert list(ours) == list(theirs)
    for query_id, ranked in theirs.items():
        assert [score for _, score in ours[query_id]] == pytest.approx([score for _, score in ranked], abs=1e-5)
        assert dict(ours[query_id]).keys() == dict(ranked).keys()


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.name)
def test_a_store_finds_what_exact_search_finds(
    kind: str, reading: Reading, made: Made, queries: dict[str, str], tmp_path: Path
) -> None:
    for package in KINDS[kind].needs:
        pytest.importorskip(package, reason="stores are an extra")
    subject = made(reading)
    assert len(subject.rows.owners) > PASSAGES or reading.whole
    KINDS[kind].write(subject, tmp_path)
    with KINDS[kind].opened(subject, tmp_path) as search:
        same(search(queries, 10), wanted(subject, queries, 10))
        # as many as there are
        assert len(rankings(search({"q": "gout"}, 100))["q"]) == PASSAGES


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.name)
def test_a_server_of_postgresql_finds_what_exact_search_finds(
    reading: Reading,
    made: Made,
    queries: dict[str, str],
    passages: pa.Table,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
) -> None:
    psycopg = pytest.importorskip("psycopg", reason="stores are an extra")
    binaries = programs()
    if binaries is None:
        pytest.skip("no PostgreSQL with pgvector is here that may be run")
    subject = made(reading)
    with tempfile.TemporaryDirectory(prefix="pg") as place, postgres(Path(place), binaries) as url:
        monkeypatch.setenv(pgvector.SERVER, url)
        pgvector.write(subject, tmp_path / "files")
        with pgvector.opened(subject, tmp_path / "files") as search:
            same(search(queries, 10), wanted(subject, queries, 10))
        # what a killed export has left is loaded anew
        pgvector.write(subject, tmp_path / "files")
        pgvector.finish(subject)
        with psycopg.connect(url) as server:
            names = server.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'denizen%'").fetchall()
            assert names == [("denizen_a_run",)]
            rows = server.execute("SELECT doc_id, title, text, domain FROM denizen_a_run.passages").fetchall()
            assert sorted(rows) == [
                tuple(row.values()) for row in passages.select(["doc_id", "title", "text", "domain"]).to_pylist()
            ]
            assert server.execute("SELECT count(*) FROM denizen_a_run.vectors").fetchone() == (
                len(subject.rows.owners),
            )
            # by its final name, as the README says
            query = (str(subject.embed(["gout"])[0].tolist()),)
            found = server.execute("SELECT doc_id FROM denizen_a_run.search(%s, 10)", query).fetchall()
            assert {doc_id for (doc_id,) in found} == {
                doc_id for doc_id, _ in rankings(wanted(subject, {"q": "gout"}, 10))["q"]
            }
            # the index is used, not only there
            server.execute("SET enable_seqscan = off")
            plan = server.execute(
                "EXPLAIN SELECT doc_id FROM denizen_a_run.vectors ORDER BY embedding <#> %s::vector LIMIT 5",
                query,
            ).fetchall()
            assert "vectors_embedding_idx" in str(plan)
        with pytest.raises(InputError, match="a schema denizen_a_run already; drop it"):
            pgvector.write(subject, tmp_path / "again")
        if psql := next((path for path in (binaries / "psql", Path("/usr/bin/psql")) if path.is_file()), None):
            # as people load it, from its files alone
            with psycopg.connect(url) as server:
                server.execute("DROP SCHEMA denizen_a_run CASCADE")
            loads = [str(psql), "--quiet", "--set", "ON_ERROR_STOP=1", "--file", pgvector.SQL, url]
            subprocess.run(loads, cwd=tmp_path / "files", check=True)
            with psycopg.connect(url) as server:
                again = server.execute("SELECT doc_id, title, text, domain FROM denizen_a_run.passages").fetchall()
            assert sorted(again) == sorted(rows)
    with pytest.raises(InputError, match=f"the server that {pgvector.SERVER} names cannot be used") as refused:
        pgvector.finish(subject)
    assert url not in str(refused.value)


def test_the_sql_of_postgresql_loads_as_psql_loads_it(made: Made, tmp_path: Path) -> None:
    """The statements are those that the server was given; the names of its files are relative."""
    subject = made(WHOLE)
    pgvector.write(subject, tmp_path)
    lines = (tmp_path / pgvector.SQL).read_text().splitlines()
    assert lines[0] == "BEGIN;" and lines[-1] == "COMMIT;"
    assert "\\copy denizen_a_run.passages FROM 'passages.tsv' WITH (FORMAT text, ENCODING 'UTF8')" in lines
    # psql reads lines before it reads what stands in them
    rows = [line.split("\t") for line in (tmp_path / pgvector.PASSAGES).read_text(encoding="utf-8").splitlines()]
    assert [row[0] for row in rows] == subject.passages["doc_id"].to_pylist()
    assert rows[1][1:4] == ["", r'a "drug", for\nlupus; \\N or an empty \tdose\n\\.\nin C:\\new\\r', r"\N"]


def test_another_server_is_another_export_and_who_enters_it_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg", reason="stores are an extra")
    assert KINDS["pgvector"].place() is None and KINDS["binary"].place() is None
    monkeypatch.setenv(pgvector.SERVER, "postgresql://me:secret@here/mine")
    here = KINDS["pgvector"].place()
    assert here["host"] == "here" and "secret" not in str(here)
    monkeypatch.setenv(pgvector.SERVER, "postgresql://you:other@here/mine")
    assert KINDS["pgvector"].place() == here
    monkeypatch.setenv(pgvector.SERVER, "postgresql://me:secret@there/mine")
    assert KINDS["pgvector"].place() != here
    monkeypatch.setenv(pgvector.SERVER, "my secret")
    with pytest.raises(InputError, match="is no address of PostgreSQL") as refused:
        KINDS["pgvector"].place()
    assert "secret" not in str(refused.value)


def test_points_of_qdrant_say_whose_they_are(made: Made, tmp_path: Path) -> None:
    subject = made(Reading(16, 8))
    qdrant.write(subject, tmp_path)
    rows = pq.read_table(tmp_path / qdrant.POINTS).to_pylist()
    assert [row["row"] for row in rows] == list(range(len(rows))) and {row["doc_id"] for row in rows} == set(
        subject.passages["doc_id"].to_pylist()
    )
    second = rows[1]
    assert second["doc_id"] == rows[0]["doc_id"] and second["row_start"] > 0
    assert second["vector"] == pytest.approx(subject.rows.vectors[1:2][0].tolist(), abs=1e-6)


def test_bits_are_the_signs_and_what_they_find_is_put_in_order_by_the_query(made: Made, tmp_path: Path) -> None:
    subject = made(WHOLE)
    binary.write(subject, tmp_path)
    bits, vectors = np.load(tmp_path / binary.BITS), subject.rows.vectors[:]
    assert bits.shape == (PASSAGES, 4)
    # the highest bit of a byte is the first of eight numbers
    assert int(bits[3, 1]) == sum(int(number > 0) << (7 - at) for at, number in enumerate(vectors[3, 8:16]))
    with binary.opened(subject, tmp_path) as search:
        found = rankings(search({"q": "how is gout treated"}, 3))["q"]
    query = subject.embed(["how is gout treated"])[0]
    scores = np.sign(vectors) @ query
    near = np.argsort((np.sign(vectors) != np.sign(query)).sum(axis=1), kind="stable")[: 4 * 2 * 3]
    best = sorted((-float(scores[at]), subject.rows.doc_ids[at]) for at in near)[:3]
    assert [name for name, _ in found] == [name for _, name in best]
    assert [score for _, score in found] == pytest.approx([-score for score, _ in best], abs=1e-5)


def test_dimensions_that_fill_no_bytes_are_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="12 dimensions fill no whole bytes"):
        binary.write(made(WHOLE, dim=12), tmp_path)


def test_vectors_cut_to_first_dimensions_are_written_and_asked_so(
    made: Made, queries: dict[str, str], tmp_path: Path
) -> None:
    faiss = pytest.importorskip("faiss", reason="faiss is an extra")
    subject = made(WHOLE, dim=16)
    KINDS["faiss"].write(subject, tmp_path)
    index = faiss.read_index(str(tmp_path / "index.faiss"))
    assert (index.d, index.ntotal, subject.described()["dimensions"]) == (16, PASSAGES, 16)
    assert np.linalg.norm(index.reconstruct(0)) == pytest.approx(1)
    with KINDS["faiss"].opened(subject, tmp_path) as search:
        same(search(queries, 10), wanted(subject, queries, 10))


def test_a_model_without_passages_has_no_vectors(made: Made, tmp_path: Path) -> None:
    bare = Subject("a model", made(WHOLE).retriever)
    with pytest.raises(InputError, match="a model is a model without passages; give a run, or --data"):
        binary.write(bare, tmp_path)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_a_kind_needs_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    if KINDS[kind].needs:
        with pytest.raises(InputError, match=r"is not installed; pip install 'denizen\["):
            KINDS[kind].check()
    else:
        KINDS[kind].check()
