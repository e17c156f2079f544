"""Training a bi-encoder on examples: sentence-transformers' trainer, with our masking and exact resumption.

Killed at any moment and started again, training ends with the same weights: the order of the batches depends on
the seed and the epoch alone, and only checkpoints that were written to the end are trusted.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.util import batch_to_device
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from denizen.data.tables import each, texts_by_id
from denizen.engine.errors import InputError
from denizen.retrievers.backends import use_bf16
from denizen.retrievers.cpu.attention import use_batched_attention
from denizen.retrievers.loading import Kind, load_encoder, prompts_of
from denizen.training.batch_embedding import embed_columns
from denizen.training.batches import EpochBatches, length_batches, similar_batches
from denizen.training.losses import LOSSES, LossInputs, Relevance, at_dims
from denizen.training.near_base import Kept, NearBase

if TYPE_CHECKING:
    from denizen.training.train import Training

_CHECKPOINTS = 10
_COMPLETE = "complete"

_Vectors = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class TrainingSet:
    """Examples as the trainer takes them.

    Attributes:
        columns: anchor, positive, negative_1 ... negative_n, and label (the row's number).
        relevance: What must not be a negative of what.
        dropped: Examples that had to be left out, because the loss needs more negatives than they have.
        margins: Shape (rows, negatives): the teacher's preference for each positive; empty without teacher scores.
        kept: Texts whose embeddings should stay near the base's.
    """

    columns: Mapping[str, list[Any]]
    relevance: Relevance
    dropped: int
    margins: _Vectors = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    kept: Sequence[Kept] = ()


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
    scores = [row["teacher_scores"] for row in kept]
    margins = np.array([[own - other for other in others] for own, *others in scores if others] if all(scores) else [])
    return TrainingSet(columns, relevance, len(examples) - len(kept), margins.astype(np.float32))


def train(  # noqa: PLR0913
    folder: Path,
    student: Path,
    data: TrainingSet,
    config: Training,
    guide: Path | None,
    anchors: _Vectors | None,
    scratch: Path,
    progress: Callable[[int], None] = lambda steps: None,
) -> dict[str, Any]:
    """Trains a student and saves it into `folder`, which plain `SentenceTransformer(folder)` loads.

    Training goes on from the last whole checkpoint in `scratch`, where they live while it lasts. Similar batches are
    made by `anchors`, the queries' embeddings, shape (rows, dim); without them, batches are by length. Without a guide,
    the student itself is that of the gist loss. `progress` is called with the number of steps that have just ended.

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
    model = load_encoder(student)
    own_limit = model.max_seq_length
    own = _make_ready(model, config)
    checkpoints = scratch / "checkpoints"
    resume = _last_checkpoint(checkpoints)
    steps = config.steps(rows)
    progress(int(resume.name.rpartition("-")[2]) if resume else 0)
    margins = torch.from_numpy(data.margins)
    given = LossInputs(
        model, data.relevance, config.temperature, config.margin, lambda: load_encoder(guide or student), margins
    )
    loss = at_dims(model, LOSSES[config.loss].make(given), config.cut_dims)
    if config.near_base and data.kept:
        loss = NearBase(model, loss, data.kept, config.near_base * LOSSES[config.loss].gradient)
    trainer = _Trainer(
        model=model,
        args=_arguments(checkpoints, prompts_of(model), data, config, steps),
        train_dataset=Dataset.from_dict(dict(data.columns)),
        loss=loss,
        callbacks=[_Watch(progress)],
    )
    trainer.make_batches = _batches(anchors, data, config)
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    # a tokenizer is saved with the limits of its last call, and a training that goes on after its last step makes none
    model.preprocess([""])
    if model.max_seq_length != own_limit:
        model.max_seq_length = own_limit
    _restore(model, own)
    model.save_pretrained(str(folder), create_model_card=False)
    losses = [[entry["step"], round(entry["loss"], 5)] for entry in trainer.state.log_history if "loss" in entry]
    return {"rows": rows, "dropped_rows": data.dropped, "steps": steps, "loss": losses}


def seconds_of_a_step(student: Path, passages: Sequence[str], config: Training) -> float:
    """How long a forward and backward pass over some passages takes on this machine."""
    model = load_encoder(student)
    _make_ready(model, config)
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
    limit, tokenizer = token_limit(model, max_tokens) or model.max_seq_length, model.tokenizer
    if not getattr(tokenizer, "is_fast", False) or not limit or math.isinf(limit):
        return 0
    return max(1, int(limit) - len(tokenizer(prompt)["input_ids"]))


def _make_ready(model: SentenceTransformer, config: Training) -> dict[str, Any]:
    """Sets what training changes of a model, and returns what to put back into its configuration before saving."""
    if limit := token_limit(model, config.max_tokens):
        model.max_seq_length = limit
    use_batched_attention(model)
    own = {name: getattr(_configuration(model), name) for name in _SET if hasattr(_configuration(model), name)}
    return own if config.dropout else {**own, **_switch_off_dropout(model)}


class _Trainer(SentenceTransformerTrainer):
    """The library's trainer with our batches, and without what it does for a model card."""

    make_batches: Callable[[np.random.Generator], list[list[int]]]

    def get_batch_sampler(  # type: ignore[override]
        self, dataset: Dataset, batch_size: int, **settings: object
    ) -> EpochBatches:
        """Batches in an order that depends on seed and epoch alone."""
        return EpochBatches(dataset, batch_size, self.args.seed, self.make_batches)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leaves the card to the end of the run; the library's own computes examples with the model here."""

    def _save(self, output_dir: str | None = None, state_dict: object = None) -> None:
        """Writes the model of a checkpoint without a card, for which the library compiles a template each time."""
        self.model.save_pretrained(output_dir or str(self.args.output_dir), create_model_card=False)


def _arguments(
    checkpoints: Path, prompts: dict[Kind, str], data: TrainingSet, config: Training, steps: int
) -> SentenceTransformerTrainingArguments:
    text_columns = [name for name in data.columns if name != "label"]
    prompt = {name: prompts["query" if name == "anchor" else "document"] for name in text_columns}
    return SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        optim="adamw_torch_fused",
        bf16=use_bf16(config.precision),
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        data_seed=config.seed,
        prompts={name: text for name, text in prompt.items() if text} or None,
        save_strategy="steps",
        save_steps=max(1, math.ceil(steps / _CHECKPOINTS)),
        save_total_limit=2,
        logging_steps=max(1, steps // 50),
        # else the trainer replaces nan by the mean loss so far, and a diverged training goes on unseen
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _batches(
    anchors: _Vectors | None, data: TrainingSet, config: Training
) -> Callable[[np.random.Generator], list[list[int]]]:
    if anchors is not None:
        return lambda random: similar_batches(anchors, config.batch_size, random)
    texts_of_rows = [values for name, values in data.columns.items() if name != "label"]
    lengths = np.array([sum(len(text) for text in row) for row in zip(*texts_of_rows, strict=True)])
    return lambda random: length_batches(lengths, config.batch_size, random)


class _Watch(TrainerCallback):
    """Reports steps, and marks a checkpoint once everything of it is on disk."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self.progress = progress

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.progress(1)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / _COMPLETE).touch()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        if logs and not math.isfinite(logs.get("loss", 0.0)):
            raise InputError(
                f"the loss became {logs['loss']} at step {state.global_step} of {state.max_steps}; "
                f"lower learning_rate (now {args.learning_rate:g}) or use precision fp32"
            )


def _last_checkpoint(checkpoints: Path) -> Path | None:
    for path in checkpoints.glob("checkpoint-*"):
        if not (path / _COMPLETE).is_file():
            shutil.rmtree(path)
    return max(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _switch_off_dropout(model: SentenceTransformer) -> dict[str, float]:
    """Sets every dropout probability to 0 and returns those of the configuration, to be put back before saving."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    kept = {name: value for name in _DROPOUTS if (value := getattr(_configuration(model), name, None)) is not None}
    _configure(model, dict.fromkeys(kept, 0.0))
    return kept


def _configure(model: SentenceTransformer, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(_configuration(model), name, value)


def _restore(model: SentenceTransformer, own: Mapping[str, Any]) -> None:
    """Puts back what training has changed of the configuration, and takes out what it has added."""
    for name in _SET:
        if name not in own and hasattr(_configuration(model), name):
            delattr(_configuration(model), name)
    _configure(model, own)


def _configuration(model: SentenceTransformer) -> object:
    return getattr(getattr(model[0], "auto_model", None), "config", None)


# the trainer sets them, and models whose configurations differ cannot be merged
_SET = ("bos_token_id", "eos_token_id", "pad_token_id", "use_cache")
_DROPOUTS = ("attention_probs_dropout_prob", "hidden_dropout_prob", "attention_dropout", "dropout")
