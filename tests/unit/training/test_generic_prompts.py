"""Generic prompts: what is drawn for whom, that training is otherwise the same, and which models have no use for it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from denizen.engine.errors import InputError
from denizen.retrievers.instruction import QueryPrompt
from denizen.retrievers.loading import load_encoder, locate
from denizen.training.bi_encoder import TrainingSet, train
from denizen.training.generic_prompts import check_generic, instructions, prompted
from denizen.training.near_base import Kept
from denizen.training.train import Training
from tests.tiny_models import tiny_llm
from tests.unit.training.test_bi_encoder import _data

QUICK = Training(epochs=3.0, batch_size=2, precision="fp32", learning_rate=1e-2, lora_rank=2)
FORM = QueryPrompt("", "own", "\nQuery: ")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # its tokens are bytes
    return locate(str(tiny_llm(tmp_path_factory.mktemp("llm"), tokens=256)))


def trained(tmp_path: Path, start: Path, data: TrainingSet, config: Training = QUICK) -> bytes:
    (tmp_path / "scratch").mkdir(parents=True, exist_ok=True)
    train(tmp_path / "out", start, data, config, None, None, tmp_path / "scratch")
    return (tmp_path / "out/model.safetensors").read_bytes()


def test_there_are_as_many_instructions_as_the_setting_allows_all_of_them_short_sentences() -> None:
    found = instructions(50)
    assert len(found) == len(set(found)) == 50 == len(instructions(1000))
    assert instructions(3) == found[:3]
    assert all(re.fullmatch(r"[A-Z][\w ,.;]+[.?]", line) and len(line) <= 80 for line in found)
    with pytest.raises(InputError, match="generic_prompts is 51; it must be between 0 and 50"):
        Training(generic_prompts=51)


def test_rows_share_out_the_instructions_and_the_seed_alone_decides() -> None:
    """Seven rows and three instructions are 3, 2 and 2 rows; of fewer rows than instructions each has its own."""
    queries = [f"query {row}" for row in range(7)]
    found = prompted(queries, ["a", "b", "c"], FORM, 1)
    assert [text.partition("\nQuery: ")[2] for text in found] == queries
    assert sorted(Counter(text[0] for text in found).values()) == [2, 2, 3]
    assert found == prompted(queries, ["a", "b", "c"], FORM, 1) != prompted(queries, ["a", "b", "c"], FORM, 2)
    # not in turn: neighbours in a table would get neighbours in the file
    assert [text[0] for text in prompted(queries * 9, ["a", "b", "c"], FORM, 1)] != list("abc" * 21)
    assert len({text[0] for text in prompted(queries[:2], ["a", "b", "c"], FORM, 1)}) == 2


def test_an_own_sentence_that_is_drawn_trains_as_the_prompt_itself(base: Path, tmp_path: Path) -> None:
    own = QueryPrompt.read(load_encoder(base).prompts["query"])
    assert own is not None
    usual = trained(tmp_path / "usual", base, _data())
    assert trained(tmp_path / "drawn", base, replace(_data(), instructions=[own.sentence])) == usual
    other = trained(tmp_path / "other", base, replace(_data(), instructions=instructions(2)))
    assert other != usual
    # what stands before is cut off last, as always
    short = replace(QUICK, max_tokens=70)
    both = (_data(), replace(_data(), instructions=[own.sentence]))
    cut = [trained(tmp_path / f"cut {at}", base, data, short) for at, data in enumerate(both)]
    assert cut[0] == cut[1] != usual


def test_what_is_saved_and_what_stays_near_the_base_have_the_models_own_prompt(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []
    original = SentenceTransformer.preprocess

    def preprocess(self: SentenceTransformer, texts: Any, prompt: str | None = None, **given: Any) -> Any:
        seen.extend(((prompt or ""), text) for text in texts)
        return original(self, texts, prompt=prompt, **given)

    monkeypatch.setattr(SentenceTransformer, "preprocess", preprocess)
    model = load_encoder(base)
    vectors = model.encode_query(["what is kept"])
    kept = Kept(["what is kept"], vectors, model.prompts["query"])
    seen.clear()
    trained(tmp_path, base, replace(_data(), instructions=instructions(4), kept=[kept]))
    assert SentenceTransformer(str(tmp_path / "out")).prompts == model.prompts
    near = {prompt for prompt, text in seen if text == "what is kept"}
    assert near == {model.prompts["query"]}
    asked = {(prompt, text) for prompt, text in seen if "Query: what is " in text}
    assert {prompt for prompt, _ in asked} == {""}
    # four rows, all instructions, and in every epoch the same
    assert {text.partition("\n")[0] for _, text in asked} == set(instructions(4)) and len(asked) == 4


def test_a_training_that_was_stopped_ends_with_the_same_bytes(base: Path, tmp_path: Path) -> None:
    data = replace(_data(), instructions=instructions(3))
    whole = trained(tmp_path, base, data)
    checkpoints = sorted(
        (tmp_path / "scratch/checkpoints").iterdir(), key=lambda path: int(path.name.rpartition("-")[2])
    )
    assert len(checkpoints) == 2
    (checkpoints[-1] / "complete").unlink()
    (tmp_path / "out").rename(tmp_path / "before")
    assert trained(tmp_path, base, data) == whole


def test_a_model_without_an_instruction_is_refused_with_the_remedy(
    tiny_encoder: Path, base: Path, tmp_path: Path
) -> None:
    config = replace(QUICK, generic_prompts=5)
    with pytest.raises(InputError, match=r"generic_prompts is 5, and tiny puts nothing before a query; .*prompts 0$"):
        check_generic(tiny_encoder, "tiny", config)
    check_generic(base, "llm", config)
    # "Given a query, retrieve the passages that answer it.\nQuery: " is 60 bytes, the longest of five 68
    with pytest.raises(InputError, match=r"max_tokens 60 leaves no token of a query beside '.*Query: '; raise"):
        check_generic(base, "llm", replace(config, max_tokens=60))
    model = load_encoder(base)
    model[1].include_prompt = False
    model.save_pretrained(str(tmp_path / "without"), create_model_card=False)
    with pytest.raises(InputError, match="llm leaves prompts out of its embeddings"):
        check_generic(tmp_path / "without", "llm", config)
