"""Versions of packages."""

from __future__ import annotations

import numpy as np

from denizen.engine.versions import installed


def test_the_version_of_a_package_and_none_for_one_that_is_not_there() -> None:
    assert installed("numpy") == np.__version__
    assert installed("no-such-package-of-anybody") == "none"
