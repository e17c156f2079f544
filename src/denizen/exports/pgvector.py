"""PostgreSQL with pgvector: two files to COPY and the SQL around them; loaded, too, where a server is named.

DENIZEN_POSTGRES_URL names one. It is loaded in one transaction under a name of its own, searched and measured there,
and called by its final name when the export is done.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from denizen.data.tables import rows_table
from denizen.engine.errors import InputError, reason
from denizen.exports.rows import COLUMNS, Search, searching
from denizen.retrievers.store import Vectors

if TYPE_CHECKING:
    from psycopg import Connection

    from denizen.exports.subject import Subject

SERVER = "DENIZEN_POSTGRES_URL"
SQL = "load.sql"
PASSAGES, VECTORS = "passages.tsv", "vectors.tsv"
# the most that pgvector links in a graph; beyond it every vector is looked at
_LINKED = 2000
# what pgvector looks at for each row that is wanted: its default, 40 in all, is as many as a search for ten passages by
# windows asks for
_LOOKED_AT, _MOST_LOOKED_AT = 20, 1000
# what a search of ten passages asks for
_USUAL = 10
_LONGEST_NAME = 48


def write(subject: Subject, folder: Path) -> None:
    """Writes the files, and loads them where a server is named.

    Raises:
        InputError: When the server cannot be used, or has a schema of that name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_rows(folder / PASSAGES, ([row[name] for name in COLUMNS] for row in subject.passages.to_pylist()))
    _write_rows(folder / VECTORS, _vector_rows(subject))
    name = schema(subject)
    copies = [f"\\copy {name}.{table} FROM '{file}' {_FORMAT}" for table, file in _FILES.items()]
    lines = ["BEGIN;", *_before(subject, name), *copies, *_after(subject, name), "COMMIT;"]
    (folder / SQL).write_text("\n".join(lines) + "\n", encoding="utf-8")
    if os.environ.get(SERVER):
        with connected() as server:
            _check_free(server, name)
            _load(server, subject, folder)


def finish(subject: Subject) -> None:
    """Gives what was loaded its final name, where a server is named."""
    if os.environ.get(SERVER):
        with connected() as server:
            name = schema(subject)
            if not _is_there(server, _partial(name)) and _is_there(server, name):
                # an export that was stopped afterwards has done it
                return
            _check_free(server, name)
            server.execute(f"ALTER SCHEMA {_partial(name)} RENAME TO {name}".encode())


