"""A language model in service: one answer at a time, a token in each turn of the thread that computes."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from denizen.answering.speaker import Speaker, SpeakerFolders, is_language_run, speaker_folders
from denizen.data.task_rows import Message
from denizen.engine.files import json_digest
from denizen.language_models.streaming import Decoding, Piece
from denizen.retrievers.model_folder import is_llm
from denizen.retrievers.model_ref import model_digest
from denizen.serve.errors import ApiError
from denizen.serve.served import weights_in

# before an answer has been timed
_SECONDS = 10.0


@dataclass(frozen=True)
class Turn:
    """An answer that is being given.

    Attributes:
        expert: Who answers; None: the model alone.
        pieces: What is said, as it comes.
    """

    expert: str | None
    pieces: AsyncIterator[Piece]


class Speaking:
    """A language model in service.

    Args:
        name: What clients call it.
        folders: Its parts.
        thread: Where all that computes is done: the cores are not shared by two.
        most_waiting: Answers that may wait for the one that is given.

    Raises:
        InputError: When its parts cannot be loaded.
    """

    def __init__(self, name: str, folders: SpeakerFolders, thread: ThreadPoolExecutor, most_waiting: int) -> None:
        from denizen.retrievers.backends import use_bf16

        self.name, self.thread, self.digest = name, thread, digest_of(folders)
        self.bytes = sum(map(weights_in, folders.parts))
        self.speaker = Speaker(folders, use_bf16("auto"))
        self.waiting = 0
        self._most, self._seconds = most_waiting, _SECONDS
        self._turn = asyncio.Lock()

    async def tokens(self, turns: Sequence[Message]) -> list[int]:
        """What the model reads of turns.

        Raises:
            InputError: When its chat template does not take them.
        """
        # a tokenizer is not for two threads
        return await asyncio.get_running_loop().run_in_executor(self.thread, self.speaker.tokens, turns)

    def check(self) -> None:
        """Whether another answer may wait.

        Raises:
            ApiError: When too many do.
        """
        if self.waiting > self._most:
            seconds = max(1, math.ceil(self.waiting * self._seconds))
            raise ApiError(
                429, f"{self._most} answers wait, and no more may; ask again in {seconds} s", retry_after=seconds
            )

    @contextlib.asynccontextmanager
    async def answering(
        self, turns: Sequence[Message], asked: Sequence[int], expert: str | None, decoding: Decoding
    ) -> AsyncIterator[Turn]:
        """Waits for its turn, and gives an answer for as long as this context lasts.

        Args:
            turns: What is asked.
            asked: The same as tokens.
            expert: Who is to answer; None: the router says it.
            decoding: How it is drawn.

        Raises:
            ApiError: When too many wait.
            InputError: When there is no such expert.
        """
        self.check()
        self.waiting += 1
        try:
            async with self._turn:
                loop, begun = asyncio.get_running_loop(), time.perf_counter()
                chosen, _ = await loop.run_in_executor(self.thread, self.speaker.expert, turns, expert)
                said = self.speaker.say(asked, chosen, decoding)
                try:
                    yield Turn(chosen, self._pulled(said))
                    self._seconds += (time.perf_counter() - begun - self._seconds) / 8
                finally:
                    # behind the token that may be computed just now, whose thread alone may close it
                    with contextlib.suppress(RuntimeError):
                        await loop.run_in_executor(self.thread, said.close)  # type: ignore[attr-defined]
        finally:
            self.waiting -= 1

    async def _pulled(self, said: Iterator[Piece]) -> AsyncIterator[Piece]:
        loop = asyncio.get_running_loop()
        while (piece := await loop.run_in_executor(self.thread, next, said, None)) is not None:
            yield piece


def digest_of(folders: SpeakerFolders) -> str:
    """What all parts together are."""
    return json_digest([model_digest(folder) for folder in folders.parts])


def answering_in(name: str) -> SpeakerFolders | None:
    """The parts of what a name stands for, if it is a language model; None: it is not, or it is not here.

    Raises:
        InputError: When it is one, and its files cannot be used.
    """
    path = Path(name).expanduser()
    return speaker_folders(name) if is_language_run(path) or (path.exists() and is_llm(path)) else None
