"""How well a language model foresees held-out documents: perplexity, and bits a byte, whatever the tokenizer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from denizen.data.artifacts import Corpus, Documents, Evaluation, Model
from denizen.data.whole_documents import WholeDocuments, whole_documents
from denizen.engine.errors import InputError
from denizen.engine.files import read_json_lines, write_json_lines
from denizen.engine.progress import Progress, Silent
from denizen.engine.step import Context, step
from denizen.language_models.language_model import LanguageModel
from denizen.language_models.token_rows import RowLength, token_rows
from denizen.measuring.significance import Difference, ratio_difference
from denizen.retrievers.encoding import Arithmetic

_DOCUMENTS = "documents.jsonl"
# measured between two savings
_AT_A_TIME = 32
_LN2 = math.log(2)


@dataclass(frozen=True)
class Reading(RowLength, Arithmetic):
    """How a model reads what it is measured on."""


@dataclass(frozen=True)
class Foreseen:
    """How well a model foresees one document.

    Attributes:
        document: Its id.
        group: The number of those that are near-duplicates of it.
        log_likelihood: Natural, of all its tokens.
        tokens: How many were predicted.
        bytes: Of its text in UTF-8.
    """

    document: str
    group: int
    log_likelihood: float
    tokens: int
    bytes: int


@dataclass(frozen=True)
class LikelihoodProbe:
    """How well a language model foresees documents.

    Attributes:
        documents: What is foreseen.
        max_length: Tokens of a row at most; a longer document is read in rows.
        role: Why it is measured.
        name: What people call it.
        progress: Receives what a person should see.
    """

    documents: WholeDocuments
    max_length: int
    role: str = "domain"
    name: str = "held-out documents"
    measure: ClassVar[str] = "log-likelihood a byte"
    progress: Progress = field(default_factory=Silent, compare=False)

    def values(self, model: LanguageModel) -> dict[str, float]:
        """Document to its natural log-likelihood a byte; higher is better."""
        return {each.document: each.log_likelihood / each.bytes for each in self.foreseen(model)}

    def report(self, models: Mapping[str, LanguageModel], folder: Path | None = None) -> dict[str, Any]:
        """Likelihood a byte of all texts of each model, and differences to the first."""
        found = {name: self.foreseen(model) for name, model in models.items()}
        base, *others = found
        means = {name: {self.measure: -bits_a_byte(of).value * _LN2} for name, of in found.items()}
        differences = {}
        for name in others:
            apart = bits_a_byte(found[name], found[base])
            ends = {"value": -apart.value * _LN2, "low": -apart.high * _LN2, "high": -apart.low * _LN2}
            differences[name] = {self.measure: {**ends, "p": apart.p}}
        if folder is not None:
            for name, of in found.items():
                _write(folder / f"{name}.jsonl", of)
        told = {"role": self.role, "measure": self.measure, "documents": len(self.documents.texts)}
        return {**told, "means": means, "differences": differences}

    def foreseen(self, model: LanguageModel, journal: Path | None = None) -> list[Foreseen]:
        """Every document by a model.

        Args:
            model: The model.
            journal: A file that keeps what a stopped call has found; None: nothing is kept.
        """
        done = [] if journal is None else _read(journal)
        listed = list(zip(self.documents.texts.items(), self.documents.groups, strict=True))
        with self.progress.bar(len(listed), "documents") as advance:
            advance(len(done))
            for at in range(len(done), len(listed), _AT_A_TIME):
                part = listed[at : at + _AT_A_TIME]
                done += self._part(model, part)
                if journal is not None:
                    _write(journal, done)
                advance(len(part))
        return done

    def _part(self, model: LanguageModel, part: Sequence[tuple[tuple[str, str], int]]) -> list[Foreseen]:
        rows = token_rows(model.tokenizer, [text for (_, text), _ in part], self.max_length, end=False)
        said = iter(model.log_likelihoods([row for of in rows for row in of]))
        return [
            Foreseen(
                document,
                group,
                math.fsum(next(said) for _ in of),
                sum(len(row) - 1 for row in of),
                len(text.encode("utf-8", "surrogatepass")),
            )
            for ((document, text), group), of in zip(part, rows, strict=True)
        ]


@step(version=1, makes=Evaluation)
def perplexity(
    out: Path, params: Reading, ctx: Context, *, model: Model, corpus: Corpus, documents: Documents
) -> dict[str, Any]:
    """How well a model foresees the documents of the test side.

    Passages with a near-duplicate on the training side are left out: who has learnt them by heart foresees them.

    Args:
        out: Where the values of each document go.
        params: How they are read.
        ctx: Its scratch folder keeps what is measured already.
        model: The model.
        corpus: The passages, with clusters.
        documents: The side of each document.

    Raises:
        InputError: When no text is left.
    """
    from denizen.retrievers.backends import use_bf16

    held = held_out(corpus, documents)
    probe = LikelihoodProbe(held, params.max_length, progress=ctx.progress)
    found = probe.foreseen(LanguageModel(model.path, use_bf16(params.precision)), ctx.scratch / _DOCUMENTS)
    _write(out / _DOCUMENTS, found)
    told = {"documents": len(found), "groups": len(set(held.groups)), "passages_left_out": held.left_out}
    sizes = {name: sum(getattr(each, name) for each in found) for name in ("tokens", "bytes")}
    return {**told, **sizes, "perplexity": asdict(_perplexity(found)), "bits_a_byte": asdict(bits_a_byte(found))}


def held_out(corpus: Corpus, documents: Documents, side: str = "test") -> WholeDocuments:
    """The documents of a side, without passages that have a near-duplicate on the training side.

    Raises:
        InputError: When no text is left.
    """
    found = whole_documents(corpus.table, documents.table, side, apart_from="train")
    if not found.texts:
        held = "held-out" if side == "test" else side
        why = f"all {found.left_out:,} {held} passages have a near-duplicate on the training side"
        raise InputError(f"{why if found.left_out else f'no document is on the {side} side'}; add other documents")
    return found


def foreseen_by(evaluation: Evaluation) -> list[Foreseen]:
    """The values of each document of a step `perplexity`."""
    return _read(evaluation.path / _DOCUMENTS)


def bits_a_byte(found: Sequence[Foreseen], other: Sequence[Foreseen] | None = None) -> Difference:
    """Bits a byte of all texts, lower is better; or by how much a model has more of them than another one.

    Args:
        found: Of a model.
        other: Of another one on the same documents.
    """
    return ratio_difference(_apart(found, other) / _LN2, _of(found, "bytes"), groups=[each.group for each in found])


def perplexity_change(found: Sequence[Foreseen], other: Sequence[Foreseen]) -> Difference | None:
    """By which share the perplexity of a model is above another one's; None where they cut texts differently."""
    sizes = _of(found, "tokens")
    if not np.array_equal(sizes, _of(other, "tokens")):
        return None
    apart = ratio_difference(_apart(found, other), sizes, groups=[each.group for each in found])
    return Difference(math.expm1(apart.value), math.expm1(apart.low), math.expm1(apart.high), apart.p)


def _perplexity(found: Sequence[Foreseen]) -> Difference:
    """Of a token, over all texts; p says nothing here."""
    nats = ratio_difference(_apart(found, None), _of(found, "tokens"), groups=[each.group for each in found])
    return Difference(_exp(nats.value), _exp(nats.low), _exp(nats.high), nats.p)


def _exp(nats: float) -> float:
    # a model that foresees nothing at all may be beyond any float
    return math.exp(min(nats, 700.0))


def _apart(found: Sequence[Foreseen], other: Sequence[Foreseen] | None) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Negative log-likelihood of each document, minus another model's."""
    own = -_of(found, "log_likelihood")
    return own if other is None else own + _of(other, "log_likelihood")


def _of(found: Sequence[Foreseen], name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([getattr(each, name) for each in found], dtype=np.float64)


def _write(path: Path, found: Sequence[Foreseen]) -> None:
    write_json_lines(path, map(asdict, found))


def _read(path: Path) -> list[Foreseen]:
    return [Foreseen(**row) for row in read_json_lines(path)]
