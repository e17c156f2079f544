"""Random low-rank adapters of a tiny language model, as PEFT writes them."""

from __future__ import annotations

from pathlib import Path


def tiny_adapters(folder: Path, model: Path, seed: int, size: float = 0.1) -> Path:
    """Adapters of rank 2 on all linear layers, far enough from nothing that answers differ.

    Args:
        folder: Where to.
        model: The folder of what they are of.
        seed: Of their weights.
        size: Standard deviation of the weights.
    """
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from denizen.training.adapters import low_rank, save_adapters

    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model), low_rank(2))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for name, weights in adapted.named_parameters():
            if "lora_" in name:
                weights.copy_(size * torch.randn_like(weights))
    save_adapters(adapted, folder)
    return folder
