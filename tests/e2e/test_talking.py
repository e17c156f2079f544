"""`chat` and `ask` on a language run: what is said, by whom, from which passages, and what is refused."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from denizen.answering import from_passages
from denizen.answering.from_passages import answer_from_passages, passages_to_search
from denizen.answering.speaker import Speaker, speaker_folders
from denizen.data.task_rows import Message
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.language_models.streaming import Decoding, Piece
from denizen.retrievers.searchable import FoundPassage
from tests.e2e.conftest import Command, Ended
from tests.language_run import language_run

WEATHER = {
    "d1": "Rain falls from clouds that are cold.",
    "d2": "Wind blows from the sea.",
    "d3": "Snow is frozen rain.",
}
Talk = Callable[..., Ended]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return language_run(tmp_path_factory.mktemp("language") / "weather")


@pytest.fixture(scope="module")
def speaker(run: Path) -> Speaker:
    return Speaker(speaker_folders(str(run)), bf16=False)


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    rows = [json.dumps({"_id": doc_id, "title": "", "text": text}) for doc_id, text in WEATHER.items()]
    (folder / "corpus.jsonl").write_text("\n".join(rows))
    return folder


@pytest.fixture
def talk(command: Command, run: Path, monkeypatch: pytest.MonkeyPatch) -> Talk:
    """Says some lines to `chat`."""

    def said(*lines: str, options: tuple[object, ...] = ()) -> Ended:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return command("chat", run, "--max-new-tokens", 8, *options)

    return said


def answer(speaker: Speaker, expert: str | None, *turns: tuple[str, str]) -> str:
    asked = speaker.tokens([Message(*turn) for turn in turns])
    return "".join(piece.text for piece in speaker.say(asked, expert, Decoding(8)))


def shown(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")


def test_a_conversation_is_remembered_until_it_is_to_be_forgotten(talk: Talk, speaker: Speaker) -> None:
    ended = talk("hello", "", "and then", "/new", "hello", "/quit", "never said")
    first = answer(speaker, "answering", ("user", "hello"))
    turns = (("user", "hello"), ("assistant", first.strip()), ("user", "and then"))
    second = answer(speaker, "answering", *turns)
    line = "[answering 75%] {} […]\n"
    assert ended.code == 0 and second != first
    assert ended.out.strip("\n") == "".join(line.format(shown(said)) for said in (first, second, first)).strip("\n")


def test_who_is_named_answers_and_a_system_is_told_first(talk: Talk, speaker: Speaker) -> None:
    for expert, own in (("structured", "structured"), ("residual", None)):
        ended = talk("hello", options=("--expert", expert, "--system", "Be short."))
        said = answer(speaker, own, ("system", "Be short."), ("user", "hello"))
        assert ended.out.startswith(f"[{expert}] {shown(said)} […]")
    ended = talk("hello", options=("--expert", "poet"))
    assert (ended.code, ended.out) == (2, "")
    assert "there is no expert 'poet'; there are residual, answering, structured" in ended.err


def test_an_interruption_ends_the_answer_and_not_the_conversation(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = list[bool]()

    def say(self: Speaker, asked: list[int], expert: str | None, decoding: Decoding) -> Iterator[Piece]:
        try:
            yield Piece("It \x1b[2Jrains", 1)
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    monkeypatch.setattr(Speaker, "say", say)
    ended = talk("hello", "again")
    # what a terminal would obey is not printed
    assert ended.code == 0 and ended.out.count("It [2Jrains [interrupted]\n") == 2 and closed == [True, True]


def test_the_oldest_is_left_out_and_what_is_too_long_is_told(talk: Talk, speaker: Speaker) -> None:
    turns = [Message("system", "s"), Message("user", "a" * 400), Message("assistant", "b"), Message("user", "c" * 400)]
    more = [*turns, Message("assistant", "d"), Message("user", "e" * 400)]
    assert speaker.recent(turns, 8) == turns
    assert speaker.recent(more, 8) == [turns[0], *more[3:]]
    assert speaker.recent(more, 400) == [turns[0], more[-1]]
    ended = talk("x" * 2000, "hello")
    assert "and the model reads and writes 1,024 in all, of which 8 are kept" in ended.err
    assert ended.code == 0 and ended.out.startswith("[answering 75%] ")


def test_a_question_is_answered_from_what_was_found(run: Path, docs: Path, command: Command, speaker: Speaker) -> None:
    ended = command("ask", run, docs, "what is frozen rain", "--json", "--max-new-tokens", 8)
    found = json.loads(ended.out)
    assert [passage["doc_id"] for passage in found["passages"]] == ["d3", "d1"]
    prompt = from_passages.grounded_prompt("what is frozen rain", [WEATHER["d3"], WEATHER["d1"]])
    assert found["answer"] == answer(speaker, "answering", ("user", prompt)).strip()
    assert found["expert"] == "answering" and found["finish"] == "length"
    ended = command("ask", run, docs, "what is frozen rain", "--top-k", 1, "--max-new-tokens", 8)
    lines = ended.out.splitlines()
    assert lines[-2:] == [" [1]  d3  Snow is frozen rain.", "the answer names none of them"]
    ended = command("ask", run, docs, "xylophone")
    assert ended.out.splitlines()[0] == "The passages do not say."
    assert "nothing was found in the documents, so the model was not asked; try other words" in ended.out


def test_citations_are_those_that_are_there(speaker: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [FoundPassage(at, 1.0, f"d{at}", "", text) for at, text in enumerate(WEATHER.values(), start=1)]
    said = [Piece("Rain [2], snow [3][2] and more [7].", 1), Piece("", 2, "stop")]
    monkeypatch.setattr(Speaker, "say", lambda *given: iter(said))
    told = answer_from_passages(speaker, found, "what falls", Decoding(8))
    assert (told.cited, told.unknown, told.finish) == ((2, 3), (7,), "stop")
    with pytest.raises(InputError, match="the question is blank"):
        answer_from_passages(speaker, found, " ", Decoding(8))


def test_of_more_than_the_model_reads_the_last_are_cut_and_left_out(
    speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()

    def say(self: Speaker, tokens: list[int], *given: object) -> Iterator[Piece]:
        asked.append(self.model.tokenizer.decode(tokens))
        return iter([Piece("x", 1, "stop")])

    monkeypatch.setattr(Speaker, "say", say)
    found = [FoundPassage(at, 1.0, f"d{at}", "", letter * 300) for at, letter in enumerate("abc", start=1)]
    told = answer_from_passages(speaker, found, "what", Decoding(8))
    (prompt,) = asked
    assert [passage.doc_id for passage in told.passages] == ["d1"] and "a" * 300 in prompt and "bbb" not in prompt
    # half of a passage is left where half of it is worth something
    told = answer_from_passages(speaker, [FoundPassage(1, 1.0, "d1", "", "a" * 900)], "what", Decoding(8))
    assert len(told.passages) == 1 and max(map(len, re.findall("a+", asked[-1]))) == 450
    with pytest.raises(InputError, match="leaves no room for a passage beside the question and an answer of 1,000"):
        answer_from_passages(speaker, found, "what", Decoding(1000))


def test_what_cannot_be_used_is_refused(run: Path, docs: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "other/corpus").mkdir(parents=True)
    for arguments, why in (
        (("ask", run, tmp_path, "x"), "holds no passages to search; give a run of adapt or language, a table"),
        (("ask", tmp_path / "nowhere", docs, "x"), "there is no such file or folder"),
        (("ask", run, docs, "rain", "--adapter", docs), "is a run, which has experts of its own"),
        (("chat", tmp_path / "other"), "is a run without a language model (it has no folder residual)"),
        (("chat", run / "residual", "--adapter", docs), "holds no adapters as PEFT writes them"),
    ):
        ended = command(*arguments)
        assert (ended.code, ended.out) == (2, "") and why in ended.err, ended.err


def test_a_model_with_its_adapter_answers_by_it(run: Path, docs: Path, speaker: Speaker) -> None:
    own = Speaker(speaker_folders(str(run / "residual"), run / "experts/structured"), bf16=False)
    assert own.expert([]) == ("structured", None)
    assert answer(own, "structured", ("user", "hello")) == answer(speaker, "structured", ("user", "hello"))


def test_a_table_is_searched_too_and_cut_where_it_is_long(docs: Path, tmp_path: Path) -> None:
    assert [each.doc_id for each in passages_to_search(docs, Silent()).search("wind")] == ["d2"]
    table = tmp_path / "weather.jsonl"
    text = "Sun shines. " * 300 + "Hail falls."
    table.write_text("".join(json.dumps({"id": at, "text": each}) + "\n" for at, each in enumerate((text, "Fog."))))
    (found,) = passages_to_search(table, Silent()).search("hail")
    assert found.parent_id == "0" and found.text.endswith("Hail falls.") and len(found.text) < len(text)
