"""BERTScore: how near the words of an answer and of a reference are to one another in the sense of an encoder.

The package bert-score has had no release since 2023 and does not know the tokenizers of transformers 5. Where it can be
run, both give the same (tests/parity). Values are not rescaled: what two unrelated texts have depends on the encoder
and the layer, so that only differences between systems say anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.engine.errors import InputError, reason
from denizen.language_models.language_model import load_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_AT_A_TIME = 32
# the layers that agree best with people are 9 of BERT's 12 and 17 of RoBERTa-large's 24 (arXiv 1904.09675, appendix)
_DEPTH = 0.75
# longer than anything that is read; tokenizers without a limit say more
_NO_LIMIT = 1 << 20


@dataclass(frozen=True)
class BertScorer:
    """BERTScore by an encoder in a folder.

    Attributes:
        folder: As `AutoModel.from_pretrained` loads it; an encoder of sentence-transformers is one.
        layer: After which layer words are compared, from 1; 0: after three quarters of them.
    """

    folder: Path
    layer: int = 0

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Its tokenizer."""
        return load_tokenizer(self.folder)

    @cached_property
    def model(self) -> PreTrainedModel:
        """Its weights, in 32-bit floats."""
        import torch
        from transformers import AutoModel

        try:
            found: PreTrainedModel = AutoModel.from_pretrained(self.folder, local_files_only=True, dtype=torch.float32)
        except Exception as error:
            # each part of the library has its own errors for a file that is not what it should be
            raise InputError(f"{self.folder} cannot be loaded as an encoder: {reason(error)}") from error
        found.train(False)
        return found

    @cached_property
    def used_layer(self) -> int:
        """The layer that counts.

        Raises:
            InputError: When the encoder has fewer.
        """
        layers = self.model.config.get_text_config().num_hidden_layers
        if self.layer > layers:
            raise InputError(f"layer {self.layer} is asked for, and {self.folder.name} has {layers}; give one of them")
        return self.layer or max(1, round(_DEPTH * layers))

    def scores(
        self, answers: Sequence[str], references: Sequence[str], progress: Callable[[int], None] = lambda count: None
    ) -> list[float]:
        """The F1 of each answer with its reference (arXiv 1904.09675, section 3), without weights of rare words.

        An empty text has 0. What is longer than the encoder reads is cut.

        Args:
            answers: What was said.
            references: What should be said.
            progress: Called with the number of pairs that were done.
        """
        found = [0.0] * len(answers)
        order = sorted(range(len(answers)), key=lambda at: len(answers[at]) + len(references[at]))
        for begin in range(0, len(order), _AT_A_TIME):
            part = order[begin : begin + _AT_A_TIME]
            said, wanted = ([texts[at].strip() for at in part] for texts in (answers, references))
            for at, value in zip(part, self._part(said, wanted), strict=True):
                found[at] = value if answers[at].strip() and references[at].strip() else 0.0
            progress(len(part))
        return found

    def _part(self, answers: Sequence[str], references: Sequence[str]) -> list[float]:
        import torch

        (said, said_mask, said_weights), (wanted, wanted_mask, wanted_weights) = map(self._read, (answers, references))
        alike = torch.bmm(said, wanted.transpose(1, 2)) * (said_mask[:, :, None] * wanted_mask[:, None, :])
        precision = (alike.amax(2) * said_weights).sum(1)
        recall = (alike.amax(1) * wanted_weights).sum(1)
        both = precision + recall
        scores: list[float] = torch.where(both > 0, 2 * precision * recall / both, 0.0).tolist()
        return scores

    def _read(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Vectors of length 1, shape (texts, tokens, dim); which are of a token, and its weight, (texts, tokens)."""
        import torch

        tokenizer: Any = self.tokenizer
        most = min(tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", _NO_LIMIT))
        read = tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=most,
            return_tensors="pt",
            return_special_tokens_mask=True,
        )
        mask = read["attention_mask"].float()
        with torch.inference_mode():
            given = {"input_ids": read["input_ids"], "attention_mask": read["attention_mask"]}
            vectors = self.model(**given, output_hidden_states=True).hidden_states[self.used_layer]
        # what begins and ends a text may be what a word is nearest to, and is no word itself
        weights = mask * (1 - read["special_tokens_mask"])
        counted = weights / weights.sum(1, keepdim=True).clamp(min=1)
        return torch.nn.functional.normalize(vectors, dim=-1), mask, counted
