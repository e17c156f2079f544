"""Notebooks cell by cell; expected blocks are read off the cells by hand."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

from denizen.ingest.document import Block, Document, Failure, Limits, UnreadableError
from denizen.ingest.notebook import read_notebook
from denizen.ingest.reading import read_file

PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(3000)).decode()


def saved(tmp_path: Path, book: Any) -> Path:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(book), encoding="utf-8")
    return path


def read(tmp_path: Path, cells: list[Any], **more: Any) -> Document:
    (document,) = read_notebook(saved(tmp_path, {"cells": cells, "nbformat": 4, "metadata": {}, **more}), Limits())
    assert isinstance(document, Document)
    return document


def code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "source": source.splitlines(keepends=True), "outputs": list(outputs)}


def shown(**forms: Any) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {name.replace("_", "/"): value for name, value in forms.items()}}


def test_cells_are_pages_and_outputs_are_read_in_their_best_form(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Sales\n", "\n", "Sold *well*.\n"]},
        code("a = 1\nprint(a)\n", {"output_type": "stream", "name": "stdout", "text": ["1\n", "2\n"]}),
        code("frame", shown(text_plain=["  x"], text_html="<table><tr><td>x<td>y</table>")),
        code("plot()", shown(image_png=PICTURE, text_plain="<Figure size 640x480 with 1 Axes>")),
        code("plot()", shown(image_svg="<svg/>", text_plain=["The axis is in euro."])),
        {"cell_type": "raw", "source": "as it is"},
    ]
    document = read(tmp_path, cells)
    assert document.blocks == [
        Block("heading", "Sales", 1, 1),
        Block("text", "Sold well.", 0, 1),
        Block("text", "a = 1\nprint(a)", 0, 2),
        Block("text", "1\n2", 0, 2),
        Block("text", "frame", 0, 3),
        Block("table", "x | y", 0, 3),
        Block("text", "plot()", 0, 4),
        Block("text", "plot()", 0, 5),
        Block("text", "The axis is in euro.", 0, 5),
        Block("text", "as it is", 0, 6),
    ]
    assert (document.title, document.metadata) == ("Sales", {"pictures": "2"})


def test_errors_and_what_widgets_keep(tmp_path):
    error = {
        "output_type": "error",
        "ename": "ValueError",
        "evalue": "too small",
        "traceback": ["\x1b[31mline 3\x1b[0m"],
    }
    document = read(
        tmp_path, [code("f()", error, {"output_type": "display_data", "data": {"application/vnd.x+json": {}}})]
    )
    assert [block.text for block in document.blocks] == ["f()", "ValueError: too small"]
    assert [(item.text, item.reason[:8]) for item in document.left_out] == [
        ("line 3", "is the t"),
        ("application/vnd.x+json", "is data "),
    ]


def test_attachments_and_data_in_links_are_their_alternative_text(tmp_path):
    source = (
        f"![a red kettle](attachment:k.png)\n\n![a blue one](data:image/png;base64,{PICTURE})\n\n"
        f"![drawn](data:image/svg+xml;base64,{PICTURE}) <img src='data:image/gif;base64,{PICTURE}'>\n\n"
        f"![by name][k]\n\n[k]: data:image/svg+xml;base64,{PICTURE}\n"
    )
    cell = {"cell_type": "markdown", "source": source, "attachments": {"k.png": {"image/png": PICTURE}}}
    document = read(tmp_path, [cell])
    assert [block.text for block in document.blocks] == ["a red kettle", "a blue one", "drawn", "by name"]


def test_bytes_in_what_is_printed_are_taken_out(tmp_path):
    path = saved(tmp_path, {"cells": [code(f"show('{PICTURE}')", {"output_type": "stream", "text": PICTURE})]})
    [(_, document)] = read_file(path, "a.ipynb", Limits())
    assert isinstance(document, Document)
    assert ([block.text for block in document.blocks], document.metadata) == (["show('')"], {"pictures": "2"})


def test_version_3(tmp_path):
    cells = [
        {"cell_type": "heading", "level": 2, "source": "Sales"},
        {
            "cell_type": "code",
            "input": ["1 + 1"],
            "outputs": [{"output_type": "pyout", "text": ["2"]}, {"output_type": "display_data", "png": PICTURE}],
        },
    ]
    (document,) = read_notebook(saved(tmp_path, {"nbformat": 3, "worksheets": [{"cells": cells}]}), Limits())
    assert isinstance(document, Document)
    assert document.blocks == [Block("heading", "Sales", 2, 1), Block("text", "1 + 1", 0, 2), Block("text", "2", 0, 2)]
    assert document.metadata == {"pictures": "1"}


def test_a_notebook_is_known_by_its_content(tmp_path):
    path = saved(tmp_path, {"cells": [{"cell_type": "markdown", "source": "text"}], "nbformat": 4})
    for name in ("a.ipynb", "a.json", "a.txt", "a"):
        [(_, document)] = read_file(path, name, Limits())
        assert isinstance(document, Document) and document.blocks == [Block("text", "text", 0, 1)]


@pytest.mark.parametrize("content", ['{"cells": [', "", "[]", '{"a": 1}', '{"cells": 3}', "[" * 100_000])
def test_what_is_no_notebook(tmp_path, content):
    path = tmp_path / "a.ipynb"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UnreadableError, match=r"broken JSON|is no notebook|nested"):
        list(read_notebook(path, Limits()))


def test_odd_cells_cost_themselves(tmp_path):
    cells: list[Any] = [
        3,
        {"cell_type": "code", "source": 5, "outputs": [7, {"output_type": "stream"}]},
        {"cell_type": "x"},
    ]
    document, *failures = read_notebook(saved(tmp_path, {"cells": [*cells, code("b")]}), Limits())
    assert isinstance(document, Document) and [block.text for block in document.blocks] == ["b"]
    assert [failure.name for failure in failures if isinstance(failure, Failure)] == ["cell 1", "cell 3"]
    [_, failure] = read_notebook(saved(tmp_path, {"cells": [code("a"), code("b")]}), Limits(pages=1))
    assert isinstance(failure, Failure) and "has 2 cells, the limit is 1" in failure.error


def test_of_forms_that_say_nothing_the_next_one_is_read(tmp_path):
    styled = shown(text_html="<style>td {color: red}</style><script>draw()</script>", text_plain="The mean is 3.")
    assert [block.text for block in read(tmp_path, [code("x", styled)]).blocks] == ["x", "The mean is 3."]


def test_what_a_page_in_a_cell_folds_is_shown(tmp_path):
    folded = shown(text_html="<p>How long?</p><div style='display:none'>Three years.</div>")
    assert [block.text for block in read(tmp_path, [code("x", folded)]).blocks] == ["x", "How long?", "Three years."]


def test_a_cell_of_an_unknown_kind_keeps_its_text_and_is_named(tmp_path):
    path = saved(tmp_path, {"cells": [{"cell_type": "sql", "source": "select 1"}], "nbformat": 4, "metadata": {}})
    document, failure = read_notebook(path, Limits())
    assert isinstance(document, Document) and [block.text for block in document.blocks] == ["select 1"]
    assert failure == Failure("cell 1", "is of no kind that is known (sql); its text is kept")
