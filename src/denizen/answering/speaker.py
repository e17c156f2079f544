"""What a finished run answers with: a model in memory, its experts as adapters over it, and the router between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from denizen.answering.router import Router
from denizen.data.task_rows import EXPERTS, Message
from denizen.engine.errors import InputError
from denizen.language_models.language_model import LanguageModel, conversation_tokens
from denizen.language_models.locating import locate_language_model
from denizen.language_models.streaming import Decoding, Piece, context_length, stream

# what the model under the experts is called where one is named
RESIDUAL = "residual"
_ADAPTER, _ROUTER = "adapter_config.json", "router.json"


@dataclass(frozen=True)
class SpeakerFolders:
    """Where the parts of it lie.

    Attributes:
        model: A causal language model.
        adapters: Name to folder of the experts over it.
        router: What says which expert answers; None: nothing does.
    """

    model: Path
    adapters: Mapping[str, Path] = field(default_factory=dict)
    router: Path | None = None

    @property
    def parts(self) -> list[Path]:
        """All folders."""
        return [self.model, *self.adapters.values(), *([self.router] if self.router else [])]


def is_language_run(folder: Path) -> bool:
    """Whether a folder is a run of `language` whose model is made."""
    return (folder / RESIDUAL / "config.json").is_file()


def speaker_folders(name: str, adapter: Path | None = None) -> SpeakerFolders:
    """What a name answers with.

    Args:
        name: A run of `language`, or a model as of `locate_language_model`.
        adapter: Adapters of the model, by which it answers; not with a run, which has its own.

    Raises:
        InputError: When there is no such model.
    """
    folder = Path(name).expanduser()
    if not is_language_run(folder):
        if (folder / "metrics.json").is_file() or (folder / "corpus").is_dir():
            raise InputError(
                f"{name} is a run without a language model (it has no folder {RESIDUAL}); give a run of denizen "
                "language, finished so far, or the folder of a causal language model"
            )
        own = {} if adapter is None else {adapter.resolve().name: adapter}
        return SpeakerFolders(locate_language_model(name), own)
    if adapter is not None:
        raise InputError(f"{name} is a run, which has experts of its own; give --expert, or {name}/{RESIDUAL}")
    experts = {each: folder / "experts" / each for each in EXPERTS}
    adapters = {each: place for each, place in experts.items() if (place / _ADAPTER).is_file()}
    router = folder / "router"
    return SpeakerFolders(folder / RESIDUAL, adapters, router if (router / _ROUTER).is_file() else None)


class Speaker:
    """A model that answers, in memory; for one conversation at a time, and one thread.

    Args:
        folders: Its parts.
        bf16: Whether it computes in bf16.

    Raises:
        InputError: When a part cannot be loaded, or they do not belong together.
    """

    def __init__(self, folders: SpeakerFolders, bf16: bool) -> None:
        self.model = LanguageModel(folders.model, bf16, folders.adapters)
        self.router = Router.load(folders.router, self.model) if folders.router else None
        self.context = context_length(self.model)
        # everything is there before somebody waits for an answer
        for name in folders.adapters:
            with self.model.using(name):
                pass

    @property
    def experts(self) -> tuple[str, ...]:
        """The names of its adapters."""
        return tuple(self.model.adapters)

    def expert(self, turns: Sequence[Message], named: str | None = None) -> tuple[str | None, float | None]:
        """Which expert answers, and how probable the router finds it.

        Without a router the only adapter does; of several, none.

        Args:
            turns: What is asked.
            named: The expert that is to answer, or "residual"; None: the router says it.

        Returns:
            None for the model alone; None as the probability where nobody had to choose.

        Raises:
            InputError: When there is no such expert.
        """
        if named is not None:
            if named not in (RESIDUAL, *self.experts):
                raise InputError(f"there is no expert {named!r}; there are {', '.join((RESIDUAL, *self.experts))}")
            return (None if named == RESIDUAL else named), None
        if self.router is None:
            return (self.experts[0] if len(self.experts) == 1 else None), None
        found, confidence = self.router.route(turns)
        return (found, confidence) if found in self.experts else (None, confidence)

    def tokens(self, turns: Sequence[Message]) -> list[int]:
        """What the model reads of turns.

        Raises:
            InputError: When its chat template does not take them.
        """
        return conversation_tokens(self.model.tokenizer, turns)

    def say(self, asked: Sequence[int], expert: str | None, decoding: Decoding) -> Iterator[Piece]:
        """An answer, a piece for each token; to be closed where it is not heard to its end.

        Args:
            asked: As of `tokens`.
            expert: Who answers, as of `expert`.
            decoding: How.
        """
        with self.model.using(expert):
            yield from stream(self.model, asked, decoding)

    def recent(self, turns: Sequence[Message], most_new: int) -> list[Message]:
        """The turns of a conversation that leave room for an answer; the oldest exchanges are left out.

        Args:
            turns: All of it; a system's turn first, where there is one, stays.
            most_new: Tokens of the answer.

        Raises:
            InputError: When the last turn alone is too long.
        """
        first = [turn for turn in turns[:1] if turn.role == "system"]
        rest = list(turns[len(first) :])
        while self.context is not None and (count := len(self.tokens([*first, *rest]))) + most_new > self.context:
            # the next one that a user begins
            begin = next((at for at, turn in enumerate(rest) if at and turn.role == "user"), None)
            if begin is None:
                raise InputError(
                    f"this has {count:,} tokens, and the model reads and writes {self.context:,} in all, of which "
                    f"{most_new:,} are kept for its answer; ask for less at a time"
                )
            rest = rest[begin:]
        return [*first, *rest]
