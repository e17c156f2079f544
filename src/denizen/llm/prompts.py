"""Every prompt that is ever sent: texts in denizen/prompts, filled in here with fenced material.

A fence is a code that the material does not contain: text inside a passage cannot close its own marker and speak as if
it stood outside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

_MARK = "---\n"


def messages(name: str, material: Mapping[str, str | Sequence[str]], **settings: object) -> tuple[tuple[str, str], ...]:
    """A prompt's messages, system and user.

    Args:
        name: The file's name without .txt.
        material: Foreign text by the name of its place, fenced by one code. Where it is a list, each piece stands
            between numbered markers of its own, called as the place without its plural s.
        settings: Our own words by the name of their place.

    Returns:
        (role, content) of each message.
    """
    system, user = prompt_text(name).split(_MARK, 1)
    code = _code(material)
    filled = {
        place: text if isinstance(text, str) else _numbered(place.removesuffix("s"), text, code)
        for place, text in material.items()
    }
    words = {**settings, **filled, "fence": code}
    return ("system", system.strip().format(**words)), ("user", user.strip().format(**words))


@cache
def prompt_text(name: str) -> str:
    """A prompt as it stands in its file."""
    return resources.files("denizen").joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")


def prompts_digest(*names: str) -> str:
    """SHA-256 over prompts, for the fingerprint of the stage that sends them."""
    return hashlib.sha256("\0".join(prompt_text(name) for name in names).encode()).hexdigest()


def _numbered(kind: str, parts: Sequence[str], code: str) -> str:
    pieces = (
        f"<{kind} {number} {code}>\n{part}\n</{kind} {number} {code}>" for number, part in enumerate(parts, start=1)
    )
    return "\n\n".join(pieces)


def _code(material: Mapping[str, str | Sequence[str]]) -> str:
    pieces = [piece for text in material.values() for piece in ([text] if isinstance(text, str) else text)]
    text = "\0".join(pieces)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    while digest.hexdigest()[:8] in text:
        digest.update(b".")
    return digest.hexdigest()[:8]
