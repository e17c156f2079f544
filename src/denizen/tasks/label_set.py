"""The labels that texts are sorted by: read from a file, proposed by an LLM, written as a file for people to edit."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from denizen.data.formats.rows import BadRows, as_text, require_content, table_rows
from denizen.data.tables import folded
from denizen.engine.errors import InputError
from denizen.engine.files import write_text
from denizen.llm.answer import Prompt
from denizen.llm.prompts import messages

# as many as a person tells apart and a short prompt holds
_LEAST, _MOST = 3, 12
_TOKENS = 1_000
# columns of the file
_NAME, _DESCRIPTION = "label", "description"


@dataclass(frozen=True)
class Label:
    """What a text can be.

    Attributes:
        name: As it is answered.
        description: What belongs there; empty where nobody has said.
    """

    name: str
    description: str = ""


class ProposedLabel(BaseModel):
    """One of the reply to task_labels.txt."""

    label: str
    description: str


class ProposedLabels(BaseModel):
    """The reply to task_labels.txt."""

    labels: list[ProposedLabel]


def read_labels(path: Path) -> list[Label]:
    """Reads a table with the column `label`, and `description` where somebody has described them.

    Raises:
        InputError: When the file is missing or unreadable, a row has no label, a label comes twice, or there are fewer
            than two.
    """
    require_content(path)
    bad = BadRows()
    found: dict[str, Label] = {}
    for place, row in table_rows(path, bad):
        name, description = (" ".join((as_text(row.get(column)) or "").split()) for column in (_NAME, _DESCRIPTION))
        if not name:
            raise InputError(f"{place}: needs a 'label' that is not empty; it has {sorted(row)}")
        # an answer is the same label in either case
        if (key := folded(name)) in found:
            raise InputError(f"{place}: the label {name!r} comes twice (case does not count); remove one of them")
        found[key] = Label(name, description)
    bad.check()
    if len(found) < 2:
        raise InputError(f"{path} holds {len(found)} label(s); to tell texts apart it needs at least 2")
    return [*found.values()]


def write_labels(path: Path, labels: Iterable[Label]) -> None:
    """Writes labels as a CSV file that `read_labels` reads."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows([(_NAME, _DESCRIPTION), *((label.name, label.description) for label in labels)])
    write_text(path, text.getvalue())


def listed(labels: Sequence[Label]) -> str:
    """Labels as a prompt shows them, a line each."""
    return "\n".join(f"- {label.name}: {label.description}".removesuffix(": ") for label in labels)


def labels_prompt(texts: Sequence[str]) -> Prompt:
    """The call for labels by which some texts, and all others of their kind, can be sorted."""
    return Prompt(messages("task_labels", {"passages": texts}, least=_LEAST, most=_MOST), ProposedLabels, _TOKENS)


def proposed(reply: ProposedLabels) -> list[Label]:
    """The labels of a reply, each once; none where they are too few to tell texts apart."""
    found: dict[str, Label] = {}
    for one in reply.labels[:_MOST]:
        name = " ".join(one.label.split())
        if name:
            found.setdefault(name.casefold(), Label(name, " ".join(one.description.split())))
    return [*found.values()] if len(found) > 1 else []
