"""The step that trains a bi-encoder on examples, and its settings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from denizen.data.artifacts import Corpus, Examples, Judgments, Model, Negatives, Qrels, Queries
from denizen.data.relatedness import not_negatives
from denizen.data.tables import each, only, texts, texts_by_id
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.engine.settings import Params, Seeded, setting
from denizen.engine.step import Context, step
from denizen.retrievers.encoding import Arithmetic
from denizen.retrievers.index import Index

if TYPE_CHECKING:
    import pyarrow as pa

    from denizen.engine.progress import Progress
    from denizen.retrievers.bi_encoder import BiEncoder, Encoders
    from denizen.retrievers.loading import Kind
    from denizen.training.near_base import Kept


# of all weights
_WHOLE_RATE = 1e-4
# ten times that of all weights is the field's rule for adapters; not measured here
_ENCODER_ADAPTERS_RATE = 1e-3
# of decoders: most weights, learning rate of their adapters
_RATES = ((3e8, 3e-3), (1e9, 5e-5), (3e9, 1e-5), (math.inf, 2e-5))
_RANK = 16
_DIMS = re.compile(r"([1-9]\d{0,5}(,[1-9]\d{0,5})*)?")


@dataclass(frozen=True)
class LossChoice(Params):
    """The loss, which decides on the shape of examples, too."""

    panel = "Training"

    loss: Literal["infonce", "cached-infonce", "gist", "triplet", "margin-mse", "listwise", "graded-bce"] = setting(
        "infonce",
        "Training loss; listwise (CADET) and graded-bce (BiXSE) go by a teacher's values of several passages a query, "
        "margin-mse (GPL) by those of a cross-encoder, whose default it is.",
    )

    @property
    def triplets(self) -> bool:
        """Whether the loss trains on triplets; else on rows of a query, a positive and negatives."""
        from denizen.training.losses import LOSSES

        return LOSSES[self.loss].triplets

    @property
    def lists(self) -> bool:
        """Whether the loss goes by what a teacher says of each passage of a row."""
        from denizen.training.losses import LOSSES

        return LOSSES[self.loss].lists


@dataclass(frozen=True)
class Pass(Arithmetic, Seeded):
    """How texts pass through a model that is trained."""

    panel = "Training"

    dropout: bool = setting(False, "Keep the model's dropout during training.")
    # half the cost of 256, and of a longer passage it is the best window; see docs/LOG.md
    max_tokens: int = setting(
        128,
        "Train on this many tokens of a text, of a longer passage on its best window; 0: the model's own limit.",
        least=0,
        most=1 << 20,
    )


@dataclass(frozen=True)
class Training(LossChoice, Pass):
    """How a student is trained."""

    panel = "Training"

    # of decoders: arXiv 2602.04731's for .6, 2 and 3.8 billion weights; smaller ones: docs/LOG.md
    learning_rate: float = setting(
        0.0, "Peak learning rate of AdamW; 0: 1e-4, of adapters by the kind and size of the model.", least=0, most=1
    )
    # on all linear layers, as arXiv 2602.04731
    lora_rank: int = setting(
        -1,
        "Train low-rank adapters (LoRA) of this rank instead of all weights; 0: all weights. "
        "-1: 16 for a decoder-only LLM, else 0.",
        least=-1,
        most=4096,
    )
    # short rounds: half an epoch on fresh negatives, then as many steps again on all; see docs/LOG.md
    epochs: float = setting(0.5, "Epochs in each round.", least=0.001, most=1000)
    batch_size: int = setting(32, "Examples in a batch.", least=1, most=65536)
    # the other queries' documents then are hard negatives that cost nothing; see docs/LOG.md for what that gives
    batches: Literal["similar", "domain", "length"] = setting(
        "similar",
        "similar: similar queries share a batch. domain: similar queries of one domain, as their column domain has it. "
        "length: texts of similar length (less padding).",
    )
    warmup_steps: float = setting(
        0.1, "Warm-up: a share of the steps (below 1) or a number of steps.", least=0, most=1e9
    )
    weight_decay: float = setting(0.01, "Weight decay of AdamW.", least=0, most=1)
    temperature: float = setting(
        0.05, "Temperature of all losses but triplet and margin-mse: cosines are divided by it.", least=0.001, most=10
    )
    # the library's default of 5 can never be met by a cosine distance
    margin: float = setting(0.1, "Margin of the triplet loss (arXiv 2512.08088).", least=0, most=2)
    # on ObliQA MRR@5 .692 on dev (.697 without) and PolicyQA -.004 (-.057 at weight 2): see docs/LOG.md
    near_base: float = setting(
        16.0,
        "Weight of the penalty for moving embeddings of the general and neighbour sets away from the base's; 0: off.",
        least=0,
        most=1000,
    )
    # arXiv 2602.04731 took 10 and 50 for two backbones; they helped its experts and cost a model of all data
    generic_prompts: int = setting(
        0,
        "Of a model with an instruction before queries: train with so many instructions of no domain instead, one for "
        "each row; what is saved keeps its own. 0: off.",
        least=0,
        most=50,
    )
    dims: str = setting(
        "",
        "To how many first dimensions embeddings may be cut, as 384,192,96: the loss is taken at each, and at all. "
        "Empty: as the base was trained for.",
    )

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            InputError: When one is out of its bounds, or dims are no numbers.
        """
        super().__post_init__()
        if not _DIMS.fullmatch(self.dims):
            raise InputError(f"dims is {self.dims!r}; it must be numbers above 0 with commas between, as 384,192,96")

    @property
    def cut_dims(self) -> tuple[int, ...]:
        """`dims` as numbers, the largest first."""
        return tuple(sorted({int(dim) for dim in self.dims.split(",") if dim}, reverse=True))

    def of_size(self, decoder: bool, weights: int) -> Self:
        """The same with the learning rate and the rank of adapters that it means for a model.

        Args:
            decoder: Whether the model is a decoder-only LLM.
            weights: How many weights it has.
        """
        rank = self.lora_rank if self.lora_rank >= 0 else _RANK if decoder else 0
        of_adapters = next(rate for most, rate in _RATES if weights <= most) if decoder else _ENCODER_ADAPTERS_RATE
        usual = of_adapters if rank else _WHOLE_RATE
        return replace(self, learning_rate=self.learning_rate or usual, lora_rank=rank)

    def steps(self, rows: int) -> int:
        """How many optimiser steps a training on some examples takes."""
        return max(1, math.ceil(self.epochs * math.ceil(rows / self.batch_size)))


