"""What `denizen audit` found, as people read it."""

from __future__ import annotations

from typing import Any

_COMPARED = {
    "again": "asked again",
    "together": "several in one call, against one each",
    "reversed": "several in one call, in reversed order",
    "second_llm": "against a second judge",
    "people": "against people",
}


def audit_lines(found: dict[str, Any]) -> list[str]:
    """What an audit came to, as audit.json has it, or a sheet that was written instead."""
    if "exported" in found:
        return [f"{found['exported']} pairs for people to grade; give the sheet back with --people"]
    lines = [f"judge {found['llm']}, {found['pairs']} pairs of the run"]
    lines += [f"  {name:<40} {_kappa(found[key]['kappa'])}" for key, name in _COMPARED.items() if key in found]
    for kind, rate in found["planted"].items():
        if rate:
            interval = f"[{rate['low']:.1%}, {rate['high']:.1%}]"
            lines.append(f"  planted {kind:<32} {rate['value']:.1%} right {interval} of {rate['count']}")
    for way, rate in found.get("decoys", {}).items():
        if rate and way != "fooled":
            interval = f"[{rate['low']:.1%}, {rate['high']:.1%}]"
            lines.append(f"  fooled by {way:<30} {rate['value']:.1%} {interval} of {rate['count']}")
    for kind in ("sensitivity", "specificity"):
        if rate := found.get("people", {}).get(kind):
            lines.append(f"  {kind} against people {rate['value']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]")
    return [*lines, found["headline"]]


def _kappa(kappa: dict[str, Any]) -> str:
    if kappa["value"] is None:
        return f"kappa undefined ({kappa['reason']})"
    return (
        f"kappa {kappa['value']:.2f} [{kappa['low']:.2f}, {kappa['high']:.2f}], "
        f"agreement {kappa['agreement']:.0%} of {kappa['pairs']}"
    )
