"""OpenVINO: the transformer as `openvino/openvino_model.xml`, in 32-bit floats."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denizen.exports.exported_encoder import ExportedEncoder
from denizen.exports.token_graph import OUTPUT, encoder_by, traceable, write_around
from denizen.retrievers.backends import openvino_graph

if TYPE_CHECKING:
    from denizen.exports.subject import Subject

# where sentence-transformers looks for it
GRAPH = "openvino/openvino_model.xml"


def write(subject: Subject, folder: Path) -> None:
    """Writes the model's folder with a graph in the place of its weights.

    Raises:
        InputError: When it has no transformer that can be written as a graph.
    """
    import openvino

    module, inputs = traceable(subject)
    write_around(subject, folder)
    # by its own kernel a token that sees no other, as padding does, becomes no number, and with it all tokens
    plain = copy.deepcopy(module)
    plain.transformer.set_attn_implementation("eager")
    graph = openvino_graph(plain, tuple(inputs.values()))
    # a traced module has arguments without names, and who loads the graph asks for these
    for port, name in zip(graph.inputs, inputs, strict=True):
        port.get_tensor().set_names({name})
    graph.outputs[0].get_tensor().set_names({OUTPUT})
    # 16 bits, the default of the library, are half the bytes of what was measured
    openvino.save_model(graph, str(folder / GRAPH), compress_to_fp16=False)


def encoder(subject: Subject, folder: Path) -> ExportedEncoder:
    """What embeds by the graph in a folder."""
    import openvino

    # bf16, which the library takes where the processor has it, is another arithmetic than what was written
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(folder / GRAPH), "CPU", settings)
    request = compiled.create_infer_request()

    def run(inputs: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = np.array(request.infer(inputs)[compiled.output(OUTPUT)])
        return found

    return encoder_by(subject, folder, "openvino-export", run)
