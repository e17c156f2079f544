"""Every prompt that is ever sent: texts in denizen/prompts, filled in here with material between markers.

What comes first is the same in all calls of a kind (the instructions, the examples), and what differs most comes last:
servers keep what prompts begin with alike, and read only the rest. So markers carry no code of their own; material that
holds one is changed where it does, and cannot close its own marker and speak as if it stood outside.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

Messages = tuple[tuple[str, str], ...]

_BREAK = "---\n"
# the markers of all prompts, as somebody might write them
_MARKER = re.compile(r"<(?=\s*/?\s*(?:passage|query|examples|reference|answer)\b)", re.IGNORECASE)
# reads as one, and is none
_HARMLESS = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"


def messages(name: str, material: Mapping[str, str | Sequence[str]], **settings: object) -> Messages:
    """A prompt's messages, system and user.

    Args:
        name: The file's name without .txt.
        material: Foreign text by the name of its place. Where it is a list, each piece stands between numbered markers
            of its own, called as the place without its plural s.
        settings: Our own words by the name of their place.

    Returns:
        (role, content) of each message.
    """
    system, user = prompt_text(name).split(_BREAK, 1)
    words = {**settings, **_tamed_material(material)}
    return ("system", system.strip().format(**words)), ("user", user.strip().format(**words))


def single_turn(name: str, material: Mapping[str, str | Sequence[str]], **settings: object) -> str:
    """What a user's one turn says, of a file that has no system message; the arguments are those of `messages`."""
    return prompt_text(name).strip().format(**settings, **_tamed_material(material))


def with_turns(prompt: Messages, turns: Sequence[tuple[Messages, str]]) -> Messages:
    """A prompt with examples before it: what each was asked, in the same form, and the right reply."""
    shown = [turn for asked, reply in turns for turn in (asked[-1], ("assistant", reply))]
    return (*prompt[:-1], *shown, prompt[-1])


@cache
def prompt_text(name: str) -> str:
    """A prompt as it stands in its file."""
    return _read(f"{name}.txt")


@cache
def prompt_examples(name: str) -> list[dict[str, str]]:
    """The examples that go with a prompt."""
    found: list[dict[str, str]] = json.loads(_read(f"{name}_examples.json"))
    return found


def prompts_digest(*names: str) -> str:
    """SHA-256 over prompts and their examples, for the fingerprint of the stage that sends them."""
    folder = resources.files("denizen").joinpath("prompts")
    files = [file for name in names for file in (f"{name}.txt", f"{name}_examples.json")]
    texts = [_read(file) for file in files if folder.joinpath(file).is_file()]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _read(file: str) -> str:
    return resources.files("denizen").joinpath("prompts", file).read_text(encoding="utf-8")


def _tamed_material(material: Mapping[str, str | Sequence[str]]) -> dict[str, str]:
    return {
        place: _tamed(text) if isinstance(text, str) else _numbered(place.removesuffix("s"), text)
        for place, text in material.items()
    }


def _tamed(text: str) -> str:
    return _MARKER.sub(_HARMLESS, text)


def _numbered(kind: str, parts: Sequence[str]) -> str:
    pieces = (f"<{kind} {number}>\n{_tamed(part)}\n</{kind} {number}>" for number, part in enumerate(parts, start=1))
    return "\n\n".join(pieces)
