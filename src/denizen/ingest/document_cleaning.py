"""Cleaning of documents: encoding mended, invisible characters and personal data taken out, the language told."""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from denizen.ingest.document import Document
from denizen.ingest.language import detected_language
from denizen.ingest.personal_data import PersonalData

# text that needs no mending, which is most: printable ASCII, tabs, line breaks, and what print adds to them
_PLAIN = re.compile("[\t\n -~\u00a0©®§°‘’“”–—•…™☐☒]*")
# what takes no room and no part in a word: soft hyphens, blanks of no width, marks of direction, tag characters
# (which can carry text that nobody sees)
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\U000e0000-\U000e007f]")
# the joiners belong to the spelling of Persian and of Indic scripts and to emoji; beside Latin letters, digits and
# blanks they are noise
_JOINERS = re.compile("(?<=[\x00-\u024f])[\u200c\u200d]+|[\u200c\u200d]+(?=[\x00-\u024f]|\\Z)")
# facts of a document that are people; a name alone has no "From:" before it that would show it as one
_PEOPLE = frozenset({"author", "from", "to", "cc", "bcc", "sender"})
# of a language tag such as "de-AT" the language; "deu" is none of two letters
_STATED_LANGUAGE = re.compile(r"[A-Za-z]{2}(?![A-Za-z])")


@dataclass(frozen=True)
class CleaningSettings:
    """How documents are cleaned.

    Attributes:
        personal_data: Whether e-mail addresses, telephone, social security, card and account numbers are replaced.
        names: Whether names are, too, where a title or the form of a letter shows them; needs `personal_data`.
        country: Where telephone numbers without "+" are from, as two letters (ISO 3166).
    """

    personal_data: bool = True
    names: bool = False
    country: str = "US"

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON keeps them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> CleaningSettings:
        """The settings that `as_dict` was made of."""
        return cls(**found)


class DocumentCleaner:
    """Cleans one document after another; what it knows of one does not change the next."""

    def __init__(self, settings: CleaningSettings, secret: bytes) -> None:
        """Prepares the cleaning.

        Args:
            settings: What is cleaned.
            secret: The key of the labels that replace personal data.

        Raises:
            InputError: If the settings name no country.
            ValueError: If the secret is empty.
        """
        self._personal = PersonalData(secret, settings.country, settings.names) if settings.personal_data else None

    @property
    def counts(self) -> Counter[str]:
        """How often each kind of personal data was replaced, in all documents so far."""
        return self._personal.counts if self._personal else Counter()

    def clean(self, document: Document) -> Document:
        """A clean copy; blocks of which nothing is left are left out.

        The language is always told, as it takes a millisecond: from the text, and as the document states it (in
        its metadata as `lang`) where the text is too short for that.
        """
        mended = [mended_text(block.text) for block in document.blocks]
        texts = [text for text, _ in mended]
        blocks = [
            replace(block, text=self._replaced(text))
            for block, text in zip(document.blocks, texts, strict=True)
            if text.strip()
        ]
        return Document(
            blocks=blocks,
            name=self._fact(document.name),
            title=self._fact(document.title),
            domain=self._fact(document.domain),
            metadata={self._fact(name): self._fact(value, name) for name, value in document.metadata.items()},
            language=detected_language("\n".join(texts)) or document.language or _stated_language(document),
            repaired=document.repaired + sum(repaired for _, repaired in mended),
            left_out=[replace(item, text=self._fact(item.text)) for item in document.left_out],
        )

    def _replaced(self, text: str) -> str:
        return self._personal.replaced(text) if self._personal else text

    def _fact(self, value: str, name: str = "") -> str:
        text, _ = mended_text(value)
        if not name or not text:
            return self._replaced(text)
        # what a number is can often be told by its name alone, as with "ssn"
        shown = "From: " if name in _PEOPLE else f"{self._fact(name)}: "
        found = self._replaced(shown + text)
        return found.removeprefix(shown) if found.startswith(shown) else self._replaced(text)


def _stated_language(document: Document) -> str:
    found = _STATED_LANGUAGE.match(document.metadata.get("lang", "").strip())
    return found.group().lower() if found else ""


def mended_text(text: str) -> tuple[str, bool]:
    """The text with its encoding mended and without invisible characters, and whether the encoding was wrong.

    Quotes, ligatures, the width of letters and HTML entities stay as they are. Characters are composed (NFC), lines end
    with a line feed, and control characters are taken out.
    """
    import ftfy

    if _PLAIN.fullmatch(text):
        return text, False
    mended, repaired = text, False
    fixed = ftfy.fix_text(text, _fixes(encoding=True))
    if fixed != text:
        mended, repaired = fixed, fixed != ftfy.fix_text(text, _fixes(encoding=False))
    # only now, as a soft hyphen can be half of a letter in a wrong encoding
    visible = _JOINERS.sub("", _INVISIBLE.sub("", mended))
    return (visible if visible == mended else unicodedata.normalize("NFC", visible)), repaired


@functools.cache
def _fixes(encoding: bool) -> Any:
    from ftfy import TextFixerConfig

    return TextFixerConfig(
        unescape_html=False,
        fix_encoding=encoding,
        fix_c1_controls=encoding,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        explain=False,
    )
