"""A bi-encoder as mteb asks it: with the prompts that the model has for a task, by Denizen's encoder and its store."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from denizen.engine.progress import Progress
from denizen.retrievers.loading import prompts_of

if TYPE_CHECKING:
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models import ModelMeta
    from mteb.results import TaskResult
    from mteb.types import Array, PromptType

    from denizen.retrievers.bi_encoder import BiEncoder
    from denizen.retrievers.encoder import Encoder
    from denizen.retrievers.loading import Kind


class MtebModel:
    """What mteb calls an encoder.

    Args:
        model: The bi-encoder.
        name: What it is called in results, as OWNER/NAME.
        progress: Is shown bars of texts.

    Attributes:
        mteb_model_meta: What results say of it; its revision is the digest of its files.
        backends: By what it has computed.
    """

    def __init__(self, model: BiEncoder, name: str, progress: Progress) -> None:
        from mteb.models import ModelMeta

        self._model = model
        self._progress = progress
        self._encoder: Encoder = model.encoder
        self.backends: list[str] = []
        with warnings.catch_warnings():
            # of names that sentence-transformers has changed
            warnings.simplefilter("ignore", FutureWarning)
            meta = ModelMeta.from_sentence_transformer_model(self._encoder.model)
        known = {"name": name, "revision": model.digest}
        self.mteb_model_meta: ModelMeta = meta.model_copy(update=known)

    def run(self, task: AbsTaskRetrieval) -> TaskResult:
        """Measures the model on a task whose data is loaded."""
        import mteb

        corpora = [parts["corpus"] for splits in task.dataset.values() for parts in splits.values()]
        passages = list(max(corpora, key=len)["text"])
        # on the corpus, so that queries, which mteb embeds first, do not decide on the backend
        self._encoder = self._model.encoders.of(self._model.folder, self._model.encoding, self._model.digest, passages)
        self._encoder.loaded(passages)
        self.backends.append(str(self._encoder.backend))
        found = mteb.evaluate(
            cast("Any", self),
            task,
            cache=None,
            co2_tracker=False,
            show_progress_bar=False,
            encode_kwargs={"batch_size": 32, "show_progress_bar": False},
        )
        return found.task_results[0]

    def prompts(self, task_metadata: TaskMetadata) -> dict[str, str]:
        """What stands before queries and documents of a task."""
        from mteb.types import PromptType

        return {kind.value: self._prompt(task_metadata, kind) for kind in (PromptType.query, PromptType.document)}

    def encode(
        self, inputs: Any, *, task_metadata: TaskMetadata, prompt_type: PromptType | None = None, **settings: Any
    ) -> Array:
        """Embeds what mteb has made of queries or documents; shape (texts, dim)."""
        from mteb.types import PromptType

        texts = [text for batch in inputs for text in batch["text"]]
        kind: Kind = "query" if prompt_type == PromptType.query else "document"
        prompt = self._prompt(task_metadata, PromptType(kind))
        with self._progress.bar(len(texts), "texts") as advance:
            return np.asarray(self._encoder.encode(texts, kind, advance, prompt)[:])

    def similarity(self, embeddings1: Array, embeddings2: Array) -> Array:
        """Inner products, which are cosines where the model compares by those; shape (first, second)."""
        import torch

        return torch.as_tensor(embeddings1) @ torch.as_tensor(embeddings2).T

    def similarity_pairwise(self, embeddings1: Array, embeddings2: Array) -> Array:
        """The same of each pair; shape (pairs,)."""
        import torch

        return (torch.as_tensor(embeddings1) * torch.as_tensor(embeddings2)).sum(dim=-1)

    def _prompt(self, task_metadata: TaskMetadata, prompt_type: PromptType) -> str:
        """The model's prompt for a task, for its type, or for the kind of text: the first that it has, as mteb does."""
        from mteb.models.abs_encoder import get_prompt_name

        known = {name: prompt or "" for name, prompt in self._encoder.model.prompts.items()}
        name = get_prompt_name(known, task_metadata, prompt_type)
        kind: Kind = "query" if prompt_type.value == "query" else "document"
        return known[name] if name else prompts_of(self._encoder.model)[kind]


def save_result(result: TaskResult, meta: ModelMeta, out: Path) -> Path:
    """Writes a result where and as mteb keeps them, so that its leaderboard reads it; the file."""
    from mteb.cache import ResultCache

    kept = ResultCache(out)
    kept.save_to_cache(result, meta)
    return kept.get_task_result_path(result.task_name, meta)
