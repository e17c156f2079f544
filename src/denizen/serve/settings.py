"""How a server listens, and what it takes at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from denizen.engine.settings import Params, setting


@dataclass(frozen=True)
class Serving(Params):
    """Settings of `denizen serve`; none of them changes a vector but `input_type`, and none an answer."""

    panel = "Serving"
    effect = False

    # whoever wants the network has to say so
    host: str = setting("127.0.0.1", "Address to listen at; another one than this machine's own needs keys.")
    port: int = setting(8000, "Port to listen at; 0: any that is free.", least=0, most=65535)
    # what is embedded in bulk are passages; a search through /v1/search embeds its queries by itself
    input_type: Literal["document", "query"] = setting(
        "document", "What texts are taken for where a client does not say, by models that read queries differently."
    )
    token_ids: bool = setting(
        False, "Take lists of the model's own token ids as texts. Those of another tokenizer would be silent nonsense."
    )
    # as OpenAI's API
    most_texts: int = setting(2048, "Texts of one request at most.", least=1, most=1_000_000)
    # what is read of one ends long before; all of its tokens are in memory while they are counted, 300 MB of so many
    most_characters: int = setting(1_000_000, "Characters of one text at most.", least=1)
    # 2,048 passages of 2,000 characters are 4 MiB
    body_mb: int = setting(16, "MiB of one request at most.", least=1, most=4096)
    # a minute of what two cores embed with MiniLM
    queue_tokens: int = setting(
        500_000, "Tokens that may wait; what comes then is answered by 429 and the seconds to wait.", least=1024
    )
    # one is given at a time: the ninth would wait for minutes on two cores
    queue_answers: int = setting(
        8, "Answers of a language model that may wait for the one that is given; what comes then is a 429.", least=0
    )
    cache_mb: int = setting(64, "Memory of embeddings that are kept for texts that come again, in MiB.", least=0)
    deadline: float = setting(60.0, "Seconds that a request may take, and its body to arrive.", least=0.1, most=86_400)
    requests_a_minute: int = setting(
        0, "Requests a minute of each key, or of each address without keys; 0: any.", least=0
    )
    memory_mb: int = setting(
        0, "MiB of weights in memory; the model that was not asked for longest is let go. 0: any.", least=0
    )
