"""What can go wrong, as a flat list of types, each with the exit code that the command line returns.

Every message names the value, the limit and the remedy. A failure that concerns one row of data (a broken
line, an unreadable reply) is data, not an exception: it is collected as a row and counted.
"""

from __future__ import annotations


class DenizenError(Exception):
    """Base of all errors that Denizen raises on purpose."""

    exit_code = 1


class InputError(DenizenError):
    """The input or a setting is wrong; the user can mend it."""

    exit_code = 2


class ChangedError(InputError):
    """A finished part of a run was made with other settings or inputs than the ones given now."""


class LeakError(DenizenError):
    """A query, a relevant passage or a near-duplicate of either stands on both sides of a split."""

    exit_code = 3


class GateError(DenizenError):
    """An adapted model has forgotten, or an export loses, more than the limit allows."""

    exit_code = 4


def reason(error: BaseException) -> str:
    """The first line of another library's message, or the error's type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
