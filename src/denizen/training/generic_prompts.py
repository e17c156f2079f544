"""Instructions of no domain that stand before queries while training, instead of the model's own.

After Synthesize-Train-Merge (arXiv 2602.04731), where they won over searched instructions on two of three backbones: a
student that has seen many instructions hangs less on the words of one. The model's own prompt is what it keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.llm.prompts import prompt_text
from denizen.retrievers.instruction import QueryPrompt, query_prompt

if TYPE_CHECKING:
    from denizen.training.train import Training

# apart from all else that a training draws by its seed
_DRAW = 1


def instructions(count: int) -> list[str]:
    """The first of them."""
    return prompt_text("generic").splitlines()[:count]


def drawn_from(config: Training) -> Value | None:
    """What the step that trains is given of them; None: queries keep the model's own."""
    return Value(instructions(config.generic_prompts)) if config.generic_prompts else None


def prompted(queries: Sequence[str], among: Sequence[str], prompt: QueryPrompt, seed: int) -> list[str]:
    """Queries, one a training row, each with an instruction of its own before it.

    The draw depends on the seed and the number of rows alone, so that a training that goes on has the same; all
    instructions are drawn equally often, as far as the rows suffice.
    """
    drawn = np.random.default_rng([seed, _DRAW]).permutation(np.arange(len(queries)) % len(among))
    return [prompt.saying(among[number]) + query for number, query in zip(drawn.tolist(), queries, strict=True)]


def check_generic(folder: Path, name: str, config: Training) -> None:
    """Makes sure that a model can be trained with generic prompts, where that is asked for.

    Raises:
        InputError: When its query prompt has no instruction, its embeddings leave the prompt out, or an instruction
            takes all tokens that training reads of a text.
    """
    if not config.generic_prompts:
        return
    from denizen.retrievers.loading import load_encoder
    from denizen.training.bi_encoder import tokens_beside

    remedy = "or leave generic_prompts 0"
    model = load_encoder(folder)
    try:
        prompt = query_prompt(model, name)
    except InputError as error:
        raise InputError(f"generic_prompts is {config.generic_prompts}, and {error}, {remedy}") from None
    if any(getattr(module, "include_prompt", True) is False for module in model):
        raise InputError(
            f"generic_prompts is {config.generic_prompts}, and {name} leaves prompts out of its embeddings, so that "
            f"another one changes little; give another model, {remedy}"
        )
    longest = max(map(prompt.saying, instructions(config.generic_prompts)), key=len)
    if (left := tokens_beside(model, config.max_tokens, longest)) is not None and left < 1:
        raise InputError(
            f"generic_prompts is {config.generic_prompts}, and max_tokens {config.max_tokens} leaves no token of a "
            f"query beside {longest!r}; raise max_tokens, {remedy}"
        )
