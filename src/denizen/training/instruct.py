"""The steps that make an instruct model of a base that has none: turns for its texts, and what was learnt folded in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from denizen.data.artifacts import Adapter, Model
from denizen.engine.errors import InputError
from denizen.engine.settings import Params
from denizen.engine.step import Context, step

# of texts that any tokenizer has; what ends a text ends an answer
_TEMPLATE = (
    "{% for turn in messages %}{{ turn['role'] | capitalize }}: {{ turn['content'] | trim }}"
    "{% if turn['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


@step(version=1, makes=Model, name="base-with-turns")
def with_turns(out: Path, params: Params, ctx: Context, *, base: Model) -> dict[str, Any]:
    """A base model whose tokenizer writes conversations: by its own chat template, or by a plain one of ours.

    Args:
        out: Where the model goes.
        params: None.
        ctx: The progress.
        base: The base.

    Raises:
        InputError: When it has neither a template nor a token that ends texts.
    """
    from denizen.language_models.language_model import load_tokenizer
    from denizen.language_models.token_rows import begin_tokens

    tokenizer = load_tokenizer(base.path)
    own = bool(tokenizer.chat_template)
    if not own and tokenizer.eos_token is None:
        raise InputError(
            f"the tokenizer of {base.path.name} has no chat template and no eos_token that could end an answer; set "
            "one in tokenizer_config.json"
        )
    shutil.copytree(base.path, out, dirs_exist_ok=True)
    if not own:
        begin = tokenizer.convert_ids_to_tokens(begin_tokens(tokenizer))
        tokenizer.chat_template = "".join(begin) + _TEMPLATE
        tokenizer.save_pretrained(out)
    return {"own_template": own}


@step(version=1, makes=Model, name="instruct")
def fold(out: Path, params: Params, ctx: Context, *, start: Model, adapter: Adapter) -> dict[str, Any]:
    """A model with what adapters over it have learnt added to its weights.

    Args:
        out: Where the model goes, in 32-bit floats.
        params: None.
        ctx: The progress.
        start: The model.
        adapter: Adapters of it.

    Raises:
        InputError: When the adapters are of another model.
    """
    from denizen.language_models.attached import folded
    from denizen.language_models.language_model import load_causal_lm, load_tokenizer

    folded(load_causal_lm(start.path), adapter.path).save_pretrained(out)
    load_tokenizer(start.path).save_pretrained(out)
    return {}
