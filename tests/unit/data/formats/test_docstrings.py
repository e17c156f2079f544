"""Docstrings as documents: what is taken from a docstring, and that modules stand on one side."""

from __future__ import annotations

import ast

import pytest

from denizen.data.formats import docstrings
from denizen.engine.errors import InputError

BODY = "Gives back a new array in which every value is the one that was asked for. " * 3


def documented(code: str) -> list[docstrings.Docstring]:
    return list(docstrings._documented(ast.parse(code), "pack.module"))


def test_query_and_document_share_neither_the_name_nor_the_summary() -> None:
    code = f'''def full_of(x):
    """Return an array full_of one value.

    Return an array full_of one value. See `full_of`. {BODY}
    """
'''
    (pair,) = documented(code)
    assert pair.summary == "Return an array one value."
    assert "full_of" not in pair.body
    assert "Return an array" not in pair.body
    assert pair.body.endswith(" ".join(BODY.split()))


@pytest.mark.parametrize(
    "code",
    [
        f'def _hidden():\n    """Return an array of one value.\n\n    {BODY}"""',
        'def short():\n    """Return an array of one value.\n\n    Too short."""',
        f'def brief():\n    """Return it.\n\n    {BODY}"""',
        "def bare():\n    pass",
    ],
    ids=["private", "no document", "no query", "no docstring"],
)
def test_what_is_no_pair_is_left_out(code: str) -> None:
    assert documented(code) == []


def test_methods_of_public_classes_are_found() -> None:
    code = f'class Box:\n    def fill(self):\n        """Return an array of one value.\n\n        {BODY}"""'
    assert [pair.name for pair in documented(code)] == ["Box.fill"]


def test_no_module_is_on_two_sides_and_all_sides_are_there() -> None:
    source = docstrings.docstring_source(("numpy", "scipy", "sklearn", "torch"), 400)
    sides: dict[str, set[str]] = {}
    for document, query in zip(source.documents.to_pylist(), source.queries.to_pylist(), strict=True):
        sides.setdefault(document["source"], set()).add(query["split"])
    assert all(len(found) == 1 for found in sides.values())
    assert set.union(*sides.values()) == {"train", "dev", "test"}
    assert len(source.documents) == 400
    assert len(set(source.documents["doc_id"].to_pylist())) == 400


def test_without_the_packages_there_is_nothing_to_show() -> None:
    with pytest.raises(InputError, match=r"0 documented objects were found in nowhere_at_all; at least 200"):
        docstrings.docstring_source(("nowhere_at_all",))


def test_what_packages_copy_from_one_another_comes_once() -> None:
    """Equal in summary but for case, in document, or in name."""
    one = docstrings.Docstring("pack", "one", "The first of all.", "A")
    others = [
        docstrings.Docstring("pack", "two", "the first OF all.", "B"),
        docstrings.Docstring("pack", "three", "Another one of these.", "A"),
        docstrings.Docstring("pack", "one", "A third one of these.", "C"),
    ]
    last = docstrings.Docstring("pack", "four", "Something else in all.", "D")
    assert docstrings._distinct([one, *others, last]) == [one, last]
