"""A question answered from passages of the same domain, whose numbers the answer names as citations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from denizen.answering.speaker import Speaker
from denizen.data.formats.beir import is_beir_folder
from denizen.data.formats.documents import read_documents
from denizen.data.formats.rows import TABLES
from denizen.data.passages import cut, keep_whole, ordered
from denizen.data.prepare import Dividing
from denizen.data.tables import read_table
from denizen.data.task_rows import Message
from denizen.engine.errors import InputError
from denizen.engine.progress import Progress
from denizen.language_models.streaming import Decoding, Finish
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.searchable import CORPUS, RETRIEVER, FoundPassage, SearchableCorpus, is_searchable
from denizen.tasks.grounding import UNANSWERED, grounded_prompt

# what a run keeps its passages as, and what ingest writes
_PASSAGES = ("corpus/corpus.parquet", "corpus.parquet")
# letters of a passage below which it is left out rather than cut
_SHORTEST = 200
_CITATION = re.compile(r"\[(\d+)\]")
# who is asked where there is such an expert: what comes is a question
_EXPERT = "answering"


@dataclass(frozen=True)
class Grounded:
    """An answer and what it was given.

    Attributes:
        question: What was asked.
        answer: The answer; where nothing was found, that the passages do not say.
        finish: As of a `Piece`; None where nothing was found and nobody asked.
        expert: Who answered; None: the model alone, or nobody.
        passages: What was shown, number 1 first.
        cited: The numbers of passages that the answer names, in their order there.
        unknown: The numbers that it names and that no passage has.
    """

    question: str
    answer: str
    finish: Finish | None
    expert: str | None
    passages: tuple[FoundPassage, ...]
    cited: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()


def answer_from_passages(
    speaker: Speaker, found: Sequence[FoundPassage], question: str, decoding: Decoding, expert: str | None = None
) -> Grounded:
    """Answers a question from passages.

    Of more than the model reads, the last are cut, then left out.

    Args:
        speaker: What answers.
        found: The passages, best first.
        question: The question.
        decoding: How the answer is drawn; so many tokens are left free for it.
        expert: Who is to answer; None: the answering one, and without it whom the router names.

    Raises:
        InputError: When the question is blank or too long, or there is no such expert.
    """
    if not question.strip():
        raise InputError("the question is blank; give one with words")
    if not found:
        return Grounded(question, UNANSWERED, None, None, ())
    shown, asked = _fitting(speaker, found, question, decoding.max_new_tokens)
    named = expert or (_EXPERT if _EXPERT in speaker.experts else None)
    chosen, _ = speaker.expert([Message("user", question)], named)
    pieces = list(speaker.say(asked, chosen, decoding))
    answer = "".join(piece.text for piece in pieces).strip()
    numbers = tuple(dict.fromkeys(int(number) for number in _CITATION.findall(answer)))
    cited = tuple(number for number in numbers if 1 <= number <= len(shown))
    unknown = tuple(number for number in numbers if number not in cited)
    return Grounded(question, answer, pieces[-1].finish, chosen, tuple(shown), cited, unknown)


def passages_to_search(place: Path, progress: Progress) -> SearchableCorpus:
    """What a folder lets one search: the retriever of a run, or BM25 over passages without one.

    Args:
        place: A run of adapt, a saved retriever with its corpus, a run of language, what ingest made, a table,
            or a BEIR folder.
        progress: Is shown bars where passages have to be indexed.

    Raises:
        InputError: When it is none of these.
    """
    if is_searchable(place / RETRIEVER) or is_searchable(place):
        return SearchableCorpus.load(place, progress)
    kept = next((place / name for name in _PASSAGES if (place / name).is_file()), None)
    if kept is not None:
        corpus = ordered(read_table(kept, CORPUS))
    elif is_beir_folder(place) or place.name.lower().endswith(TABLES):
        source = read_documents(str(place))
        documents = source.documents
        if source.cut:
            documents, _ = cut(documents, source.qrels, Dividing().passage_chars)
        corpus = ordered(keep_whole(documents))
    else:
        raise InputError(
            f"{place} holds no passages to search; give a run of adapt or language, a table, a BEIR folder, or what "
            "`denizen ingest FILES --out FOLDER` makes of files"
        )
    retriever = BM25.fitting(corpus)
    return SearchableCorpus(retriever, corpus, retriever.index(corpus, progress))


def _fitting(
    speaker: Speaker, found: Sequence[FoundPassage], question: str, most_new: int
) -> tuple[list[FoundPassage], list[int]]:
    """As many passages as leave room for the answer, and what the model is asked, in tokens."""
    shown, last = list(found), ""
    while shown:
        texts = [_text(passage) for passage in shown]
        if last:
            texts[-1] = last
        asked = speaker.tokens([Message("user", grounded_prompt(question, texts))])
        if speaker.context is None or len(asked) + most_new <= speaker.context:
            return shown, asked
        last = texts[-1][: len(texts[-1]) // 2]
        if len(last) < _SHORTEST:
            shown, last = shown[:-1], ""
    raise InputError(
        f"the model reads and writes {speaker.context:,} tokens in all, which leaves no room for a passage beside the "
        f"question and an answer of {most_new:,} tokens; ask for fewer"
    )


def _text(passage: FoundPassage) -> str:
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text
