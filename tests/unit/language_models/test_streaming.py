"""Answers token by token, beside those that transformers' generate gives whole."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from denizen.language_models import streaming
from denizen.language_models.language_model import LanguageModel, conversation_tokens
from denizen.language_models.streaming import Decoding, Piece, context_length, stream
from tests.tiny_adapters import tiny_adapters
from tests.tiny_pair import tiny_pair

ARCHITECTURES = ("llama", "qwen3", "gemma3")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp(request.param)
    _, instruct = tiny_pair(folder, request.param)
    return LanguageModel(instruct, adapters={"own": tiny_adapters(folder / "own", instruct, 0, size=0.5)})


def said(model: LanguageModel, prompt: str, **decoding: object) -> list[Piece]:
    asked = conversation_tokens(model.tokenizer, prompt)
    return list(stream(model, asked, Decoding(**{"max_new_tokens": 12, **decoding})))  # type: ignore[arg-type]


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_it_says_what_generate_says_with_and_without_an_adapter(model: LanguageModel) -> None:
    found = set()
    for adapter in (None, "own"):
        with model.using(adapter):
            (whole,) = model.answers(["why does it rain"], 12)
            pieces = said(model, "why does it rain")
        assert text(pieces).strip() == whole.text
        assert (pieces[-1].finish == "stop") == whole.ended and {piece.finish for piece in pieces[:-1]} <= {None}
        assert [piece.tokens for piece in pieces] == list(range(1, len(pieces) + 1))
        asked = conversation_tokens(model.tokenizer, "why does it rain")
        with model.using(adapter):
            found.add(tuple(islice(streaming._tokens(model, asked, Decoding(12)), 12)))
    # the random weights of this one say one token for ever
    assert len(found) == 2 or model.model.config.model_type.startswith("gemma3")


def test_a_drawn_answer_is_the_same_by_the_same_seed_alone(model: LanguageModel) -> None:
    drawn = [text(said(model, "why", temperature=1.5, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    # of the most probable token alone nothing is drawn, and a temperature that is next to nothing draws it, too
    greedy = text(said(model, "why"))
    assert text(said(model, "why", temperature=1.5, top_p=1e-6, seed=3)) == greedy
    assert text(said(model, "why", temperature=1e-9, seed=3)) == greedy


def test_whoever_has_heard_enough_stops_the_work(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, forward, calls = conversation_tokens(model.tokenizer, "why"), model.model.forward, list[int]()
    monkeypatch.setattr(model.model, "forward", lambda **given: (calls.append(1), forward(**given))[1])
    heard = stream(model, asked, Decoding(100))
    assert len(list(islice(heard, 3))) == 3
    heard.close()  # type: ignore[attr-defined]
    assert len(calls) == 3


def test_the_context_is_that_of_the_configuration(model: LanguageModel) -> None:
    assert context_length(model) == 1024


@pytest.fixture
def speaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LanguageModel, list[int]]:
    """A model that says given tokens."""
    _, instruct = tiny_pair(tmp_path)
    told = list[int]()
    monkeypatch.setattr(streaming, "_tokens", lambda model, asked, decoding: iter(told))
    return LanguageModel(instruct), told


def test_letters_come_whole_and_stop_texts_do_not_come_at_all(speaker: tuple[LanguageModel, list[int]]) -> None:
    model, told = speaker
    tokenizer = AutoTokenizer.from_pretrained(model.folder)
    told[:] = tokenizer("naïve 東 STOP here", add_special_tokens=False)["input_ids"]
    pieces = said(model, "a", max_new_tokens=len(told))
    assert text(pieces) == "naïve 東 STOP here" and pieces[-1].finish == "length"
    # a letter of several bytes is several tokens here, and no piece has a part of one
    assert len(told) > len("naïve 東 STOP here") and not any("\ufffd" in piece.text for piece in pieces)
    pieces = said(model, "a", max_new_tokens=99, stop=("STOP", "never"))
    assert text(pieces) == "naïve 東 " and pieces[-1].finish == "stop"
    # what might have become one comes when it has not
    pieces = said(model, "a", max_new_tokens=len(told), stop=("STOPPED", "hereafter"))
    assert text(pieces) == "naïve 東 STOP here"
    # nothing is held back that cannot become one
    assert [piece.text for piece in said(model, "a", max_new_tokens=3, stop=("xyz",))][:2] == ["n", "a"]


def test_the_limit_cuts_a_letter_and_says_so(speaker: tuple[LanguageModel, list[int]]) -> None:
    model, told = speaker
    told[:] = model.tokenizer("東", add_special_tokens=False)["input_ids"]
    assert len(told) == 3
    pieces = said(model, "a", max_new_tokens=2)
    assert [piece.text for piece in pieces] == ["", "\ufffd"] and pieces[-1].finish == "length"


def test_no_gradients_are_kept_between_two_tokens(model: LanguageModel) -> None:
    """The generator rests between tokens, and what it switches on for one must not hold for others meanwhile."""
    heard = stream(model, conversation_tokens(model.tokenizer, "why"), Decoding(3))
    next(heard)
    assert not torch.is_inference_mode_enabled()
