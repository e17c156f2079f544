"""All that can be exported to, by name: what writes it, and what searches or embeds by what was written."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.engine.errors import InputError

if TYPE_CHECKING:
    from denizen.exports.rows import Search
    from denizen.exports.subject import Subject
    from denizen.retrievers.encoder import Encoder


@dataclass(frozen=True)
class Kind:
    """A form of exports.

    Attributes:
        module: The file of this package that writes it.
        title: What people call it.
        needs: Packages without which it cannot be written and measured.
        extra: The extra of Denizen that installs them; "" where nothing is needed.
        writer: The function of the module that writes.
        is_model: Whether it is a model, which embeds; else it is vectors, which are searched.
        usage: How to use it, as lines of Markdown for its README.md; {dim}, {collection} and {schema} are filled in.
    """

    module: str
    title: str
    needs: tuple[str, ...] = ()
    extra: str = ""
    writer: str = "write"
    is_model: bool = False
    usage: str = ""

    def check(self) -> None:
        """Makes sure that what it needs is installed.

        Raises:
            InputError: Naming what is not.
        """
        if missing := [package for package in self.needs if importlib.util.find_spec(package) is None]:
            raise InputError(f"{' and '.join(missing)} is not installed; pip install 'denizen[{self.extra}]'")

    def write(self, subject: Subject, folder: Path) -> None:
        """Writes it into a folder."""
        self._function(self.writer)(subject, folder)

    def encoder(self, subject: Subject, folder: Path) -> Encoder:
        """Of a model: what embeds by what was written."""
        found: Encoder = self._function("encoder")(subject, folder)
        return found

    @contextlib.contextmanager
    def opened(self, subject: Subject, folder: Path) -> Iterator[Search]:
        """Of vectors: what searches what was written."""
        with self._function("opened")(subject, folder) as search:
            yield search

    def finish(self, subject: Subject) -> None:
        """What is left to do when the export counts; nothing for most."""
        if (finish := getattr(self._module, "finish", None)) is not None:
            finish(subject)

    def place(self) -> Any:
        """Where it goes beside its folder; None for most."""
        place = getattr(self._module, "place", None)
        return place and place()

    @property
    def _module(self) -> Any:
        # each brings a library that the others do not need
        return importlib.import_module(f"denizen.exports.{self.module}")

    def _function(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(self._module, name)
        return found


_SENTENCES = """```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder"{backend})
queries = model.encode_query(["how is gout treated"])
```"""
_QUERY = """Queries are embedded by the same model as the passages, with its query prompt, pooling and length:
`export.json` names them under `model`, and `denizen serve` does it (`input_type: query`). """
_ROWS = "`rows.parquet` has the passage of each vector, in their order; a passage with several counts by its best one."

KINDS = {
    "onnx": Kind(
        "onnx",
        "ONNX, 32-bit floats",
        ("onnx", "onnxruntime"),
        "onnx",
        is_model=True,
        usage=_SENTENCES.replace("{backend}", ', backend="onnx"'),
    ),
    "openvino": Kind(
        "openvino",
        "OpenVINO, 32-bit floats",
        ("openvino",),
        "openvino",
        is_model=True,
        usage=_SENTENCES.replace("{backend}", ', backend="openvino"'),
    ),
    "int8": Kind(
        "onnx",
        "ONNX, weights of 8 bits",
        ("onnx", "onnxruntime"),
        "onnx",
        "write_int8",
        is_model=True,
        usage=_SENTENCES.replace("{backend}", ', backend="onnx"'),
    ),
    "hub-folder": Kind(
        "hub_folder", "a folder for a hub of models", is_model=True, usage=_SENTENCES.replace("{backend}", "")
    ),
    "binary": Kind(
        "binary",
        "vectors as bits",
        usage=_QUERY
        + _ROWS
        + """

```python
import numpy as np

bits = np.load("bits.npy")                                   # one bit a dimension, 1 where it is above 0
distances = np.bitwise_count(bits ^ np.packbits(query > 0)).sum(axis=1)
rows = np.argsort(distances, kind="stable")[:40]             # four times as many as are wanted
scores = (2.0 * np.unpackbits(bits[rows], axis=1) - 1) @ query
best = rows[np.argsort(-scores, kind="stable")[:10]]
```""",
    ),
    "faiss": Kind(
        "faiss",
        "an index of faiss, exact",
        ("faiss",),
        "faiss",
        usage=_QUERY
        + _ROWS
        + """

```python
import faiss

scores, rows = faiss.read_index("index.faiss").search(queries, 10)   # float32, shape (queries, {dim})
```""",
    ),
    "qdrant": Kind(
        "qdrant",
        "points of Qdrant",
        ("qdrant_client",),
        "stores",
        usage=_QUERY
        + """`points.parquet` has a point a row: `row` is its id, `vector` its vector, the rest its payload.

```python
from qdrant_client import QdrantClient

from denizen.exports.qdrant import load_points

client = QdrantClient("http://localhost:6333")               # or QdrantClient(":memory:")
load_points(client, "{collection}", "points.parquet", {dim})
client.query_points_groups("{collection}", query=vector, group_by="doc_id", group_size=1, limit=10)
```""",
    ),
    "lancedb": Kind(
        "lancedb",
        "a database of LanceDB",
        ("lancedb",),
        "stores",
        usage=_QUERY
        + """A passage with several rows counts by its best one.

```python
import lancedb

table = lancedb.connect("lancedb").open_table("passages")
table.search(vector).distance_type("dot").limit(10).to_list()
```""",
    ),
    "pgvector": Kind(
        "pgvector",
        "tables for PostgreSQL with pgvector",
        ("psycopg",),
        "stores",
        usage=_QUERY.rstrip()
        + """

```bash
psql --set ON_ERROR_STOP=1 --file load.sql                   # in this folder; all of it or nothing
psql --command "SELECT * FROM {schema}.search('[0.1, ...]', 10)"
```""",
    ),
}
NAMES: Sequence[str] = (*KINDS, "semantic-router")
