"""Where an answer begins and ends, and templates by which that cannot be known."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from denizen.data.task_rows import Message
from denizen.engine.errors import InputError
from denizen.language_models.conversations import answer_end, answered_tokens
from tests.tiny_pair import END, TEMPLATE, tiny_pair

# as of models that think when they are asked to
THINKING = (
    "{% for turn in messages %}{{ turn['role'] }}: {% if turn['role'] == 'assistant' and loop.last %}"
    "<think></think>{% endif %}{{ turn['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% if enable_thinking is false %}<think></think>{% endif %}{% endif %}"
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def tokenizer(folders: tuple[Path, Path]) -> PreTrainedTokenizerBase:
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folders[1])
    return found


def test_by_hand(tokenizer: PreTrainedTokenizerBase) -> None:
    end = answer_end(tokenizer, "it")
    assert tokenizer.convert_ids_to_tokens(end) == END
    asked = (Message("system", "Short!"), Message("user", "Hi"))
    before, said = answered_tokens(tokenizer, asked, " Yo \n", end)
    assert tokenizer.decode(before) == f"system: Short!{END}user: Hi{END}assistant: "
    assert tokenizer.decode(said) == f"Yo{END}"
    turns = [{"role": turn.role, "content": turn.content} for turn in (*asked, Message("assistant", "Yo"))]
    whole = tokenizer.apply_chat_template(turns)
    assert [*before, *said] == whole["input_ids"]


def test_what_ends_texts_ends_an_answer_where_the_template_has_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = TEMPLATE.replace(END, "\n")
    assert answer_end(tokenizer, "it") == tokenizer.eos_token_id == 1
    tokenizer.eos_token = None
    with pytest.raises(InputError, match=r"nothing ends an answer of it: .* set one in tokenizer_config.json"):
        answer_end(tokenizer, "it")


def test_a_model_that_can_think_is_trained_on_the_answer_after_no_thought(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = THINKING
    end = answer_end(tokenizer, "it")
    before, said = answered_tokens(tokenizer, (Message("user", "Hi"),), "Yo", end)
    assert tokenizer.decode([*before, *said]) == f"user: Hi{END}assistant: <think></think>Yo{END}"


@pytest.mark.parametrize(
    "template",
    [
        # one that thinks whatever it is told
        THINKING.replace("{% if enable_thinking is false %}<think></think>{% endif %}", "<think>"),
        # one that shows the whole in another way
        TEMPLATE.replace("{{ turn['role'] }}", "{{ messages|length }} {{ turn['role'] }}"),
        # one that leaves answers out
        TEMPLATE.replace("{{ turn['content'] }}", "{{ turn['content'] if turn['role'] == 'user' }}"),
    ],
)
def test_a_template_whose_question_is_no_beginning_is_refused(
    tokenizer: PreTrainedTokenizerBase, template: str
) -> None:
    tokenizer.chat_template = template
    with pytest.raises(InputError, match=r"the chat template of it ends a question with .* mend the template"):
        answer_end(tokenizer, "it")


def test_a_missing_template_is_refused(folders: tuple[Path, Path]) -> None:
    base = AutoTokenizer.from_pretrained(folders[0])
    with pytest.raises(InputError, match=r"tokenizer of base has no chat template, .* put chat_template.jinja"):
        answer_end(base, "base")
