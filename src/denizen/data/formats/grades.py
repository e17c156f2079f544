"""Grades that people give while they search, as JSON lines; of a pair of query and passage the last counts.

Each line holds what was asked and what was read, so that it stays a label when ids have changed: `query`, `passage`,
`title`, `doc_id`, `parent_id`, `grade` (1 to 4 as on a grading sheet; null: taken back) and, of a question that a run
knows, `query_id`. What else it holds, such as by which system the passage was found, is for people.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.formats.rows import BadRows, json_lines, require_content
from denizen.data.formats.source import Source
from denizen.data.relatedness import NEGATIVE, POSITIVE
from denizen.data.tables import folded, rows_table
from denizen.engine.errors import InputError

_TEXTS = ("query", "doc_id")
_READ = ("passage", "title")
_MAYBE = ("query_id", "title", "parent_id")


@dataclass(frozen=True)
class Grade:
    """What somebody thinks of a passage for a query.

    Attributes:
        query: What was asked.
        doc_id: The passage.
        passage: Its text; "" where it has but a title.
        grade: 1 to 4; None: taken back.
        query_id: Of a question that the run knows.
        title: Of the passage.
        parent_id: The document that it was cut from.
    """

    query: str
    doc_id: str
    passage: str
    grade: int | None
    query_id: str = ""
    title: str = ""
    parent_id: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What it is about: the same question in other letters is the same."""
        return folded(self.query), self.doc_id


def append_grade(path: Path, row: Mapping[str, Any]) -> None:
    """Adds a line to a file; after a return it is on disk. What a killed process has left of one is ended before."""
    with path.open("a+b") as file:
        # others append to it, too
        fcntl.flock(file, fcntl.LOCK_EX)
        if end := file.seek(0, os.SEEK_END):
            file.seek(end - 1)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_grades(path: Path) -> list[Grade]:
    """The grades of a file, of each pair the last, in the order in which pairs were first graded.

    A line that is no JSON is what a killed process has left of one, and is passed over.

    Raises:
        InputError: When the file is missing or empty, or a line is no grade.
    """
    require_content(path)
    torn, wrong = BadRows(skip=True), BadRows()
    found: dict[tuple[str, str], Grade] = {}
    for place, row in json_lines(path, torn):
        grade = row.get("grade")
        if not (all(_is_text(row.get(name)) for name in _TEXTS) and any(_is_text(row.get(name)) for name in _READ)):
            wrong.add(place, f"needs {', '.join(_TEXTS)}, and passage or title; it has {sorted(row)}", row)
        elif "grade" not in row or (grade is not None and (type(grade) is not int or not 1 <= grade <= POSITIVE)):
            wrong.add(place, f"the grade is {grade!r}; it is 1, 2, 3 or 4, or null", row)
        else:
            more = {name: row[name] for name in _MAYBE if isinstance(row.get(name), str)}
            passage = row["passage"] if _is_text(row.get("passage")) else ""
            one = Grade(row["query"], row["doc_id"], passage, grade, **more)
            found[one.key] = one
    if wrong.rows:
        first = wrong.rows[0]
        raise InputError(f"{path} is no file of grades: {first.place}: {first.problem}; remove such lines")
    return [one for one in found.values() if one.grade is not None]


def with_grades(source: Source, grades: list[Grade], name: str = "grades") -> Source:
    """A source with what people have graded as labels: 4 is relevant, 1 and 2 are not, and 3 says neither.

    A question that the source has, too, is that question and stays on its side; another one is a training question
    where the source brings splits, and is divided like all others where not. A passage is found in the source by its
    ids and what is written there, and is a document of its own where it is not there any more. That a passage of a
    longer document is no answer says nothing of the rest of it.

    Args:
        source: A source.
        grades: As from `read_grades`.
        name: What documents that are added are said to come from.
    """
    documents = source.documents.to_pylist()
    written = {row["doc_id"]: (row["title"] or "", row["text"]) for row in documents}
    by_text = {text: doc_id for doc_id, text in reversed(written.items())}
    names: dict[str, list[str]] = {}
    for row in source.queries.to_pylist():
        names.setdefault(folded(row["text"]), []).append(row["query_id"])
    taken = {*source.queries["query_id"].to_pylist(), *written}
    added: list[dict[str, Any]] = []
    asked: list[dict[str, Any]] = []
    links = {(row["query_id"], row["doc_id"]): row["relevance"] for row in source.qrels.to_pylist()}
    split = "train" if source.splits else None
    for grade in grades:
        if grade.grade is None or NEGATIVE < grade.grade < POSITIVE:
            continue
        home = _home(grade, written, by_text)
        if home is None:
            home = _free(f"{name}-d{len(added) + 1}", taken)
            text = (grade.title, grade.passage)
            added.append({"doc_id": home, "title": text[0], "text": text[1], "source": name})
            written[home] = text
            by_text[text] = home
        if grade.grade <= NEGATIVE and written[home][1].strip() != grade.passage.strip():
            continue
        if (question := folded(grade.query)) not in names:
            names[question] = [_free(f"{name}-q{len(asked) + 1}", taken)]
            told = {"query_id": names[question][0], "text": " ".join(grade.query.split()), "split": split}
            asked.append({**told, "origin": "source"})
        for query_id in names[question]:
            # a source may tell the relevant apart: 4 takes nothing from that
            links[query_id, home] = max(1, links.get((query_id, home), 1)) if grade.grade >= POSITIVE else 0
    tables = {"corpus": (source.documents, added), "queries": (source.queries, asked)}
    corpus, queries = (pa.concat_tables([had, rows_table(kind, new)]) for kind, (had, new) in tables.items())
    qrels = rows_table("qrels", ((*pair, relevance) for pair, relevance in links.items()))
    return replace(source, documents=corpus, queries=queries, qrels=qrels)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _home(grade: Grade, written: Mapping[str, tuple[str, str]], by_text: Mapping[tuple[str, str], str]) -> str | None:
    """The document of a source that a passage stands in: ids may be given anew with every file, and so what is written
    there counts.
    """
    # no text stands in every document
    for doc_id in (grade.parent_id, grade.doc_id) if grade.passage.strip() else ():
        if doc_id in written and grade.passage.strip() in written[doc_id][1]:
            return doc_id
    return by_text.get((grade.title, grade.passage))


def _free(name: str, taken: set[str]) -> str:
    """A name that nothing else has, which it then is."""
    while name in taken:
        name += "+"
    taken.add(name)
    return name
