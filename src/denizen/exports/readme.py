"""The README.md of an export: how to use it, and what it was measured to be worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from denizen.exports.kinds import KINDS
from denizen.exports.pgvector import schema
from denizen.exports.qdrant import collection

if TYPE_CHECKING:
    from denizen.exports.subject import Subject


def readme(subject: Subject, kind: str, measured: dict[str, Any]) -> str:
    """The contents; of a model they stand behind its card, which is the whole of what a hub is given."""
    if kind == "hub-folder" and subject.card:
        return subject.card
    of = KINDS[kind]
    usage = of.usage.replace("{dim}", str(subject.dim))
    usage = usage.replace("{collection}", collection(subject)).replace("{schema}", schema(subject))
    own = f"# {subject.name} as {of.title}\n\n{usage}\n\n{_worth(measured)}\n"
    return f"{subject.card.rstrip()}\n\n{own}" if of.is_model and subject.card else own


def _worth(measured: dict[str, Any]) -> str:
    sizes = measured["bytes"]
    size = f"{sizes['export'] / 1e6:,.1f} MB, {sizes['evaluated'] / 1e6:,.1f} MB before."
    if "means" not in measured:
        cosines = measured["cosines"]
        return f"Not measured on queries. Cosine to the model's vectors: {cosines['least']:.4f} at least. {size}"
    means, change = measured["means"], measured["difference"]["nDCG@10"]
    return (
        f"nDCG@10 {means['export']['nDCG@10']:.4f}, {means['evaluated']['nDCG@10']:.4f} as evaluated "
        f"({change['value']:+.4f}, 95 % interval {change['low']:+.4f} to {change['high']:+.4f}, "
        f"{measured['queries']:,} test queries). {size}"
    )
