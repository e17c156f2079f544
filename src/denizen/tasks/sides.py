"""On which side each row stands, and which rows may not be learnt from since others are measured with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from denizen.data.near_duplicates import clusters, tied
from denizen.data.prepare import Shares
from denizen.data.splitting import SIDES, dev_from_train, split_by_group
from denizen.data.tables import folded, rows_table
from denizen.data.task_rows import Message, TaskRow
from denizen.tasks.dropped import Dropped
from denizen.tasks.given import Given
from denizen.tasks.grounding import grounded_passages, grounded_question
from denizen.tasks.wording import text_of


def with_sides(
    rows: Sequence[Given], side_of: Mapping[str, str], shares: Shares, near_duplicate: float
) -> list[TaskRow]:
    """Puts given rows on sides: as their file says, else with their document, else by shares.

    Rows that ask the same or nearly the same, or are about one document, stand on one side, unless the file says
    otherwise. Where the file says of all rows that they are for training, it divides nothing, and it is as if it said
    nothing; where it has training and test alone, dev is cut from training.

    Args:
        rows: The rows.
        side_of: Document to its side in the corpus.
        shares: Of dev and test.
        near_duplicate: Similarity from which two prompts are near-duplicates.

    Raises:
        InputError: When there are too few rows to cut dev from.
    """
    said = [row.split for row in rows]
    if set(said) == {"train"}:
        said = [None] * len(rows)
    alike = clusters(compared(rows), near_duplicate)
    keys = [[("prompt", str(number)), *_documents(row)] for row, number in zip(rows, alike, strict=True)]
    groups = tied(keys)
    known: dict[int, str] = {}
    for row, group, split in zip(rows, groups, said, strict=True):
        for side in (split, side_of.get(row.document or "")):
            if side in SIDES:
                known[group] = min(side, known.get(group, "train"), key=SIDES.index)
    sides = [split or known.get(group, "") for split, group in zip(said, groups, strict=True)]
    open_rows = [at for at, side in enumerate(sides) if not side]
    number_of = {str(at): group for at, group in enumerate(groups)}
    dealt = split_by_group(_queries(open_rows, sides), number_of, shares.dev_share, shares.test_share, shares.seed)
    for at, side in zip(open_rows, dealt["split"].to_pylist(), strict=True):
        sides[at] = side
    if "dev" not in sides and set(said) >= {"train", "test"}:
        cut = dev_from_train(_queries(range(len(rows)), sides), number_of, shares.dev_share, shares.seed)
        sides = cut["split"].to_pylist()
    return [_task_row(row, side) for row, side in zip(rows, sides, strict=True)]


def without_leaks(
    rows: Sequence[TaskRow], side_of: Mapping[str, str], near_duplicate: float
) -> tuple[list[TaskRow], list[Dropped]]:
    """Drops what may not be learnt from: rows of train that meet dev or test, and of dev that meet test.

    Two rows meet where they ask the same or nearly the same, or are about one document; a row also meets the side on
    which its document stands in the corpus. Of rows with the same answer to the same, one stays.

    Args:
        rows: The rows.
        side_of: Document to its side in the corpus.
        near_duplicate: Similarity from which two prompts are near-duplicates.

    Returns:
        What is left, in its order, and what was dropped.
    """
    kept: dict[tuple[str, str, str], TaskRow] = {}
    dropped = []
    named = [(row.task, folded(text), folded(row.answer)) for row, text in zip(rows, compared(rows), strict=True)]
    # what is measured with comes first, so that of two it is the one that stays
    for name, row in sorted(zip(named, rows, strict=True), key=lambda item: SIDES.index(item[1].split)):
        if kept.setdefault(name, row) is not row:
            dropped.append(_dropped(row, "duplicate"))
    left = [row for name, row in zip(named, rows, strict=True) if kept.get(name) is row]
    # fewer prompts weigh words differently, so that two can become near-duplicates that were none before
    while lost := _meeting(left, side_of, near_duplicate):
        dropped += [_dropped(left[at], reason) for at, reason in lost.items()]
        left = [row for at, row in enumerate(left) if at not in lost]
    return left, dropped


def compared(rows: Sequence[Given | TaskRow]) -> list[str]:
    """What each row asks, as rows are compared.

    A question from passages that has several answers (How is this rule explained?) asks the same of each passage and
    says nothing by itself: it is compared with its passages.
    """
    found = [asked(row.messages) for row in rows]
    passages = [grounded_passages(row.messages[-1].content) for row in rows]
    answers: dict[str, set[str]] = {}
    for row, text, own in zip(rows, found, passages, strict=True):
        if own:
            answers.setdefault(folded(text), set()).add(folded(row.answer))
    return [
        "\n".join([*own, text]) if own and len(answers[folded(text)]) > 1 else text
        for text, own in zip(found, passages, strict=True)
    ]


def asked(messages: Iterable[Message]) -> str:
    """What a row asks, as rows are compared: its turns without our words, which many rows have, and no system's.

    Of a question from passages that is the question, and of what is to be done with a text that text.
    """
    *before, last = (turn.content for turn in messages if turn.role != "system")
    return "\n".join([*before, grounded_question(last) or text_of(last) or last])


def _meeting(rows: Sequence[TaskRow], side_of: Mapping[str, str], near_duplicate: float) -> dict[int, str]:
    """Place of a row that meets a side that measures more to the reason."""
    alike = clusters(compared(rows), near_duplicate)
    foremost: dict[tuple[str, object], int] = {}
    for row, number in zip(rows, alike, strict=True):
        for key in (("prompt", number), ("document", row.document)):
            foremost[key] = min(SIDES.index(row.split), foremost.get(key, len(SIDES)))
    found = {}
    for at, (row, number) in enumerate(zip(rows, alike, strict=True)):
        own, home = SIDES.index(row.split), side_of.get(row.document or "")
        if foremost["prompt", number] < own:
            found[at] = f"asks what a {SIDES[foremost['prompt', number]]} row asks"
        elif row.document is not None and foremost["document", row.document] < own:
            found[at] = f"about a document of a {SIDES[foremost['document', row.document]]} row"
        elif home in SIDES and SIDES.index(home) < own:
            found[at] = f"about a document of the corpus's {home} side"
    return found


def _documents(row: Given) -> list[tuple[str, str]]:
    return [("document", row.document)] if row.document else []


def _queries(places: Iterable[int], sides: Sequence[str]) -> pa.Table:
    return rows_table("queries", ({"query_id": str(at), "split": sides[at] or None} for at in places))


def _task_row(row: Given, side: str) -> TaskRow:
    return TaskRow(row.row_id, row.task, side, row.document, "given", row.messages, row.answer, row.evidence)


def _dropped(row: TaskRow, reason: str) -> Dropped:
    return Dropped(asked(row.messages), row.split, row.document, row.origin, reason)