def place() -> dict[str, Any] | None:
    """Which database is named, without who enters it and how; None where none is.

    Raises:
        InputError: When the address is none.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    if not os.environ.get(SERVER):
        return None
    try:
        named = conninfo_to_dict(os.environ[SERVER])
    except psycopg.Error:
        # the library repeats what it cannot read, which may be a password
        raise InputError(f"{SERVER} is no address of PostgreSQL; postgresql://USER@HOST/DATABASE is one") from None
    return {name: named.get(name) for name in ("host", "hostaddr", "port", "dbname", "service")}


@contextlib.contextmanager
def opened(subject: Subject, folder: Path) -> Iterator[Search]:
    """Searches the server where one is named; else what was written, as a server without an index would."""
    if not os.environ.get(SERVER):
        yield searching(subject.embed, _nearest(folder / VECTORS, subject.dim), subject.rows.names)
        return
    with connected() as server:
        name = _partial(schema(subject))

        def search(queries: Mapping[str, str], depth: int) -> pa.Table:
            found: list[tuple[str, str, float]] = []
            for query_id, vector in zip(queries, subject.embed(list(queries.values())), strict=True):
                statement = f"SELECT doc_id, score FROM {name}.search(%s::vector, %s)"
                rows = server.execute(statement.encode(), (_numbers(vector), depth)).fetchall()
                # an order of texts by the server's language is another one than that of code points
                best = sorted(((doc_id, float(score)) for doc_id, score in rows), key=lambda each: (-each[1], each[0]))
                found += [(query_id, *each) for each in best]
            return rows_table("run", found)

        yield search


def schema(subject: Subject) -> str:
    """What the schema is called: letters, digits and _ alone, so that it needs no quotes."""
    name = re.sub(r"[^a-z0-9]+", "_", subject.name.lower()).strip("_")
    return f"denizen_{name}"[:_LONGEST_NAME].rstrip("_")


@contextlib.contextmanager
def connected() -> Iterator[Connection[Any]]:
    """A connection whose transaction counts when this context ends well.

    Raises:
        InputError: When the server cannot be reached, or refuses.
    """
    import psycopg

    try:
        with psycopg.connect(os.environ[SERVER]) as server:
            yield server
    except psycopg.Error as error:
        # never the address, which has a password in it
        raise InputError(f"the server that {SERVER} names cannot be used: {reason(error)}") from None


_FILES = {"passages": PASSAGES, "vectors": VECTORS}
# as the files are written: psql takes them for what the terminal speaks
_FORMAT = "WITH (FORMAT text, ENCODING 'UTF8')"


def _partial(name: str) -> str:
    return f"{name}_partial"


def _is_there(server: Connection[Any], name: str) -> bool:
    return server.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (name,)).fetchone() is not None


def _check_free(server: Connection[Any], name: str) -> None:
    if _is_there(server, name):
        raise InputError(f"the server has a schema {name} already; drop it, or rename the run's folder")


def _load(server: Connection[Any], subject: Subject, folder: Path) -> None:
    name = _partial(schema(subject))
    # what an export that was stopped or refused has left
    server.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())
    for statement in _before(subject, name):
        server.execute(statement.encode())
    for table, file in _FILES.items():
        copy = f"COPY {name}.{table} FROM STDIN {_FORMAT}".encode()
        with server.cursor() as cursor, cursor.copy(copy) as into, (folder / file).open("rb") as read:
            while part := read.read(1 << 20):
                into.write(part)
    for statement in _after(subject, name):
        server.execute(statement.encode())


def _before(subject: Subject, name: str) -> list[str]:
    """What makes the tables."""
    numbers = ("start", "end")
    columns = ", ".join(f'"{column}" {"integer" if column in numbers else "text"}' for column in COLUMNS[1:])
    return [
        "CREATE EXTENSION IF NOT EXISTS vector;",
        f"CREATE SCHEMA {name};",
        f"CREATE TABLE {name}.passages (doc_id text PRIMARY KEY, {columns});",
        f'CREATE TABLE {name}.vectors ("row" bigint PRIMARY KEY, doc_id text NOT NULL REFERENCES {name}.passages, '
        f'"start" integer NOT NULL, "end" integer NOT NULL, embedding vector({subject.dim}) NOT NULL);',
    ]


def _after(subject: Subject, name: str) -> list[str]:
    """What makes the index, and the function that searches."""
    # rows that are looked for, for each passage that is wanted
    rows = 1 if subject.rows.a_passage == 1 else 2 * subject.rows.a_passage
    looked_at = min(_MOST_LOOKED_AT, _LOOKED_AT * _USUAL * rows)
    index = f"CREATE INDEX ON {name}.vectors USING hnsw (embedding vector_ip_ops);"
    return [
        *([index] if subject.dim <= _LINKED else []),
        f"CREATE FUNCTION {name}.search(query vector, most integer) RETURNS TABLE (doc_id text, score real) "
        # bound to the table and not to its name, which changes when the export is done
        f"LANGUAGE sql STABLE SET hnsw.ef_search = {looked_at} BEGIN ATOMIC "
        "SELECT nearest.doc_id, max(nearest.score)::real AS score FROM ("
        f"SELECT v.doc_id, -(v.embedding <#> query) AS score FROM {name}.vectors v "
        f"ORDER BY v.embedding <#> query LIMIT most * {rows}) nearest "
        "GROUP BY nearest.doc_id ORDER BY score DESC, nearest.doc_id LIMIT most; END;",
        f"ANALYZE {name}.passages;",
        f"ANALYZE {name}.vectors;",
    ]


def _vector_rows(subject: Subject) -> Iterator[list[Any]]:
    rows, names = subject.rows, subject.rows.names
    for begin, vectors in rows.blocks():
        for at, vector in enumerate(vectors, start=begin):
            yield [at, names[at], int(rows.starts[at]), int(rows.ends[at]), _numbers(vector)]


def _numbers(vector: Vectors) -> str:
    """A vector as PostgreSQL reads it; nine digits give a 32-bit float back."""
    return "[" + ",".join(f"{number:.9g}" for number in vector.tolist()) + "]"


def _write_rows(path: Path, rows: Iterator[Sequence[Any]]) -> None:
    r"""Writes what COPY reads, a line a row: psql before version 18 ends at a line "\." even in the quotes of CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        for row in rows:
            file.write("\t".join(_field(value) for value in row) + "\n")


_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\x00": None})


def _field(value: Any) -> str:
    """A value without what COPY reads as more; PostgreSQL has no texts with the character 0."""
    return r"\N" if value is None else str(value).translate(_ESCAPED)


def _nearest(path: Path, dim: int) -> Any:
    """The nearest rows of a file of vectors, all of them looked at."""
    with path.open(encoding="utf-8", newline="\n") as file:
        texts = (line.rpartition("\t")[2].strip("[]\n") for line in file)
        vectors = np.asarray([np.fromstring(text, np.float32, dim, sep=",") for text in texts])

    def nearest(query: Vectors, wanted: int) -> Sequence[tuple[int, float]]:
        scores = vectors @ query
        rows = np.argsort(-scores, kind="stable")[:wanted]
        return list(zip(rows.tolist(), scores[rows].tolist(), strict=True))

    return nearest
