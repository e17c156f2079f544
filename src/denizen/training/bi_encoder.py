"""Training a bi-encoder on examples: sentence-transformers' trainer, with our masking and exact resumption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.util import batch_to_device

from denizen.data.tables import each, texts_by_id
from denizen.engine.errors import InputError
from denizen.retrievers.adapted import ADAPTER
from denizen.retrievers.backends import use_bf16
from denizen.retrievers.instruction import query_prompt
from denizen.retrievers.loading import Kind, load_encoder, prompts_of
from denizen.retrievers.model_folder import is_decoder
from denizen.training.adapters import attach, fold, of, save_adapters
from denizen.training.batch_embedding import embed_columns
from denizen.training.batches import domain_batches, length_batches, similar_batches
from denizen.training.generic_prompts import prompted
from denizen.training.losses import LOSSES, LossInputs, Relevance, at_dims
from denizen.training.near_base import Kept, NearBase
from denizen.training.trainer import Batches, Trainer, arguments, fit, make_ready, restore

if TYPE_CHECKING:
    from denizen.training.train import Training

_Vectors = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class TrainingSet:
    """Examples as the trainer takes them.

    Attributes:
        columns: anchor, positive, negative_1 ... negative_n, and label (the row's number).
        relevance: What must not be a negative of what.
        dropped: Examples that had to be left out, because the loss needs more negatives than they have.
        values: Shape (rows, 1 + negatives): what a teacher says of each passage of a row, nan where it has fewer.
        kept: Texts whose embeddings should stay near the base's.
        instructions: What is drawn from for each query, instead of the model's own instruction; empty: that.
        query_ids: The query of each row.
        domains: Of each row, where batches are to be of one domain; else none.
    """

    columns: Mapping[str, list[Any]]
    relevance: Relevance
    dropped: int
    values: _Vectors = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    kept: Sequence[Kept] = ()
    instructions: Sequence[str] = ()
    query_ids: Sequence[str] = ()
    domains: Sequence[str] = ()


def training_set(
    examples: pa.Table,
    corpus: pa.Table,
    queries: pa.Table,
    related: Mapping[str, frozenset[str]],
    *,
    fill: bool,
    said: Mapping[tuple[str, str], str] | None = None,
) -> TrainingSet:
    """Looks up the texts and numbers the ids; `related` are the passages that must not be a query's negatives.

    Rows of one batch have equally many columns. With `fill`, for a loss that masks by relevance, a row that lacks
    negatives repeats its own positive there, which the mask takes out again; without, it is dropped. `said`, by query
    and passage, is what of a passage is trained on; without, all of it.
    """
    width = max((len(ids) for ids in examples["negative_ids"].to_pylist()), default=0)
    text_of = texts_by_id(corpus)
    question = dict(each(queries, "query_id", "text"))
    kept = [row for row in examples.to_pylist() if fill or len(row["negative_ids"]) == width]
    rows = [[row["positive_id"], *row["negative_ids"]] for row in kept]
    rows = [ids + [ids[0]] * (1 + width - len(ids)) for ids in rows]
    number = {doc_id: at for at, doc_id in enumerate(dict.fromkeys(doc_id for ids in rows for doc_id in ids))}
    query_number = {query_id: at for at, query_id in enumerate(dict.fromkeys(row["query_id"] for row in kept))}
    columns: dict[str, list[Any]] = {"anchor": [question[row["query_id"]] for row in kept]}
    for at, name in enumerate(["positive", *(f"negative_{place}" for place in range(1, width + 1))]):
        columns[name] = [
            text_of[ids[at]] if said is None else said[row["query_id"], ids[at]]
            for row, ids in zip(kept, rows, strict=True)
        ]
    columns["label"] = list(range(len(kept)))
    relevance = Relevance(
        documents=np.array([[number[doc_id] for doc_id in ids] for ids in rows], dtype=np.int64),
        query=np.array([query_number[row["query_id"]] for row in kept], dtype=np.int64),
        related=[
            frozenset(number[doc_id] for doc_id in related[query_id] if doc_id in number) for query_id in query_number
        ],
    )
    values = np.full((len(kept), 1 + width), np.nan, dtype=np.float32)
    for at, row in enumerate(kept):
        # what nobody has scored is known by its place: the positive, or one of the negatives
        scores = row["teacher_scores"] or [1.0]
        values[at, : 1 + len(row["negative_ids"])] = [*scores, *[0.0] * (1 + len(row["negative_ids"]) - len(scores))]
    asked = [row["query_id"] for row in kept]
    return TrainingSet(columns, relevance, len(examples) - len(kept), values, query_ids=asked)


def train(  # noqa: PLR0913
    folder: Path,
    student: Path,
    data: TrainingSet,
    config: Training,
    guide: Path | None,
    anchors: _Vectors | None,
    scratch: Path,
    progress: Callable[[int], None] = lambda steps: None,
    base: Path | None = None,
) -> dict[str, Any]:
    """Trains a student and saves it into `folder`, which plain `SentenceTransformer(folder)` loads.

    Training goes on from the last whole checkpoint in `scratch`, where they live while it lasts. Similar batches are
    made by `anchors`, the queries' embeddings, shape (rows, dim); without them, batches are by length. Without a guide,
    the student itself is that of the gist loss. `progress` is called with the number of steps that have just ended.

    With a rank of adapters these alone are trained: those of the student go on, where it has some and `base` is what
    they are of. They are saved by themselves, too, in `adapter`.

    Returns:
        Facts: rows, steps, dropped rows, and the loss along the way.

    Raises:
        InputError: When there is nothing to train on.
    """
    rows = len(data.columns["anchor"])
    if rows < 2:
        raise InputError(
            f"{rows} training example(s) were mined; at least 2 are needed. Add queries, or widen the windows"
        )
    torch.manual_seed(config.seed)
    # a base may have been trained so itself: what it was learnt with is folded in
    goes_on = base is not None and base != student and (student / ADAPTER).is_dir()
    below = base if base and goes_on else student
    model = load_encoder(below)
    config = _meant(config, below, model)
    own_limit = model.max_seq_length
    own = _make_ready(model, config)
    if config.lora_rank:
        attach(model, config.lora_rank, student / ADAPTER if goes_on else None, bf16=use_bf16(config.precision))
    steps, prompts = config.steps(rows), prompts_of(model)
    if data.instructions:
        anchors_said = prompted(data.columns["anchor"], data.instructions, query_prompt(model, student), config.seed)
        # what they are prompted by is part of them from here on
        data, prompts = replace(data, columns={**data.columns, "anchor": anchors_said}), {**prompts, "query": ""}
    values = torch.from_numpy(data.values)
    given = LossInputs(
        model, data.relevance, config.temperature, config.margin, lambda: load_encoder(guide or student), values
    )
    loss = at_dims(model, LOSSES[config.loss].make(given), config.cut_dims)
    if config.near_base and data.kept:
        loss = NearBase(model, loss, data.kept, config.near_base * LOSSES[config.loss].gradient)
    args = _arguments(scratch / "checkpoints", prompts, data, config, steps)
    losses = fit(_Trainer, model, loss, data.columns, _batches(anchors, data, config), args, progress)
    if adapted := of(model):
        save_adapters(adapted, folder / ADAPTER)
        # the weights below were rounded, and nothing else of the model is trained
        del model, loss, given, adapted
        model = load_encoder(below)
        fold(model, folder / ADAPTER)
    else:
        # a tokenizer is saved with the limits of its last call, and a training that ends where it goes on has none
        model.preprocess([""])
        if model.max_seq_length != own_limit:
            model.max_seq_length = own_limit
        restore(model, own)
    model.save_pretrained(str(folder), create_model_card=False)
    adapters = {"lora_rank": config.lora_rank, "learning_rate": config.learning_rate} if config.lora_rank else {}
    return {"rows": rows, "dropped_rows": data.dropped, "steps": steps, "loss": losses, **adapters}


def seconds_of_a_step(student: Path, passages: Sequence[str], config: Training) -> float:
    """How long a forward and backward pass over some passages takes on this machine."""
    model = load_encoder(student)
    config = _meant(config, student, model)
    _make_ready(model, config)
    if config.lora_rank:
        attach(model, config.lora_rank, bf16=use_bf16(config.precision))
    model.train()
    features = batch_to_device(model.preprocess(list(passages), prompt=prompts_of(model)["document"]), model.device)

    def step() -> None:
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=use_bf16(config.precision)):
            (embeddings,) = embed_columns(model, [features])
        torch.autograd.backward(embeddings.float().sum())
        if model.device.type == "cuda":
            # a GPU works on after the call
            torch.cuda.synchronize(model.device)

    # the first one also reserves memory
    step()
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def token_limit(model: SentenceTransformer, max_tokens: int) -> int:
    """To how many tokens, its prompt among them, training cuts a text that the model itself would see more of; or 0."""
    # a static embedding has no limit, and none can be set
    return max_tokens if 0 < max_tokens < (model.max_seq_length or 0) < math.inf else 0


def tokens_seen(model: SentenceTransformer, max_tokens: int, prompt: str) -> int:
    """How many tokens of a text training sees beside its prompt; 0: all, or nobody knows."""
    room = tokens_beside(model, max_tokens, prompt)
    return 0 if room is None else max(1, room)


def tokens_beside(model: SentenceTransformer, max_tokens: int, prompt: str) -> int | None:
    """How many tokens a prompt leaves of those that training sees; below 1: not even it is seen. None: all."""
    limit, tokenizer = token_limit(model, max_tokens) or model.max_seq_length, model.tokenizer
    if not getattr(tokenizer, "is_fast", False) or not limit or math.isinf(limit):
        return None
    return int(limit) - len(tokenizer(prompt)["input_ids"])


def _meant(config: Training, folder: Path, model: SentenceTransformer) -> Training:
    """The settings with what they mean for a model and the folder that it was loaded from."""
    return config.of_size(is_decoder(folder), sum(weights.numel() for weights in model.parameters()))


def _make_ready(model: SentenceTransformer, config: Training) -> dict[str, Any]:
    """Sets what training changes of a model, and returns what to put back into its configuration before saving."""
    if limit := token_limit(model, config.max_tokens):
        model.max_seq_length = limit
    return make_ready(model, dropout=config.dropout)


class _Trainer(Trainer, SentenceTransformerTrainer):
    """That of bi-encoders."""


def _arguments(
    checkpoints: Path, prompts: dict[Kind, str], data: TrainingSet, config: Training, steps: int
) -> SentenceTransformerTrainingArguments:
    text_columns = [name for name in data.columns if name != "label"]
    prompt = {name: prompts["query" if name == "anchor" else "document"] for name in text_columns}
    return SentenceTransformerTrainingArguments(
        **arguments(checkpoints, steps, config.seed, config.precision),
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        prompts={name: text for name, text in prompt.items() if text} or None,
    )


def _batches(anchors: _Vectors | None, data: TrainingSet, config: Training) -> Batches:
    if anchors is not None and data.domains:
        return lambda random: domain_batches(anchors, data.domains, config.batch_size, random)
    if anchors is not None:
        return lambda random: similar_batches(anchors, config.batch_size, random)
    texts_of_rows = [values for name, values in data.columns.items() if name != "label"]
    lengths = np.array([sum(len(text) for text in row) for row in zip(*texts_of_rows, strict=True)])
    return lambda random: length_batches(lengths, config.batch_size, random)
