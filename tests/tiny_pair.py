"""A random base language model of two layers and an instruct model made from it, of the architectures people bring."""

from __future__ import annotations

from pathlib import Path

from tests.tiny_models import tiny_llm

TEMPLATE = (
    "{% for turn in messages %}{{ turn['role'] }}: {{ turn['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
END = "<|end|>"


def tiny_pair(folder: Path, architecture: str = "llama", *, tokens: int = 1024) -> tuple[Path, Path]:
    """A base without a chat template, and an instruct model with a token more, which ends turns.

    Args:
        folder: Where both go.
        architecture: One of `tests.tiny_models.LLMS`.
        tokens: How many positions they know.

    Returns:
        The folders of base and instruct model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base, instruct = tiny_llm(folder / "base", architecture, tokens=tokens), folder / "instruct"
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = None
    (base / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    tokenizer.add_special_tokens({"additional_special_tokens": [END]})
    tokenizer.chat_template = TEMPLATE
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        for weights in model.parameters():
            weights += 0.02 * torch.randn_like(weights)
    model.save_pretrained(instruct)
    tokenizer.save_pretrained(instruct)
    return base, instruct
