"""Whether an endpoint has read the whole prompt: some cut it at their context length and answer all the same.

Only the count of the tokens that were read tells. What is compared with it is the fewest tokens that the text can have,
by any tokenizer and in any language, so that a whole prompt is not taken for a cut one:

- Tokens do not reach across white space, so there are as many as words. Tokenizers that join words ("superwords") halve
  that at most on prose (6.6 bytes a token: Liu et al. 2025, arXiv 2503.13423); so half the words is what any count is
  held against, and all of them only a count that is a context length to look at. (Of the long prompts of a superword
  tokenizer that takes one in a hundred for cut: it is then missing, and nothing is learnt from it.)
- Scripts without spaces: no vocabulary has more than 3 Chinese or Japanese characters a token, or 8 of South-East Asian
  scripts, on average.
- The system message is not counted, and tokens that came from a cache are added: some servers report without what
  earlier prompts share.
- Fewer than 500 tokens are no context length. Such a count is one of new tokens only, or is made up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LEAST_CONTEXT = 500
_EAST = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SOUTH_EAST = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_EAST_CHARACTER, _SOUTH_EAST_CHARACTER = re.compile(f"[{_EAST}]"), re.compile(f"[{_SOUTH_EAST}]")
# the first letter or digit after white space, unless a script without spaces begins there
_WORD = re.compile(rf"(?<!\S)[^\w\s]*[^\W_{_EAST}{_SOUTH_EAST}]")


def cut_prompt(messages: Sequence[tuple[str, str]], tokens: int) -> str:
    """Why a prompt was not read whole, with the remedy; nothing where it may have been.

    Args:
        messages: (role, content) of each message.
        tokens: Tokens that the endpoint has read of them, by its own count, those from a cache included.
    """
    words = sum(_words(content) for role, content in messages if role != "system")
    # servers that cut do so at their context length, which is a round number, give or take the marks of begin and end
    round_number = min(tokens % 1024, -tokens % 1024, tokens % 1000) <= 2
    if tokens < _LEAST_CONTEXT or tokens >= (words if round_number else words // 2):
        return ""
    return (
        f"the endpoint read {tokens:,} tokens of a prompt as long as {words:,} words: it cuts prompts at its context "
        "length without an error; raise that (Ollama: OLLAMA_CONTEXT_LENGTH or num_ctx, llama.cpp: --ctx-size), "
        "or ask with shorter passages"
    )


def _words(text: str) -> int:
    """Words, and what stands for words in scripts without spaces."""
    east, south_east = len(_EAST_CHARACTER.findall(text)), len(_SOUTH_EAST_CHARACTER.findall(text))
    return len(_WORD.findall(text)) + east // 3 + south_east // 8
