"""Docstrings of installed packages as documents and queries: data that is there without a download.

The query is a docstring's summary sentence, the document is the rest, with the object's own name and the summary
taken out, so that no shared string gives the answer away. The split is by module: no module is on two sides.
Sources are read as text and parsed; nothing is imported or run.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from denizen.data.formats.source import Source
from denizen.data.tables import rows_table
from denizen.engine.errors import InputError

# upper ends: a quarter of the modules for test, 15 % for dev, the rest for train
_SPLIT_ENDS = (("test", 0.25), ("dev", 0.4), ("train", 1.0))
_LEAST = 200
_QUERY_WORDS = (4, 30)
_DOCUMENT_CHARS = (150, 4000)
_SKIPPED_PARTS = {"tests", "test", "testing", "externals", "benchmarks"}


class Docstring(NamedTuple):
    """One documented object: where it lives, what it is called, and its docstring in two parts."""

    module: str
    name: str
    summary: str
    body: str


def docstring_source(packages: Sequence[str], limit: int | None = None) -> Source:
    """Documents and queries of packages, split by module; at most `limit` pairs, evenly over the modules' order.

    Raises:
        InputError: When too few of the packages are installed.
    """
    found = _distinct(pair for package in packages for pair in _package_docstrings(package))
    if len(found) < _LEAST:
        raise InputError(
            f"{len(found)} documented objects were found in {', '.join(packages)}; at least {_LEAST} are needed. "
            "Install denizen[demo]"
        )
    count = min(limit or len(found), len(found))
    found = [found[int(at * (len(found) / count))] for at in range(count)]
    documents, queries, links = [], [], []
    for module, name, summary, body in found:
        doc_id, domain = f"{module}.{name}", module.partition(".")[0]
        documents.append({"doc_id": doc_id, "title": "", "text": body, "domain": domain, "source": module})
        asked = {"query_id": f"q-{doc_id}", "text": summary, "split": _split_of(module)}
        queries.append({**asked, "source_doc_id": doc_id, "origin": "docstring"})
        links.append((f"q-{doc_id}", doc_id, 1))
    tables = rows_table("corpus", documents), rows_table("queries", queries), rows_table("qrels", links)
    return Source(*tables, cut=False, bad_rows=[])


def _package_docstrings(package: str) -> Iterator[Docstring]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return
    root = Path(spec.origin).parent
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        private = any(part.startswith("_") for part in parts[:-1])
        if private or _SKIPPED_PARTS.intersection(parts) or path.stat().st_size > 2_000_000:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        # a module of the demo is a folder of the package: its files share their vocabulary
        yield from _documented(tree, ".".join([package, *parts[:-1][:1]]))


def _documented(tree: ast.Module, module: str) -> Iterator[Docstring]:
    nodes: list[tuple[str, ast.AST]] = [("", node) for node in tree.body]
    # grows by the members of classes
    for prefix, node in nodes:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            nodes += [(f"{prefix}{node.name}.", child) for child in node.body]
        pair = _two_parts(ast.get_docstring(node) or "", module, f"{prefix}{node.name}")
        if pair:
            yield pair


def _two_parts(docstring: str, module: str, name: str) -> Docstring | None:
    first, _, rest = docstring.partition("\n\n")
    own = re.compile(rf"\b{re.escape(name.rpartition('.')[2])}\b")
    summary = own.sub(" ", re.sub(r":\w+:`~?([^`]*)`|[`*]", r"\1", " ".join(first.split())))
    summary = " ".join(summary.split())
    body = " ".join(own.sub(" ", rest.replace(first, " ")).split())[: _DOCUMENT_CHARS[1]]
    words = len(summary.split())
    fits = _QUERY_WORDS[0] <= words <= _QUERY_WORDS[1] and len(body) >= _DOCUMENT_CHARS[0]
    return Docstring(module, name, summary, body) if fits else None


def _distinct(pairs: Iterable[Docstring]) -> list[Docstring]:
    """Packages copy from one another: of equal summaries, equal bodies and equal names the first is kept."""
    kept: list[Docstring] = []
    seen: set[str] = set()
    for pair in pairs:
        keys = {pair.summary.lower(), pair.body, f"{pair.module}.{pair.name}"}
        if not keys & seen:
            seen |= keys
            kept.append(pair)
    return kept


def _split_of(module: str) -> str:
    """The side of a module, from its name alone: the same on every machine and for every version."""
    # the prefix was chosen among six by the sizes of the parts alone: 56 % train, 18 % dev, 25 % test
    place = int.from_bytes(hashlib.sha256(f"docstring:{module}".encode()).digest()[:4], "big") / 2**32
    return next(split for split, end in _SPLIT_ENDS if place < end)
