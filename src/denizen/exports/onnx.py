"""ONNX: the transformer as `onnx/model.onnx`, in 32-bit floats, or with weights of 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denizen.exports.exported_encoder import ExportedEncoder
from denizen.exports.token_graph import OUTPUT, encoder_by, traceable, write_around
from denizen.retrievers.backends import quantise_onnx, write_onnx

if TYPE_CHECKING:
    from denizen.exports.subject import Subject

# where sentence-transformers looks for it
GRAPH = "onnx/model.onnx"


def write(subject: Subject, folder: Path) -> None:
    """Writes the model's folder with a graph in the place of its weights.

    Raises:
        InputError: When it has no transformer that can be written as a graph.
    """
    module, inputs = traceable(subject)
    write_around(subject, folder)
    (folder / GRAPH).parent.mkdir(exist_ok=True)
    write_onnx(folder / GRAPH, module, tuple(inputs.values()), tuple(inputs), OUTPUT, by_token=True)


def write_int8(subject: Subject, folder: Path) -> None:
    """Writes the same with weights of 8 bits.

    Raises:
        InputError: As `write`.
    """
    write(subject, folder)
    quantise_onnx(folder / GRAPH)


def encoder(subject: Subject, folder: Path) -> ExportedEncoder:
    """What embeds by the graph in a folder."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / GRAPH), providers=["CPUExecutionProvider"])

    def run(inputs: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = session.run([OUTPUT], inputs)[0]
        return found

    return encoder_by(subject, folder, "onnx-export", run)
