"""The transformer of a model as a graph of its own, in the place where sentence-transformers looks for it.

sentence-transformers runs the transformer by ONNX Runtime or OpenVINO and all that follows (pooling, layers,
normalisation) by itself, so a graph gives an embedding for each token, and the rest of the folder stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from denizen.engine.errors import InputError
from denizen.exports.exported_encoder import ExportedEncoder, by_backend
from denizen.exports.hub_folder import copy_model
from denizen.retrievers.backends import Backend, Features, token_inputs
from denizen.retrievers.model_folder import has_routes
from denizen.retrievers.store import Vectors

if TYPE_CHECKING:
    from denizen.exports.subject import Subject

OUTPUT = "last_hidden_state"
# of torch, which the graph stands for
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*", "*.gguf")
# names of inputs to values of one batch, to the embedding of each token, shape (texts, tokens, dim)
Session = Callable[[dict[str, np.ndarray[Any, Any]]], np.ndarray[Any, Any]]


class TokenEmbeddings(nn.Module):
    """A transformer with tensors as arguments, as exporters want it, that returns one embedding a token."""

    transformer: Any

    def __init__(self, transformer: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.transformer, self.names = transformer, tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor:
        """The last layer, shape (texts, tokens, dim)."""
        found: Tensor = self.transformer(**dict(zip(self.names, tensors, strict=True)))[OUTPUT]
        return found


def traceable(subject: Subject) -> tuple[TokenEmbeddings, dict[str, Tensor]]:
    """The transformer of a model, and an example of what it takes.

    Raises:
        InputError: When the model does not begin with one, or embeds queries by modules of their own.
    """
    folder, sentences = subject.model.folder, subject.model.encoder.model
    first = sentences[0]
    if type(first).__name__ != "Transformer" or has_routes(folder) or (folder / "adapter_config.json").is_file():
        raise InputError(
            f"{subject.name} does not begin with one whole transformer (its first module is {type(first).__name__}), "
            "and no other model can be written as a graph; export it --to hub-folder"
        )
    inputs = token_inputs(sentences)
    # of the wrapper, too: an exporter puts the whole back into the mode that it finds it in, dropout and all
    return TokenEmbeddings(first.auto_model, tuple(inputs)).eval(), inputs


def write_around(subject: Subject, folder: Path) -> None:
    """Copies the model but the weights that the graph stands for.

    Raises:
        InputError: When a file of settings names a path of this machine.
    """
    copy_model(subject, folder)
    # a Dense module has weights of its own, in a folder of its own
    for pattern in _WEIGHTS:
        for path in list(folder.glob(pattern)):
            path.unlink()


def encoder_by(subject: Subject, folder: Path, name: str, session: Session) -> ExportedEncoder:
    """What embeds by a graph, and by the model's own modules behind it.

    Args:
        subject: What was exported.
        folder: The export.
        name: Of the backend.
        session: What runs the graph.
    """
    sentences = subject.model.encoder.model
    names = tuple(token_inputs(sentences))
    rest = list(sentences)[1:]

    def embed(features: Features) -> Vectors:
        tokens = session({name: features[name].numpy() for name in names})
        found = {**features, "token_embeddings": torch.from_numpy(tokens)}
        with torch.inference_mode():
            for module in rest:
                found = module(found)
        return np.asarray(found["sentence_embedding"].float().numpy(), dtype=np.float32)

    backend = Backend(name, embed, 1)
    return ExportedEncoder(folder, subject.model.digest, sentences, by_backend(sentences, backend))
