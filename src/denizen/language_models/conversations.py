"""Conversations that end with an answer, as the tokens that a model reads and those that it should say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from denizen.data.task_rows import Message
from denizen.engine.errors import InputError
from denizen.language_models.language_model import Conversation, conversation_tokens, templated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

_QUESTION, _TURN = "a question", "this is an answer"


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The number of the special token that ends an answer in a chat template; None: none does."""
    turns = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _TURN}]
    text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    _, found, rest = text.rpartition(_TURN)
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    tokens: Sequence[int] = tokenizer(rest, add_special_tokens=False)["input_ids"] if found else []
    return tokens[0] if tokens and tokens[0] in special else None


def answer_end(tokenizer: PreTrainedTokenizerBase, name: str) -> int:
    """The token that ends an answer: that of a turn in the chat template, else that of texts.

    What is asked must be the beginning of a conversation with its answer, else a model would be trained on what it is
    never asked.

    Args:
        tokenizer: The model's.
        name: What people call the model.

    Raises:
        InputError: When there is no chat template, it writes what is asked otherwise once it is answered, or nothing
            ends an answer.
    """
    if not tokenizer.chat_template:
        raise InputError(
            f"the tokenizer of {name} has no chat template, by which what is asked is told from the answer; put "
            "chat_template.jinja of its maker into the folder, or give an instruct model"
        )
    asked = (Message("user", _QUESTION),)
    before = templated(tokenizer, asked, add_generation_prompt=True)
    whole = templated(tokenizer, (*asked, Message("assistant", _TURN)), add_generation_prompt=False)
    if not whole.startswith(before) or not whole[len(before) :].lstrip().startswith(_TURN):
        raise InputError(
            f"the chat template of {name} ends a question with {before[-40:]!r}, after which no answer stands in the "
            f"whole conversation, {whole[-60:]!r}: a model cannot be trained on the answer alone; mend the template so "
            "that the question with add_generation_prompt is what the answer follows, or give another model"
        )
    end = end_of_turn(tokenizer)
    found = tokenizer.eos_token_id if end is None else end
    if found is None:
        raise InputError(
            f"nothing ends an answer of {name}: its chat template ends a turn with no special token, and its "
            "tokenizer has no eos_token; set one in tokenizer_config.json"
        )
    return int(found)


def answered_tokens(
    tokenizer: PreTrainedTokenizerBase, asked: Conversation, answer: str, end: int
) -> tuple[list[int], list[int]]:
    """What is asked as a model reads it before it answers, and an answer with what ends it.

    Both are cut into tokens apart, as they are when the model answers.
    """
    said = tokenizer(answer.strip(), add_special_tokens=False)["input_ids"]
    return conversation_tokens(tokenizer, asked), [*said, end]
