"""An answer of a causal language model token by token, as somebody waits for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from denizen.language_models.language_model import LanguageModel, end_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# the end of a text whose last letter is not whole yet
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
# below it the most probable token is drawn as good as always, and logits divided by it are beyond any float
_COLDEST = 1e-3

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Decoding:
    """How an answer is drawn.

    Attributes:
        max_new_tokens: Its tokens at most.
        temperature: What logits are divided by; 0: the most probable token is taken each time.
        top_p: Only the most probable tokens that together have this probability are drawn from.
        seed: Of the draw.
        stop: The answer ends before the first of these texts.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """What a token has brought.

    Attributes:
        text: The text that is certain since; empty while a letter, or what may be a stop text, is not whole.
        tokens: How many have come so far, with the one that ends the answer.
        finish: With the last piece: "stop" where the model has ended its answer or a stop text came, "length" where
            the limit on tokens did; None before.
    """

    text: str
    tokens: int
    finish: Finish | None = None


def stream(model: LanguageModel, asked: Sequence[int], decoding: Decoding) -> Iterator[Piece]:
    """An answer, a piece for each token; whoever has heard enough closes the iterator.

    Args:
        model: What answers, with the adapter that is in use (`LanguageModel.using`) for each piece.
        asked: The tokens before it, as of `conversation_tokens`.
        decoding: How it is drawn.
    """
    ends, said = set(end_tokens(model.model, model.tokenizer)), _Said(model.tokenizer, decoding.stop)
    for count, token in enumerate(_tokens(model, asked, decoding), start=1):
        if token in ends:
            yield Piece(said.rest(), count, "stop")
            return
        text = said.with_token(token)
        if said.stopped:
            yield Piece(text, count, "stop")
            return
        if count == decoding.max_new_tokens:
            yield Piece(text + said.rest(), count, "length")
            return
        yield Piece(text, count)


def context_length(model: LanguageModel) -> int | None:
    """How many tokens a model reads and writes in all; None where its configuration does not say."""
    config: Any = model.model.config
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(found) if found else None


def _tokens(model: LanguageModel, asked: Sequence[int], decoding: Decoding) -> Iterator[int]:
    """Without an end."""
    import torch

    device = model.model.device
    random = torch.Generator(device).manual_seed(decoding.seed)
    given, past = torch.tensor([list(asked)], device=device), None
    while True:
        # what both of these switch on holds for a thread, and between two tokens another one may come
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=model.bf16):
            found: Any = model.model(input_ids=given, past_key_values=past, use_cache=True, logits_to_keep=1)
            given, past = _drawn(found.logits[:, -1].float(), given, decoding, random), found.past_key_values
        yield int(given.item())


def _drawn(logits: Any, given: Any, decoding: Decoding, random: Any) -> Any:
    """The next token, shape (1, 1)."""
    import torch
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    if decoding.temperature < _COLDEST:
        return logits.argmax(1, keepdim=True)
    logits = TemperatureLogitsWarper(float(decoding.temperature))(given, logits)
    if decoding.top_p < 1:
        logits = TopPLogitsWarper(float(decoding.top_p))(given, logits)
    return torch.multinomial(logits.softmax(1), 1, generator=random)


class _Said:
    """The text of an answer as far as it is certain.

    A token may be a part of a letter, and whether it begins with a space depends on the one before it; so a few tokens
    are read together, and what the last ones have added is what is new.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str]) -> None:
        self.stopped = False
        self._tokenizer, self._stop = tokenizer, [text for text in stop if text]
        self._tokens: list[int] = []
        # where what is read together begins, and where what is not certain does
        self._begin = self._certain = 0
        self._held = ""

    def with_token(self, token: int) -> str:
        """What is certain since a token has come."""
        self._tokens.append(token)
        new = self._new()
        if not new or new.endswith(_UNFINISHED):
            return ""
        self._begin, self._certain = self._certain, len(self._tokens)
        return self._before_stop(self._held + new)

    def rest(self) -> str:
        """What is left when no further token comes."""
        return self._held + self._new()

    def _new(self) -> str:
        before, whole = (self._text(self._tokens[self._begin : end]) for end in (self._certain, None))
        return whole[len(before) :]

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _before_stop(self, text: str) -> str:
        """A text up to the first stop text, and without an end that may become one, which is held back."""
        self._held = ""
        places = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if places:
            self.stopped = True
            return text[: min(places)]
        longest = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - longest :]
        return text[: len(text) - longest]


def _overlap(text: str, stop: str) -> int:
    """How many letters at the end of a text are those that a stop text begins with; not all of them."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