def planned_training(params: Training, *, examples: Examples, **inputs: Any) -> dict[str, Any]:
    """Steps, and texts that pass through the model, at most."""
    rows = examples.facts.get("examples", 0)
    # a question is short: it counts as nothing
    return {"steps": params.steps(rows), "trained_texts": rows * params.epochs * examples.facts.get("texts_a_row", 1)}


@step(version=6, makes=Model, name="student", plan=planned_training)
def train(  # noqa: PLR0913
    out: Path,
    params: Training,
    ctx: Context,
    *,
    start: Model,
    examples: Examples,
    corpus: Corpus,
    queries: Queries,
    qrels: Qrels,
    judgments: Judgments | None = None,
    index: Index | None = None,
    guide: Model | None = None,
    base: Model | None = None,
    base_index: Index | None = None,
    kept: Value | None = None,
    negatives: Negatives | None = None,
    generic: Value | None = None,
) -> dict[str, Any]:
    """Trains a student.

    Args:
        out: Where the model goes.
        params: How.
        ctx: Its scratch folder holds checkpoints.
        start: The model to start from.
        examples: What to train on.
        corpus: The texts of passages.
        queries: The texts of queries.
        qrels: What is relevant, which must not be a negative, and what is irrelevant, which may be one.
        judgments: What a teacher has said of others.
        index: What the student to start from has embedded the corpus with, which says of a passage that is longer than
            training reads which part is the best for a query. None: the beginning, and batches by length.
        guide: The guide of the gist loss.
        base: The model that `kept` texts stay near to, and that adapters of `start`, which go on learning, are of.
        base_index: What it has embedded the corpus with.
        kept: By kind of text ("query", "document"), texts whose embeddings should stay near the base's.
        negatives: Passages beside the corpus that were written as negatives of examples.
        generic: Instructions of which one stands before each query instead of the model's own.
    """
    from denizen.retrievers.bi_encoder import Encoders
    from denizen.training import bi_encoder
    from denizen.training.losses import LOSSES
    from denizen.training.with_negatives import with_negatives

    rows, passages, encoders = examples.table, corpus.table, ctx[Encoders]
    if negatives is not None:
        rows, passages = with_negatives(rows, passages, negatives, triplets=params.triplets)
    known = None if judgments is None else judgments.table
    near = not_negatives(qrels.table, known, corpus.table, rows["query_id"].unique().to_pylist())
    masks = LOSSES[params.loss].masks
    said = None
    if index is not None:
        model = index.model(start, encoders)
        room = seen_at_once(model, params.max_tokens)
        said = best_windows(model, room, rows, passages, queries.table, ctx.progress)
    training = bi_encoder.training_set(rows, passages, queries.table, near, fill=masks, said=said)
    if training.dropped:
        ctx.progress.note(f"{training.dropped:,} examples without enough negatives left out")
    anchors = training.columns["anchor"]
    cut = {} if said is None else {"cut": _share_cut(said, passages)}
    vectors = None
    if index is not None and params.batches != "length":
        # embedded already, so these come from the store
        vectors = index.encoder(start, encoders).encode(anchors, "query")[:]
    if params.batches == "domain":
        home = dict(each(queries.table, "query_id", "domain"))
        training = replace(training, domains=[home[query_id] or "" for query_id in training.query_ids])
    if kept is not None and base is not None and base_index is not None:
        training = replace(training, kept=_kept(base, base_index, encoders, kept.content, params.max_tokens))
    if generic is not None:
        training = replace(training, instructions=generic.content)
    with ctx.progress.bar(params.steps(len(anchors)), "steps") as advance:
        made = bi_encoder.train(
            out,
            start.path,
            training,
            params,
            guide.path if guide else None,
            vectors,
            ctx.scratch,
            advance,
            base.path if base else None,
        )
    return {**made, **cut}


