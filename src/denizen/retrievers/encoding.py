"""How texts become embeddings: the settings that decide their digits beside the model."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from denizen.engine.settings import Params, setting


@dataclass(frozen=True)
class Arithmetic(Params):
    """In which arithmetic models compute."""

    panel: ClassVar[str] = "Machine"

    precision: Literal["auto", "fp32", "bf16", "int8"] = setting(
        "auto", "bf16 where the processor has it, else fp32. int8: encoding with the onnx backend."
    )

    def on_this_machine(self) -> Self:
        """The same with the arithmetic that it means here, which decides the weights of what is trained."""
        from denizen.retrievers.backends import use_bf16

        return replace(self, precision="bf16" if use_bf16(self.precision) else "fp32")


@dataclass(frozen=True)
class Encoding(Arithmetic):
    """What computes embeddings, and in which arithmetic."""

    backend: Literal["auto", "torch", "openvino", "onnx"] = setting(
        "auto", "What encodes: openvino where it is installed, else torch; must pass the parity gate."
    )

    def check(self) -> None:
        """Makes sure that there is such a backend, before a corpus is read and not after.

        Raises:
            InputError: When it is not installed, or has no such arithmetic.
        """
        from denizen.retrievers.backends import candidates

        candidates(self.backend, self.precision)

    def pinned(self, backend: str) -> Encoding:
        """The same with exactly the backend that was chosen before, as torch-bf16; users cannot ask for one."""
        found = copy.copy(self)
        object.__setattr__(found, "backend", backend)
        return found
