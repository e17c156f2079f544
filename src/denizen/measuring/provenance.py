"""What stands beside every figure: how the file is to be read, and the versions and the machine that it comes from."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from denizen import __version__
from denizen.engine.versions import installed

# of metrics.json: raised when a key changes its meaning; new keys do not raise it
SCHEMA = 1
_PACKAGES = ("torch", "sentence-transformers", "transformers", "bm25s", "ir-measures", "mergekit")


def versions() -> dict[str, str]:
    """The versions of what decides the result."""
    return {
        "python": platform.python_version(),
        "denizen": __version__,
        **{name: installed(name) for name in _PACKAGES},
    }


def machine() -> dict[str, Any]:
    """The machine that the figures are from."""
    import torch

    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    of = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    values = {name.strip(): value.strip() for name, value in of.items()}
    flags = {"avx2", "avx512f", "avx512_bf16", "amx_bf16"} & set(values.get("flags", "").split())
    return {
        "processor": values.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "flags": sorted(flags),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
    }