def _share_cut(said: Mapping[tuple[str, str], str], corpus: pa.Table) -> float:
    """Which share of the passages trained on is longer than what is seen of them."""
    text_of = texts_by_id(corpus)
    longer = {doc_id: part != text_of[doc_id] for (_, doc_id), part in said.items()}
    return sum(longer.values()) / len(longer)


def seen_at_once(model: BiEncoder, max_tokens: int) -> int:
    """How many tokens of a passage training sees beside its prompt; 0: all, or nobody knows."""
    from denizen.retrievers.loading import prompts_of
    from denizen.training.bi_encoder import tokens_seen

    loaded = model.encoder.model
    return tokens_seen(loaded, max_tokens, prompts_of(loaded)["document"])


def best_windows(
    model: BiEncoder, room: int, examples: pa.Table, corpus: pa.Table, queries: pa.Table, progress: Progress
) -> dict[tuple[str, str], str] | None:
    """By query and passage of some examples, what is trained on of a passage that is longer than training reads.

    That is the window of so many tokens that a bi-encoder finds nearest to the query, and not the beginning: the answer
    may stand anywhere. None where no passage is longer, or `room` is 0.
    """
    from denizen.retrievers.windows import Reading, Windowed, token_counts

    pairs = sorted(
        {
            (query, doc_id)
            for query, positive, negatives in each(examples, "query_id", "positive_id", "negative_ids")
            for doc_id in (positive, *negatives)
        }
    )
    question = dict(each(queries, "query_id", "text"))
    shown = only(corpus, "doc_id", {doc_id for _, doc_id in pairs})
    if not room:
        return None
    longer = sum(count > room for count in token_counts(model.encoder.model.tokenizer, texts(shown)))
    if not longer:
        return None
    progress.note(f"{longer:,} of {len(shown):,} passages are longer than {room} tokens: their best window is seen")
    # side by side: what overlaps would be embedded twice
    reader = Windowed((model,), Reading(room, room))
    best = reader.best(shown, [(question[query], doc_id) for query, doc_id in pairs], progress)
    return dict(zip(pairs, best, strict=True))


def _kept(
    base: Model, index: Index, encoders: Encoders, texts: Mapping[Kind, Sequence[str]], max_tokens: int
) -> list[Kept]:
    from denizen.retrievers.loading import load_encoder, prompts_of
    from denizen.training.bi_encoder import token_limit
    from denizen.training.near_base import Kept, first_tokens

    encoder, model = index.encoder(base, encoders), load_encoder(base.path)
    prompts, limit = prompts_of(model), token_limit(model, max_tokens)
    found = []
    for kind, listed in texts.items():
        # what training does not see of a text must not be in its target
        cut = first_tokens(model, listed, prompts[kind], limit)
        found.append(Kept(cut, encoder.encode(cut, kind)[:], prompts[kind]))
    return found
