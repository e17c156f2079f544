"""The command line: one thin function a command, the same words as the Python API, and the exit codes.

0 done, 1 a fault of ours, 2 wrong input or settings, 3 leak guard, 4 gate not met, 130 interrupted. Libraries are
imported inside the commands, so that `denizen --help` answers at once.
"""

from __future__ import annotations

# the order in which --help lists them
from denizen.cli import adapting, exporting, ingesting, measuring, prompting, searching, serving, talking
from denizen.cli.app import app, main

__all__ = [
    "adapting",
    "app",
    "exporting",
    "ingesting",
    "main",
    "measuring",
    "prompting",
    "searching",
    "serving",
    "talking",
]
