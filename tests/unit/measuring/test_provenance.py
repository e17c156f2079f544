"""What stands beside figures."""

from __future__ import annotations

import os
import platform

import torch

from denizen import __version__
from denizen.measuring.provenance import machine, versions


def test_versions_of_what_decides_results() -> None:
    found = versions()
    assert (found["python"], found["denizen"]) == (platform.python_version(), __version__)
    assert found["torch"] == torch.__version__ and found["bm25s"][0].isdigit()


def test_the_machine() -> None:
    found = machine()
    assert (found["cores"], found["threads"]) == (os.cpu_count(), torch.get_num_threads())
    assert found["processor"] and set(found["flags"]) <= {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}
    assert (found["cuda"] is None) is not torch.cuda.is_available()
