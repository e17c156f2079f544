"""Likelihoods and answers, beside what transformers computes for one text alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from denizen.data.task_rows import Message
from denizen.engine.errors import InputError
from denizen.language_models import language_model
from denizen.language_models.language_model import LanguageModel, conversation_tokens, end_tokens, load_causal_lm
from denizen.language_models.locating import locate_language_model
from denizen.language_models.stopping import count_ended
from tests.tiny_gguf import tiny_gguf
from tests.tiny_models import tiny_llm, tiny_model
from tests.tiny_pair import END, tiny_pair

ARCHITECTURES = ("llama", "qwen3", "gemma3")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny_pair(tmp_path_factory.mktemp(request.param), request.param)


def test_likelihoods_are_those_of_each_row_alone(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = AutoModelForCausalLM.from_pretrained(pair[0])
    rows = [[5, 6, 7, 8, 9], [9, 8], [3, 4, 5], [100, 101, 102, 103, 104, 105, 106, 107]]
    wanted = [
        -model(input_ids=torch.tensor([row]), labels=torch.tensor([row])).loss.item() * (len(row) - 1) for row in rows
    ]
    assert LanguageModel(pair[0]).log_likelihoods(rows) == pytest.approx(wanted, rel=1e-4)
    # a batch of what memory has room for: a row each
    monkeypatch.setattr(language_model, "_LOGITS", 1)
    assert LanguageModel(pair[0]).log_likelihoods(rows) == pytest.approx(wanted, rel=1e-4)
    assert LanguageModel(pair[0]).log_likelihoods([]) == []


def test_answers_are_those_of_greedy_decoding_of_each_prompt_alone(pair: tuple[Path, Path]) -> None:
    asked, model = ["a", "a question that is somewhat longer"], AutoModelForCausalLM.from_pretrained(pair[1])
    found = LanguageModel(pair[1])
    for prompt, answer in zip(asked, found.answers(asked, 6), strict=True):
        ids = torch.tensor([conversation_tokens(found.tokenizer, prompt)])
        for _ in range(6):
            ids = torch.cat([ids, model(input_ids=ids).logits[:, -1:].argmax(2)], 1)
            if ids[0, -1] == 1:
                break
        assert answer.ended == (ids[0, -1].item() == 1)
        said = ids[0, len(conversation_tokens(found.tokenizer, prompt)) :]
        assert answer.text == found.tokenizer.decode(said, skip_special_tokens=True).strip()


def test_an_answer_ends_where_its_model_says(tmp_path: Path) -> None:
    """A model whose head likes one token above all: the end of a turn, or a letter."""
    _, instruct = tiny_pair(tmp_path)
    model, tokenizer = (kind.from_pretrained(instruct) for kind in (AutoModelForCausalLM, AutoTokenizer))
    end, letter = tokenizer.convert_tokens_to_ids(END), tokenizer("x")["input_ids"][0]
    for token, ended, text in ((end, True, ""), (letter, False, "xxxx")):
        with torch.no_grad():
            # the last norm makes what is above it of one sign and size
            model.model.norm.weight.zero_()[0] = 1.0
            model.lm_head.weight.zero_()
            model.model.embed_tokens.weight[:, 0] = model.model.embed_tokens.weight[:, 0].abs() + 100
            model.lm_head.weight[token, 0] = 1.0
        model.generation_config = GenerationConfig(eos_token_id=[1, end], do_sample=True, temperature=9.0)
        model.save_pretrained(instruct)
        (found,) = LanguageModel(instruct).answers(["what"], 4)
        assert (found.ended, found.text) == (ended, text)
        assert count_ended(LanguageModel(instruct)) == (10 if ended else 0)


def test_a_prompt_is_a_turn_by_the_template_and_else_a_paragraph(pair: tuple[Path, Path]) -> None:
    base, instruct = (AutoTokenizer.from_pretrained(folder) for folder in pair)
    assert instruct.decode(conversation_tokens(instruct, "Hi")) == f"user: Hi{END}assistant: "
    assert base.decode(conversation_tokens(base, "Hi")) == "Hi\n\n"


def test_turns_are_templated_and_else_paragraphs(pair: tuple[Path, Path]) -> None:
    base, instruct = (AutoTokenizer.from_pretrained(folder) for folder in pair)
    turns = (Message("system", "Be brief."), Message("user", "Hi"))
    said = f"system: Be brief.{END}user: Hi{END}assistant: "
    assert instruct.decode(conversation_tokens(instruct, turns)) == said
    assert base.decode(conversation_tokens(base, turns)) == "Be brief.\n\nHi\n\n"
    assert conversation_tokens(instruct, turns[1:]) == conversation_tokens(instruct, "Hi")


def test_a_template_that_fails_is_named_and_thinking_is_left_off(pair: tuple[Path, Path]) -> None:
    instruct = AutoTokenizer.from_pretrained(pair[1])
    instruct.chat_template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}x"
    with pytest.raises(InputError, match="fails on turns of system, user: no system; give turns that it takes"):
        conversation_tokens(instruct, (Message("system", "a"), Message("user", "b")))
    instruct.chat_template = "{% if enable_thinking is defined and enable_thinking is false %}at once{% endif %}"
    assert instruct.decode(conversation_tokens(instruct, "b")) == "at once"


def test_a_references_likelihood_is_that_of_its_tokens_alone(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(pair[1]), AutoModelForCausalLM.from_pretrained(pair[1])
    asked = ["Hi", (Message("system", "Be very brief."), Message("user", "What is it?")), "Hm"]
    references = ["a longer answer than the others", " ab ", ""]
    wanted = []
    for each, text in zip(asked, ("a longer answer than the others", "ab", ""), strict=True):
        before, said = conversation_tokens(tokenizer, each), tokenizer(text)["input_ids"]
        logits = model(input_ids=torch.tensor([[*before, *said]])).logits[0].log_softmax(1)
        sum_of = sum(logits[len(before) - 1 + at, token].item() for at, token in enumerate(said))
        wanted.append((pytest.approx(sum_of, rel=1e-4), len(said)))
    assert [count for _, count in wanted] == [31, 2, 0]
    assert LanguageModel(pair[1]).reference_log_likelihoods(asked, references) == wanted
    monkeypatch.setattr(language_model, "_LOGITS", 1)
    assert LanguageModel(pair[1]).reference_log_likelihoods(asked, references) == wanted


def test_the_end_is_the_models_own_or_that_of_texts(pair: tuple[Path, Path]) -> None:
    model, tokenizer = (kind.from_pretrained(pair[1]) for kind in (AutoModelForCausalLM, AutoTokenizer))
    model.generation_config.eos_token_id = [7, 8]
    assert end_tokens(model, tokenizer) == [7, 8]
    model.generation_config.eos_token_id = None
    assert end_tokens(model, tokenizer) == [1]


def test_idle_settings_of_drawing_do_not_keep_a_model_from_being_saved(tmp_path: Path) -> None:
    """As in models whose maker has set a temperature and left drawing off; the library refuses to save these."""
    _, instruct = tiny_pair(tmp_path)
    settings = json.loads((instruct / "generation_config.json").read_text())
    for draws in (False, True):
        given = {**settings, "temperature": 0.6, "repetition_penalty": 1.1, "do_sample": draws}
        (instruct / "generation_config.json").write_text(json.dumps(given))
        model = load_causal_lm(instruct)
        assert model.generation_config is not None
        model.generation_config.eos_token_id = [1, 258]
        model.save_pretrained(tmp_path / "out")
        kept = GenerationConfig.from_pretrained(tmp_path / "out")
        assert (kept.temperature, kept.repetition_penalty) == (0.6 if draws else None, 1.1)


def test_a_gguf_file_becomes_a_folder_once(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="weights in a GGUF file are an extra")
    file = tiny_gguf(tmp_path / "tiny.gguf")
    folder = locate_language_model(str(file))
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert locate_language_model(str(file)) == folder != locate_language_model(str(tiny_gguf(tmp_path / "b.gguf", 1)))
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    model = LanguageModel(folder)
    assert model.tokenizer.chat_template and model.log_likelihoods([[1, 2, 3]])[0] < 0
    assert not hasattr(model.model.config, "quantization_config")
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(InputError, match="cannot be read as a causal language model"):
        locate_language_model(str(file))


def test_what_is_no_language_model_is_refused(tmp_path: Path) -> None:
    base, _ = tiny_pair(tmp_path / "pair")
    assert locate_language_model(str(base)) == base
    with pytest.raises(InputError, match=r"is no causal language model .* give a folder of transformers, an id, or"):
        locate_language_model(str(tiny_model(tmp_path, "bert")))
    (base / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="is a PEFT adapter without its base"):
        locate_language_model(str(base))
    with pytest.raises(InputError, match="there is no such file or folder; check the path"):
        locate_language_model(str(tmp_path / "nowhere"))
    cut = tiny_llm(tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:-9])
    with pytest.raises(InputError, match="damaged or cut off"):
        locate_language_model(str(cut))
