"""What training a model takes, counted on its configuration alone: memory, and time on GPUs of a stated rate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.engine.errors import InputError

if TYPE_CHECKING:
    from denizen.training.train import Training

# name, memory in GB and bf16 rate without sparsity in FLOP/s, as their maker states them
_GPUS = (("L4", 24, 121e12), ("A100", 80, 312e12), ("H100", 80, 989e12))
# of the stated rate, what training of such models reaches
_REACHED = 0.35
_GB = 1e9


@dataclass(frozen=True)
class Footprint:
    """The size of a model and of its training.

    Attributes:
        weights: How many weights it has.
        learnt: How many are trained.
        linear: How many are in its linear layers, which take nearly all of the time.
        width: Of its hidden states.
        layers: How many layers it has.
        heads: Of its attention.
    """

    weights: int
    learnt: int
    linear: int
    width: int
    layers: int
    heads: int

    @classmethod
    def of(cls, config: Any, rank: int, *, head: bool = False) -> Footprint:
        """That of a configuration of transformers with adapters of a rank, or of all weights at 0.

        No weight is made: the model is built on torch's meta device.

        Args:
            config: The configuration.
            rank: Of adapters.
            head: Whether the head that says the next token is counted, which has no adapters.
        """
        import torch
        from torch import nn
        from transformers import AutoModel, AutoModelForCausalLM

        with torch.device("meta"):
            model = (AutoModelForCausalLM if head else AutoModel).from_config(config)  # type: ignore[no-untyped-call]
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        weights = sum(parameter.numel() for parameter in model.parameters())
        last = model.get_output_embeddings() if head else None
        adapted = [module for module in linear if module is not last]
        adapters = sum(rank * (module.in_features + module.out_features) for module in adapted)
        return cls(
            weights,
            adapters if rank else weights,
            sum(module.weight.numel() for module in linear),
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
        )

    def memory(self, batch_tokens: int, length: int) -> float:
        """Bytes of a training step at most.

        Weights in 32-bit floats, as they are loaded; gradients and AdamW's two moments of what is learnt; activations
        of all tokens of a batch in 16 bits (Korthikanti et al. 2022, equation 2).

        Args:
            batch_tokens: Tokens of all texts of a batch.
            length: Of a text.
        """
        activations = batch_tokens * self.layers * (34 * self.width + 5 * self.heads * length)
        return 4.0 * self.weights + 12.0 * self.learnt + activations

    def flops(self, tokens: int) -> float:
        """Operations of training on so many tokens: forward, back to the inputs, and to weights that are learnt."""
        passes = 2 if self.learnt < self.weights else 3
        return 2.0 * passes * self.linear * tokens


def footprint_of(folder: Path, training: Training) -> Footprint:
    """That of the transformer of a decoder's folder."""
    from transformers import AutoConfig

    from denizen.retrievers.model_folder import is_decoder, transformer_folder

    config = AutoConfig.from_pretrained(transformer_folder(folder) or folder, local_files_only=True)
    return Footprint.of(config, training.of_size(is_decoder(folder), Footprint.of(config, 0).weights).lora_rank)


def size_lines(size: Footprint, training: Training, texts: float) -> list[str]:
    """What training on so many texts takes, as the plan says it."""
    length = training.max_tokens or 512
    memory = size.memory(3 * training.batch_size * length, length)
    tokens = round(texts * length)
    fits = gpu_times(memory, size.flops(tokens))
    learnt = f"{size.learnt / 1e6:.1f} million of {size.weights / 1e6:,.0f} million weights are trained"
    times = f"; on a GPU about: {', '.join(fits)}" if fits else "; more than one GPU here has (lower batch_size)"
    return [f"      {learnt}, at most {memory / _GB:.1f} GB{times}"]


def gpu_times(memory: float, flops: float) -> list[str]:
    """The GPUs that have so many bytes of memory, and how long so many operations take on each."""
    return [
        f"{name} ({room} GB) {_time(flops / (_REACHED * rate))}" for name, room, rate in _GPUS if memory < room * _GB
    ]


def room_here() -> tuple[float, str]:
    """How many bytes models have here, and what has them: the GPU, or the machine."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory, "this GPU"
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "this machine"


def check_room(size: Footprint, training: Training, name: str) -> None:
    """Makes sure that the model fits into this machine, before it is loaded.

    Raises:
        InputError: When its weights alone do not.
    """
    room, where = room_here()
    needed = 4 * size.weights + 12 * size.learnt
    if needed > room:
        told = size_lines(size, training, 0)[0].strip()
        raise InputError(
            f"{name} needs {needed / _GB:.0f} GB for its weights and what is trained of them, and {where} has "
            f"{room / _GB:.0f} GB; take a smaller model or a larger machine ({told})"
        )


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{max(1, round(seconds / 60))} min"
