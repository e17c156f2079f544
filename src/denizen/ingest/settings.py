"""The settings of `ingest`: every one with its default, its bounds, and the reason or source of the default."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

from denizen.engine.errors import InputError
from denizen.engine.settings import Params, setting


@dataclass(frozen=True)
class IngestConfig(Params):
    """Settings that turn files into a corpus."""

    paths: tuple[str, ...] = setting(MISSING, "Files and folders; of a folder all files that are not hidden.")

    # 500-1000 characters is what arXiv 2512.08088 (section III) uses for filings
    passage_chars: int = setting(
        1000,
        "Longest passage, in characters.",
        least=100,
        most=1_000_000,
        panel="Passages",
    )
    passage_tokens: int = setting(
        0,
        "Longest passage in tokens of the tokenizer, instead of characters; 0: characters.",
        least=0,
        most=1_000_000,
        panel="Passages",
    )
    tokenizer: str = setting(
        "all-MiniLM-L6-v2",
        "Whose tokens are counted: a model's folder, its tokenizer.json, or its id.",
        panel="Passages",
    )

    personal_data: bool = setting(
        True, "Replace e-mail addresses, phone, social security, card and account numbers by labels.", panel="Cleaning"
    )
    person_names: bool = setting(
        False,
        "Replace names behind a title or in an address line, too.",
        panel="Cleaning",
    )
    country: str = setting(
        "US", "Country whose phone numbers are known without a country code, as two letters.", panel="Cleaning"
    )
    repeated_lines: bool = setting(
        True,
        "Take out short lines that repeat over many documents.",
        panel="Cleaning",
    )
    languages: tuple[str, ...] = setting(
        (), "Keep documents in this language only, as two letters.", metavar="CODE", panel="Cleaning"
    )
    # shorter than any sentence that answers something
    min_letters: int = setting(
        40,
        "Drop documents with fewer letters.",
        least=1,
        most=1_000_000,
        panel="Cleaning",
    )
    # the default of adapt
    near_duplicate: float = setting(
        0.9,
        "Similarity (idf-weighted Jaccard) from which two texts are near-duplicates.",
        least=0.8,
        most=1.0,
        panel="Cleaning",
    )

    docling: bool = setting(
        False, "Read DOCX, PPTX and HTML with docling (extra: docling), without models.", panel="Reading"
    )
    # a filing of 600 pages takes about ten seconds
    timeout: float = setting(
        60.0,
        "Seconds that reading one file may take.",
        least=0.1,
        most=86_400,
        panel="Reading",
    )
    memory_mb: int = setting(
        1024, "Memory that reading one file may take, in MiB.", least=128, most=1 << 20, panel="Reading"
    )
    workers: int = setting(
        0,
        "Files read at a time; 0: one a core.",
        least=0,
        most=1024,
        panel="Reading",
    )

    def __post_init__(self) -> None:
        """Checks every value.

        Raises:
            InputError: When one is out of its bounds, or no language or country.
        """
        super().__post_init__()
        # en and US, however they were written
        object.__setattr__(self, "languages", tuple(name.lower() for name in self.languages))
        object.__setattr__(self, "country", self.country.upper())
        if not self.paths:
            raise InputError("no path is given; give files or folders")
        for name in (*self.languages, self.country):
            if len(name) != 2 or not name.isalpha() or not name.isascii():
                raise InputError(f"{name!r} is not a language or country of two letters, such as en or US")


# may differ when a corpus is brought up to date: they change where and how it works, not what comes out
WITHOUT_EFFECT = ("timeout", "memory_mb", "workers")
