"""What computes embeddings from tokens: torch, OpenVINO or ONNX Runtime, in the arithmetic the machine is best at.

A backend works on one batch a thread, with as few threads inside a batch as the cores allow: threads that share a
batch wait for one another at every layer. No backend but fp32 torch is used before it has passed the parity gate on
the machine it runs on: a wrong export is not an error message, it is wrong vectors.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import platform
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from denizen.engine.errors import InputError
from denizen.retrievers.cpu.attention import use_batched_attention
from denizen.retrievers.store import Vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Features = dict[str, Any]

# more threads than this share the interpreter badly; on larger machines each batch gets several cores
_WORKERS = 8
# raised by hand when this package's code changes what a backend computes
_CODE_VERSION = 1
_TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Backend:
    """One way to compute embeddings.

    Attributes:
        name: Its name, which is part of what identifies an embedding.
        embed: From the features of one batch to embeddings of shape (texts, dim). Safe to call from several threads.
        workers: How many batches it should be given at a time.
    """

    name: str
    embed: Callable[[Features], Vectors]
    workers: int

    def run(self, batches: Iterable[Features]) -> Iterator[Vectors]:
        """The embeddings of each batch, in order."""
        if self.workers == 1:
            yield from map(self.embed, batches)
            return
        threads = torch.get_num_threads()
        inside = max(1, threads // self.workers)
        pending: deque[Future[Vectors]] = deque()
        try:
            with ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(inside,)) as pool:
                for features in batches:
                    pending.append(pool.submit(self.embed, features))
                    if len(pending) > 2 * self.workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
        finally:
            # setting it in a worker also sets what threads that start later begin with
            torch.set_num_threads(threads)


def bf16_is_native() -> bool:
    """Whether this machine multiplies bf16 matrices in hardware (AVX512-BF16 or AMX, or a GPU where there is one)."""
    return bool(torch.cuda.is_bf16_supported()) if torch.cuda.is_available() else processor_has_bf16()


def processor_has_bf16() -> bool:
    """Whether the processor multiplies bf16 matrices in hardware (AVX512-BF16 or AMX)."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and torch.cpu._is_avx512_bf16_supported()


def use_bf16(precision: str) -> bool:
    """Whether the setting `precision` means bf16 on this machine for what has no int8."""
    return precision == "bf16" or (precision in ("auto", "int8") and bf16_is_native())


def candidates(backend: str, precision: str) -> list[str]:
    """The names of the backends to try, the one that should be fastest first.

    Args:
        backend: auto, torch, openvino or onnx.
        precision: auto, fp32, bf16 or int8.

    Raises:
        InputError: When the backend is not installed, or has no such arithmetic.
    """
    if backend not in ("auto", *_ARITHMETICS):
        raise InputError(f"backend {backend!r} is unknown; there are auto, {', '.join(_ARITHMETICS)}")
    if precision not in ("auto", *_ALL_ARITHMETICS):
        raise InputError(f"precision {precision!r} is unknown; there are auto, {', '.join(_ALL_ARITHMETICS)}")
    if (backend, precision) == ("auto", "int8"):
        backend = "onnx"
    if backend in _MODULES and not _installed(backend):
        raise InputError(f"backend {backend} is not installed; pip install 'denizen[{backend}]'")
    wanted = precision if precision != "auto" else "bf16" if bf16_is_native() else "fp32"
    if backend == "auto":
        first = ["openvino"] if _installed("openvino") and not torch.cuda.is_available() else []
        names = [f"{name}-{wanted}" for name in (*first, "torch") if wanted in _ARITHMETICS[name]]
    elif wanted in _ARITHMETICS[backend]:
        names = [f"{backend}-{wanted}"]
    elif precision == "auto":
        names = [f"{backend}-fp32"]
    else:
        raise InputError(f"backend {backend} has no {wanted}; it has {', '.join(_ARITHMETICS[backend])}")
    # what fails the gate falls back on the next best, whatever was asked for
    native = ["torch-bf16"] if wanted != "fp32" and bf16_is_native() else []
    return list(dict.fromkeys([*names, *native, "torch-fp32"]))


def make(name: str, model: SentenceTransformer) -> Backend:
    """Builds a backend for a model.

    Args:
        name: As from `candidates`.
        model: A bi-encoder with weights in 32-bit floats; it is left as it is.
    """
    library, _, arithmetic = name.partition("-")
    workers = min(_WORKERS, torch.get_num_threads())
    if library == "openvino":
        return Backend(name, _openvino(model, arithmetic, workers), workers)
    if library == "onnx":
        return Backend(name, _onnx(model, arithmetic), workers)
    on_gpu = torch.device(model.device).type != "cpu"
    return Backend(name, _torch(model, arithmetic == "bf16"), 1 if on_gpu else workers)


def _torch(model: SentenceTransformer, bf16: bool) -> Callable[[Features], Vectors]:
    device = torch.device(model.device)
    if bf16:
        model = _with_bf16_products(model)
    model.eval()

    def embed(features: Features) -> Vectors:
        moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in features.items()}
        precision = torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else contextlib.nullcontext()
        with torch.inference_mode(), precision:
            found = model(moved, task=features.get("task"))["sentence_embedding"]
            return np.asarray(found.float().cpu().numpy(), dtype=np.float32)

    return embed


def _with_bf16_products(model: SentenceTransformer) -> SentenceTransformer:
    """A copy whose linear layers hold bf16 weights: what autocast computes, without casting them in every batch.

    Layer norms stay in 32 bits; with bf16 there, too, the cosine to fp32 falls to .997.
    """
    model = copy.deepcopy(model)
    for module in model.modules():
        if type(module) is nn.Linear:
            module.to(torch.bfloat16)
    use_batched_attention(model)
    return model


