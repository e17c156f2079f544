"""What readers of files yield: documents made of blocks, files found inside a file, and what could not be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

BlockKind = Literal["heading", "text", "list", "table"]


# times the budget of one file is that of a file with all that is inside: enough for a submission or a folder of mails
# that is slow throughout, while 10,000 members of a minute each would take a week
_WHOLE = 20


class UnreadableError(Exception):
    """A file, or a part of one, cannot be read; the message says why in words for its owner.

    Attributes:
        limit: Whether a larger limit would help.
    """

    def __init__(self, why: str, limit: bool = False) -> None:
        """Says why, and whether a larger limit would help."""
        super().__init__(why)
        self.limit = limit


@dataclass(frozen=True)
class Block:
    """A paragraph, heading, list or table, in reading order.

    Attributes:
        kind: What it is. A table's text has a line for each row, with " | " between the cells.
        text: Its text; never empty.
        level: Of a heading, from 1 (the document's title) to 6; otherwise 0.
        page: The page that it begins on, from 1; 0 where the format has no pages.
    """

    kind: BlockKind
    text: str
    level: int = 0
    page: int = 0


@dataclass(frozen=True)
class LeftOut:
    """A text of a document that is no part of what it says, such as a page's navigation.

    Attributes:
        text: The text.
        reason: Why it is left out.
    """

    text: str
    reason: str


@dataclass
class Document:
    """One document: mostly a whole file, sometimes a row, a sheet or a part of one.

    Attributes:
        blocks: Its content, in reading order.
        name: What sets it apart within its file, such as a row's id; "" where it is the file.
        title: As the file gives it; "" where it does not.
        domain: As the file gives it (a filing's form type, a row's column `domain`); "" otherwise.
        metadata: Facts that the file states of it, by short lower-case names such as `author` or `period`.
        language: Two letters, filled in after reading; "" where it is not known.
        repaired: How many of its blocks had their encoding mended.
        left_out: What its reader has passed over, in reading order.
    """

    blocks: list[Block]
    name: str = ""
    title: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    language: str = ""
    repaired: int = 0
    left_out: list[LeftOut] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The document as JSON keeps it."""
        blocks = [[block.kind, block.text, block.level, block.page] for block in self.blocks]
        left_out = [[item.text, item.reason] for item in self.left_out]
        listed = ("blocks", "left_out")
        facts = {spec.name: getattr(self, spec.name) for spec in dataclasses.fields(self) if spec.name not in listed}
        return {**facts, "blocks": blocks, "left_out": left_out}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Document:
        """The document that `as_dict` was made of."""
        facts = {name: value for name, value in found.items() if name not in ("blocks", "left_out")}
        left_out = [LeftOut(*item) for item in found.get("left_out", ())]
        return cls(blocks=[Block(*block) for block in found["blocks"]], left_out=left_out, **facts)


@dataclass(frozen=True)
class Member:
    """A file inside a file (of an archive, a mail, a submission), unpacked for reading.

    Attributes:
        name: Its path inside, with "/" between the parts.
        path: Where its bytes lie for as long as the reader does not go on.
        metadata: Facts that the outer file states of it; they are added to those of its documents.
        domain: As the outer file gives it; "" otherwise.
    """

    name: str
    path: Path
    metadata: dict[str, str] = field(default_factory=dict)
    domain: str = ""


@dataclass(frozen=True)
class Failure:
    """A part of a file that could not be read, while the rest could.

    Attributes:
        name: What it is within its file, such as "line 12" or a member's path; "" for the file itself.
        error: Why, in words for its owner.
        raw: How it begins, where that is text.
        limit: Whether one of `Limits` has cut it off, so that a larger one would help.
    """

    name: str
    error: str
    raw: str = ""
    limit: bool = False


@dataclass(frozen=True)
class Limits:
    """How much a file may ask for; what goes beyond is not read, and is a `Failure`.

    A file inside a file has `seconds` and `characters` of its own, up to the totals for the file around all.

    Attributes:
        seconds: Of processor and of wall time, for one file.
        memory_mb: Of the process that reads.
        characters: Of the text of one file.
        pages: Of a PDF, or sheets and slides of an office file.
        members: Files inside a file.
        unpacked_mb: What all members of a file may take when they are unpacked.
        depth: Files inside files inside files.
    """

    seconds: float = 60.0
    memory_mb: int = 1024
    characters: int = 50_000_000
    pages: int = 5_000
    members: int = 10_000
    unpacked_mb: int = 1024
    depth: int = 4

    @property
    def total_seconds(self) -> float:
        """For one file with all that is inside."""
        return _WHOLE * self.seconds

    @property
    def total_characters(self) -> int:
        """Of the text of one file with all that is inside."""
        return _WHOLE * self.characters

    @property
    def out_of_time(self) -> str:
        """What is said of a file that takes longer."""
        return f"took longer than {self.seconds:g} s (--timeout)"

    @property
    def out_of_total_time(self) -> str:
        """What is said of a file that takes longer with all that is inside."""
        return f"took longer than {self.total_seconds:g} s with all files inside ({_WHOLE} times --timeout)"

    @property
    def out_of_memory(self) -> str:
        """What is said of a file that takes more memory."""
        return f"needed more than {self.memory_mb} MB (--memory-mb)"
