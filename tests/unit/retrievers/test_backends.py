"""Every backend against the model itself, on padded batches, and which ones are tried."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from denizen.engine.errors import InputError
from denizen.retrievers import backends, encoder
from denizen.retrievers.backends import Backend, candidates, make
from denizen.retrievers.cpu import token_batches
from denizen.retrievers.loading import load_encoder

TEXTS = [f"gout and fever {'pain ' * (at % 50)} {at}" for at in range(120)]
MODULES = {"openvino": "openvino", "onnx": "onnxruntime"}
# int8 weights of a random model are far off; the parity gate decides on real ones
CLOSE = {"torch-fp32": 0.999999, "openvino-fp32": 0.99999, "onnx-fp32": 0.99999, "onnx-int8": 0.95}


@pytest.mark.parametrize(
    "name", ["torch-fp32", "torch-bf16", "openvino-fp32", "openvino-bf16", "onnx-fp32", "onnx-int8"]
)
def test_every_backend_gives_what_the_model_gives_with_and_without_padding(
    name: str, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = name.partition("-")[0]
    if library in MODULES:
        pytest.importorskip(MODULES[library])
    monkeypatch.setattr(token_batches, "_BATCH_TOKENS_CPU", 300)
    model = load_encoder(tiny_encoder)
    found = encoder.encode(model, TEXTS, "document", make(name, model))
    cosines = (found * model.encode(TEXTS)).sum(axis=1)
    assert cosines.min() > CLOSE.get(name, 0.999)
    # the model itself is as it was
    assert {weights.dtype for weights in model.parameters()} == {torch.float32}
    alone = encoder.encode(model, TEXTS[:1], "document", make(name, model))
    assert (alone[0] * found[0]).sum() > CLOSE.get(name, 0.999)


@pytest.mark.parametrize("name", ["onnx-fp32", "openvino-fp32"])
def test_a_model_that_was_exported_draws_no_dropout_afterwards(name: str, tiny_encoder: Path) -> None:
    """It goes on being used where the export fails the gate."""
    pytest.importorskip(MODULES[name.partition("-")[0]])
    model = load_encoder(tiny_encoder)
    make(name, model)
    assert not any(module.training for module in model.modules())


def test_converting_for_openvino_reports_to_nobody(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    telemetry = pytest.importorskip("openvino_telemetry")

    def told(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"told its makers: {args}")

    monkeypatch.setattr(telemetry.Telemetry, "__init__", told)
    monkeypatch.setattr(telemetry.Telemetry, "send_event", told)
    make("openvino-fp32", load_encoder(tiny_encoder))


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_come_back_in_order_and_the_number_of_threads_stays(workers: int) -> None:
    threads = torch.get_num_threads()
    backend = Backend("slow-first", lambda features: np.full((1, 1), features["at"]), workers)
    found = list(backend.run({"at": at} for at in range(20)))
    assert [int(vectors[0, 0]) for vectors in found] == list(range(20))
    assert torch.get_num_threads() == threads


def test_an_error_in_a_batch_is_raised_where_the_batch_is_taken() -> None:
    def embed(features: dict[str, object]) -> np.ndarray:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        list(Backend("failing", embed, 2).run({"at": at} for at in range(3)))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A processor with bf16 and no library but torch."""
    monkeypatch.setattr(backends, "bf16_is_native", lambda: True)
    monkeypatch.setattr(backends, "_installed", lambda library: False)
    return monkeypatch


@pytest.mark.parametrize(
    ("precision", "names"),
    [("auto", ["torch-bf16", "torch-fp32"]), ("fp32", ["torch-fp32"]), ("bf16", ["torch-bf16", "torch-fp32"])],
)
def test_without_extras_torch_is_tried_and_exact_torch_comes_last(
    precision: str, names: list[str], machine: pytest.MonkeyPatch
) -> None:
    assert candidates("auto", precision) == names
    assert candidates("torch", precision) == names


def test_openvino_comes_first_where_it_is_installed_and_onnx_only_when_asked_for(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(backends, "_installed", lambda library: True)
    assert candidates("auto", "auto") == ["openvino-bf16", "torch-bf16", "torch-fp32"]
    assert candidates("onnx", "auto") == ["onnx-fp32", "torch-bf16", "torch-fp32"]
    assert candidates("onnx", "int8") == candidates("auto", "int8") == ["onnx-int8", "torch-bf16", "torch-fp32"]
    assert candidates("openvino", "fp32") == ["openvino-fp32", "torch-fp32"]
    machine.setattr(backends, "bf16_is_native", lambda: False)
    assert candidates("auto", "auto") == ["openvino-fp32", "torch-fp32"]


@pytest.mark.parametrize(
    ("backend", "precision", "message"),
    [
        ("onnx", "auto", r"backend onnx is not installed; pip install 'denizen\[onnx\]'"),
        ("torch", "int8", "backend torch has no int8; it has bf16, fp32"),
        ("auto", "fp64", "precision 'fp64' is unknown; there are auto, fp32, bf16, int8"),
        ("tensorflow", "auto", "backend 'tensorflow' is unknown; there are auto, torch, openvino, onnx"),
    ],
)
def test_what_is_not_there_is_refused_with_the_remedy(
    backend: str, precision: str, message: str, machine: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=message):
        candidates(backend, precision)


def test_a_backend_that_cannot_be_built_is_a_reason(tiny_encoder: Path, machine: pytest.MonkeyPatch) -> None:
    machine.setattr(backends, "_installed", lambda library: library == "openvino")
    machine.setitem(sys.modules, "openvino", None)
    chosen, tried = encoder.choose(load_encoder(tiny_encoder), TEXTS, "openvino", "fp32")
    assert chosen.name == "torch-fp32"
    assert list(tried) == ["openvino-fp32"] and "openvino" in str(tried["openvino-fp32"])