class _TokensToEmbedding(nn.Module):
    """A bi-encoder with tensors as arguments, as exporters want it."""

    def __init__(self, model: SentenceTransformer, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *tensors: Tensor) -> Tensor:
        found: Tensor = self.model(dict(zip(self.names, tensors, strict=True)))["sentence_embedding"]
        return found


def token_inputs(model: SentenceTransformer) -> dict[str, Tensor]:
    """What a model takes of two texts, by the names of its inputs: an example for who exports it.

    Raises:
        InputError: When it takes something else than tokens.
    """
    # texts of different lengths: traced without padding, the mask would be left out of the graph
    features = model.preprocess(["one", "a longer text that leaves the other one padded"])
    names = tuple(name for name in _TOKEN_INPUTS if name in features)
    others = {name for name, value in features.items() if isinstance(value, Tensor)} - set(names)
    if others or "attention_mask" not in names:
        raise InputError(f"a model with the inputs {sorted((*names, *others))} cannot be exported")
    return {name: features[name] for name in names}


def _exportable(model: SentenceTransformer) -> tuple[_TokensToEmbedding, tuple[Tensor, ...]]:
    inputs = token_inputs(model)
    # of the wrapper, too: an exporter puts the whole back into the mode that it finds it in, dropout and all
    return _TokensToEmbedding(model, tuple(inputs)).eval(), tuple(inputs.values())


@contextlib.contextmanager
def _quiet_tracing() -> Iterator[None]:
    """Without the warnings that a traced or quantised graph may be wrong: the parity gate finds out."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def openvino_graph(module: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """A module as a graph of OpenVINO, traced with an example of its arguments; nobody is told of it."""
    import openvino
    from openvino.tools.ovc import convert_impl, telemetry_stub, telemetry_utils, utils

    # convert_model reports each use to its makers, unless the user has found out and opted out
    for module_that_reports in (convert_impl, telemetry_utils, utils):
        module_that_reports.tm = telemetry_stub
    with torch.inference_mode(), _quiet_tracing():
        return openvino.convert_model(module, example_input=example)


def write_onnx(
    path: Path, module: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[str], output: str, *, by_token: bool
) -> None:
    """Writes a module as an ONNX graph.

    Args:
        path: Where to.
        module: Takes tokens of shape (batch, length) each.
        example: Of its arguments.
        inputs: Their names.
        output: The name of what it returns.
        by_token: Whether that has a row for each token, and not for each text.
    """
    sizes = {0: "batch", 1: "length"}
    with torch.inference_mode(), _quiet_tracing():
        torch.onnx.export(
            module,
            example,
            str(path),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes={**dict.fromkeys(inputs, sizes), output: sizes if by_token else {0: "batch"}},
            dynamo=False,
        )


def quantise_onnx(path: Path) -> None:
    """Gives an ONNX graph weights of 8 bits, a scale a column; what they are multiplied with is rounded as it comes."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet_tracing():
        quantize_dynamic(str(path), str(path), weight_type=QuantType.QInt8, per_channel=True)


def _openvino(model: SentenceTransformer, arithmetic: str, workers: int) -> Callable[[Features], Vectors]:
    import openvino

    module, example = _exportable(model)
    exported = openvino_graph(module, example)
    settings = {
        "INFERENCE_PRECISION_HINT": {"bf16": "bf16", "fp32": "f32"}[arithmetic],
        "NUM_STREAMS": workers,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.Core().compile_model(exported, "CPU", settings)
    own = threading.local()

    def embed(features: Features) -> Vectors:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        found = own.request.infer([features[name].numpy() for name in module.names])
        return np.array(found[0], dtype=np.float32)

    return embed


def _onnx(model: SentenceTransformer, arithmetic: str) -> Callable[[Features], Vectors]:
    import onnxruntime

    module, example = _exportable(model)
    options = onnxruntime.SessionOptions()
    # the batches run side by side
    options.intra_op_num_threads = max(1, torch.get_num_threads() // min(_WORKERS, torch.get_num_threads()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(path, module, example, module.names, "sentence_embedding", by_token=False)
        if arithmetic == "int8":
            quantise_onnx(path)
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])

    def embed(features: Features) -> Vectors:
        inputs = {name: features[name].numpy() for name in module.names}
        return np.asarray(session.run(None, inputs)[0], dtype=np.float32)

    return embed


def _installed(library: str) -> bool:
    return importlib.util.find_spec(_MODULES[library]) is not None


_MODULES = {"openvino": "openvino", "onnx": "onnxruntime"}
_ARITHMETICS = {"torch": ("bf16", "fp32"), "openvino": ("bf16", "fp32"), "onnx": ("fp32", "int8")}
_ALL_ARITHMETICS = ("fp32", "bf16", "int8")


def environment(libraries: Sequence[str] = ("torch", *_MODULES)) -> str:
    """A digest of what may change an embedding beside the model: processor, libraries, and this package's own code.

    Args:
        libraries: The backends' libraries that count; those that are not installed are left out.
    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    modules = [_MODULES.get(library, library) for library in libraries]
    versions = {}
    for package in ("sentence-transformers", "transformers", "tokenizers", *modules):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    text = json.dumps([_CODE_VERSION, device, torch.get_num_threads(), versions], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _processor() -> str:
    flags = [bf16_is_native(), torch.backends.cpu.get_cpu_capability()]
    return f"{platform.machine()} {flags}"
