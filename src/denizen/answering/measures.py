"""What answers to the rows of one task are worth, row by row and as figures with intervals by document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from denizen.answering.answers import TaskAnswer
from denizen.answering.bert_score import BertScorer
from denizen.answering.classification import Labels, label_f1_difference
from denizen.answering.rouge import rouge_l, words
from denizen.data.task_rows import TaskRow
from denizen.measuring.significance import Difference, paired_difference, ratio_difference

_Values = np.ndarray[Any, np.dtype[np.float64]]

LIKELIHOOD, ROUGE, BERT, ACCURACY, F1 = "log_likelihood", "rouge_l", "bert_score", "accuracy", "macro_f1"
# by what a system is better or worse at a task where no judge counts; of a label nothing but being right
DECIDING = {"answer": (LIKELIHOOD, ROUGE, BERT), "summarize": (LIKELIHOOD, ROUGE, BERT), "classify": (ACCURACY,)}


@dataclass(frozen=True)
class TaskValues:
    """A system's answers to the rows of one task, measured.

    Attributes:
        means: Measure to its value for each row: of a label accuracy, else ROUGE-L and BERTScore.
        labels: Of a label, which one each answer is; None: none. Empty for other tasks.
        wanted: The label of each reference; empty for other tasks.
        likelihoods: Natural log-likelihood of each reference.
        tokens: How many tokens each reference has for the system.
        ended: Whether each answer was ended by the model itself.
        lengths: Words of each answer.
        groups: The number of each row's document.
    """

    means: dict[str, list[float]]
    labels: list[str | None]
    wanted: list[str]
    likelihoods: list[float]
    tokens: list[int]
    ended: list[bool]
    lengths: list[int]
    groups: list[int]

    def of_row(self, at: int) -> dict[str, float]:
        """The measures of one row."""
        return {**{name: values[at] for name, values in self.means.items()}, LIKELIHOOD: self._a_token(at)}

    def _a_token(self, at: int) -> float:
        return self.likelihoods[at] / max(1, self.tokens[at])


def measured(
    rows: Sequence[TaskRow],
    answers: Sequence[TaskAnswer],
    groups: Sequence[int],
    labels: Labels,
    scorer: BertScorer | None = None,
) -> TaskValues:
    """Measures the answers to rows of one task.

    Args:
        rows: The rows.
        answers: An answer to each.
        groups: The number of each row's document.
        labels: The set of labels, of any row.
        scorer: What BERTScore is computed by; None: it is left out.
    """
    said, references = [each.answer for each in answers], [row.answer for row in rows]
    of_labels, wanted, means = list[str | None](), list[str](), dict[str, list[float]]()
    if rows[0].task == "classify":
        of_labels, wanted = [labels.of(text) for text in said], [labels.of(text) or text for text in references]
        means[ACCURACY] = [float(one == other) for one, other in zip(of_labels, wanted, strict=True)]
    else:
        means[ROUGE] = [rouge_l(one, other) for one, other in zip(said, references, strict=True)]
        if scorer is not None:
            means[BERT] = scorer.scores(said, references)
    return TaskValues(
        means,
        of_labels,
        wanted,
        [each.log_likelihood for each in answers],
        [each.tokens for each in answers],
        [each.ended for each in answers],
        [len(words(text)) for text in said],
        list(groups),
    )


def figures(found: TaskValues) -> dict[str, Any]:
    """Each measure of a system with its interval, and what else is to be known of its answers."""
    zeros = np.zeros(len(found.groups))
    told: dict[str, Any] = {
        name: _interval(paired_difference(np.array(values), zeros, groups=found.groups))
        for name, values in found.means.items()
    }
    if found.labels:
        told[F1] = _interval(label_f1_difference(found.labels, None, found.wanted, found.groups))
        told["no_label"] = sum(label is None for label in found.labels) / len(found.labels)
    told[LIKELIHOOD] = _interval(
        ratio_difference(np.array(found.likelihoods), np.array(found.tokens, dtype=np.float64), groups=found.groups)
    )
    told["ended"], told["words"] = float(np.mean(found.ended)), float(np.mean(found.lengths))
    return told


def differences(found: TaskValues, other: TaskValues) -> dict[str, dict[str, float] | None]:
    """By how much each measure of a system is above another one's; that of likelihood is None where tokens differ."""
    told: dict[str, dict[str, float] | None] = {
        name: asdict(paired_difference(np.array(values), np.array(other.means[name]), groups=found.groups))
        for name, values in found.means.items()
    }
    if found.labels:
        told[F1] = asdict(label_f1_difference(found.labels, other.labels, found.wanted, found.groups))
    told[LIKELIHOOD] = None
    if found.tokens == other.tokens:
        apart = np.array(found.likelihoods) - np.array(other.likelihoods)
        told[LIKELIHOOD] = asdict(ratio_difference(apart, np.array(found.tokens, float), groups=found.groups))
    return told


def _interval(found: Difference) -> dict[str, float]:
    """Without p, which says nothing of one system."""
    return {"value": found.value, "low": found.low, "high": found.high}
