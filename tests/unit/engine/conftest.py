"""What the tests of the engine share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk: what is ended here is a process and not the machine."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
