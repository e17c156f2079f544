r"""What instruction-following models put before a query: a sentence that says what is asked for, then the query's mark.

As BMRetriever (arXiv 2404.18443) has it, `{sentence}\nQuery: `, and E5-mistral and Qwen3-Embedding,
`Instruct: {sentence}\nQuery:`. A prompt that is a mere mark, such as `query: `, has no such sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from denizen.engine.errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_FORM = re.compile(r"((?:Instruct|Instruction): ?)?(\S.*?)(\s*\n(?:Query|Question): ?)", re.DOTALL)


@dataclass(frozen=True)
class QueryPrompt:
    """A prompt with its instruction.

    Attributes:
        before: What stands before the sentence.
        sentence: The instruction.
        after: What stands between it and the query.
    """

    before: str
    sentence: str
    after: str

    @classmethod
    def read(cls, prompt: str) -> QueryPrompt | None:
        """A prompt in its parts; None where it has no instruction."""
        found = _FORM.fullmatch(prompt)
        return cls(found[1] or "", found[2], found[3]) if found else None

    def saying(self, sentence: str) -> str:
        """The prompt with another instruction."""
        return f"{self.before}{sentence}{self.after}"


def query_prompt(model: SentenceTransformer, name: str | Path) -> QueryPrompt:
    """The query prompt of a model, which has an instruction.

    Raises:
        InputError: When it has none.
    """
    from denizen.retrievers.loading import prompts_of

    prompt = prompts_of(model)["query"]
    found = QueryPrompt.read(prompt)
    if found is None:
        told = f"{prompt!r}, which holds no instruction" if prompt else "nothing"
        raise InputError(
            f"{name} puts {told} before a query; an instruction is a sentence with a line 'Query: ' after it. Give a "
            "decoder-only LLM, or another model that follows instructions"
        )
    return found
