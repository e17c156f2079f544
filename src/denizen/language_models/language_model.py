"""A causal language model in memory: the likelihood of tokens, and answers to prompts by greedy decoding."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.data.task_rows import Message
from denizen.engine.errors import InputError, reason
from denizen.language_models.attached import attached, use
from denizen.language_models.token_rows import begin_tokens

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Conversation = Sequence[Message]

# of one batch at a time, in 32-bit floats a gigabyte: a vocabulary may have 262 thousand tokens
_LOGITS = 1 << 28
_ROWS = 32
# settings of generation that count only where answers are drawn
_DRAWING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")


@dataclass(frozen=True)
class Answer:
    """What a model has said.

    Attributes:
        text: Its answer, without special tokens and the white space round it.
        ended: Whether the model has ended it by itself, and not the limit on tokens.
    """

    text: str
    ended: bool


@dataclass(frozen=True)
class LanguageModel:
    """A model that lies in a folder, loaded when it is needed.

    Attributes:
        folder: As `AutoModelForCausalLM.from_pretrained` loads it.
        bf16: Whether it computes in bf16 where that is safe, else in 32-bit floats.
        adapters: Name to folder of low-rank adapters that take turns over its weights (`using`); it answers without
            them where none is named.
    """

    folder: Path
    bf16: bool = False
    adapters: Mapping[str, Path] = field(default_factory=dict)
    _in_use: list[str | None] = field(default_factory=lambda: [None], init=False, repr=False, compare=False)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Its tokenizer."""
        return load_tokenizer(self.folder)

    @cached_property
    def model(self) -> PreTrainedModel:
        """Its weights, on the GPU where there is one."""
        import torch

        found = load_causal_lm(self.folder)
        found.train(False)
        found.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
        return found

    @cached_property
    def _adapted(self) -> PeftModel:
        """Its weights with its adapters on them."""
        try:
            return attached(self.model, self.adapters)
        except InputError:
            # half of them may be on it
            del self.__dict__["model"]
            raise

    @contextlib.contextmanager
    def using(self, adapter: str | None) -> Iterator[LanguageModel]:
        """Makes it answer with one of its adapters, which nothing of it is loaded again for; not for several threads.

        Args:
            adapter: Its name; None: the weights alone.

        Raises:
            InputError: When it has no such adapter, or that one is of another model.
        """
        if adapter is not None and adapter not in self.adapters:
            named = ", ".join(self.adapters) or "none"
            raise InputError(f"{self.folder} is here without adapters named {adapter!r}; there are: {named}")
        if not self.adapters:
            yield self
            return
        use(self._adapted, adapter)
        self._in_use.append(adapter)
        try:
            yield self
        finally:
            self._in_use.pop()
            use(self._adapted, self._in_use[-1])

    def log_likelihoods(self, rows: Sequence[Sequence[int]], starts: Sequence[int] | None = None) -> list[float]:
        """The natural log-likelihood of each row's tokens, each given those before it in the row.

        Args:
            rows: Token ids, at least 2 each.
            starts: The place of the first token of each that counts, at least 1; None: 1.
        """
        import torch

        starts = starts or [1] * len(rows)
        found = [0.0] * len(rows)
        # rows of one length cost no padding
        order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
        for batch in _batches(order, rows, self.model.config.get_text_config().vocab_size):
            width, first = len(rows[batch[-1]]), min(starts[at] for at in batch)
            ids = torch.tensor([[*rows[at], *[0] * (width - len(rows[at]))] for at in batch], device=self.model.device)
            mask = torch.tensor([[at < len(rows[of]) for at in range(width)] for of in batch], device=ids.device)
            said = [[starts[of] <= at < len(rows[of]) for at in range(first, width)] for of in batch]
            # the last logits foresee what follows the row, and those of what is asked nobody needs
            kept = width - first + 1
            given = {"input_ids": ids, "attention_mask": mask.long(), "use_cache": False, "logits_to_keep": kept}
            with torch.inference_mode(), self._arithmetic():
                logits = self.model(**given).logits[:, -kept:-1].float()
            each = logits.gather(2, ids[:, first:, None]).squeeze(2) - logits.logsumexp(2)
            sums = (each.double() * torch.tensor(said, dtype=torch.bool, device=ids.device)).sum(1).tolist()
            for at, value in zip(batch, sums, strict=True):
                found[at] = value
        return found

    def reference_log_likelihoods(
        self, conversations: Sequence[str | Conversation], references: Sequence[str]
    ) -> list[tuple[float, int]]:
        """The natural log-likelihood of answers, and their tokens; what ends an answer is not counted.

        Args:
            conversations: What is asked.
            references: The answer to each.
        """
        rows, starts = list[list[int]](), list[int]()
        for asked, reference in zip(conversations, references, strict=True):
            before = conversation_tokens(self.tokenizer, asked)
            # answers are written without the white space round them
            rows.append([*before, *self.tokenizer(reference.strip(), add_special_tokens=False)["input_ids"]])
            starts.append(len(before))
        lengths = [len(row) - start for row, start in zip(rows, starts, strict=True)]
        return list(zip(self.log_likelihoods(rows, starts), lengths, strict=True))

    def answers(self, asked: Sequence[str | Conversation], max_new_tokens: int) -> list[Answer]:
        """What it answers, all read together, by greedy decoding.

        A model with a chat template reads what is asked as turns; one without as a text that goes on.

        Args:
            asked: Prompts of a user, or conversations.
            max_new_tokens: Tokens of an answer at most.
        """
        import torch
        from transformers import GenerationConfig

        rows = [conversation_tokens(self.tokenizer, each) for each in asked]
        width, ends = max(map(len, rows)), end_tokens(self.model, self.tokenizer)
        # what is asked stands at the end, where the answer begins
        ids = torch.tensor([[*[0] * (width - len(row)), *row] for row in rows], device=self.model.device)
        mask = torch.tensor([[*[0] * (width - len(row)), *[1] * len(row)] for row in rows], device=ids.device)
        settings = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=ends or None,
            pad_token_id=ends[0] if ends else 0,
        )
        # the library fills up what is not given with what the model's maker has set for sampling
        own, self.model.generation_config = self.model.generation_config, settings
        try:
            with torch.inference_mode(), self._arithmetic():
                said: Any = self.model.generate(input_ids=ids, attention_mask=mask)  # type: ignore[operator]
        finally:
            self.model.generation_config = own
        return [self._answer(row, ends) for row in said[:, width:].tolist()]

    def _answer(self, tokens: Sequence[int], ends: Sequence[int]) -> Answer:
        at = next((at for at, token in enumerate(tokens) if token in ends), len(tokens))
        text = str(self.tokenizer.decode(list(tokens[:at]), skip_special_tokens=True))
        return Answer(text.strip(), at < len(tokens))

    def _arithmetic(self) -> Any:
        import torch

        return torch.autocast(self.model.device.type, dtype=torch.bfloat16, enabled=self.bf16)


def load_causal_lm(folder: Path) -> PreTrainedModel:
    """Loads the weights of a model with its head, in 32-bit floats.

    Settings of drawing answers are dropped where the model's maker has left drawing off: they have no effect, and the
    library refuses to save them.

    Raises:
        InputError: When its files cannot be read as such a model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from denizen.retrievers.loading import quiet_libraries

    quiet_libraries()
    try:
        found: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32
        )
    except ImportError as error:
        raise InputError(f"{folder} needs a library that is not installed: {reason(error)}") from error
    except Exception as error:
        # each part of the library has its own errors for a file that is not what it should be
        raise InputError(f"{folder} cannot be loaded as a causal language model: {reason(error)}") from error
    settings = found.generation_config
    if settings is not None and settings.do_sample is not True:
        for name in _DRAWING:
            setattr(settings, name, None)
    return found


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a model.

    Raises:
        InputError: When its files cannot be read.
    """
    from transformers import AutoTokenizer

    from denizen.retrievers.loading import quiet_libraries

    quiet_libraries()
    try:
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise InputError(f"the tokenizer of {folder} cannot be loaded: {reason(error)}") from error
    return found


def conversation_tokens(tokenizer: PreTrainedTokenizerBase, asked: str | Conversation) -> list[int]:
    """What is asked as a model reads it: turns by the chat template, else paragraphs that something follows.

    A model that can think before it answers is asked for the answer alone.

    Args:
        tokenizer: The model's.
        asked: A prompt of a user, or a conversation.

    Raises:
        InputError: When the template fails on the turns.
    """
    turns = (Message("user", asked),) if isinstance(asked, str) else tuple(asked)
    if tokenizer.chat_template:
        text = templated(tokenizer, turns, add_generation_prompt=True)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    text = "".join(f"{turn.content}\n\n" for turn in turns)
    return [*begin_tokens(tokenizer), *tokenizer(text, add_special_tokens=False)["input_ids"]]


def templated(tokenizer: PreTrainedTokenizerBase, turns: Conversation, *, add_generation_prompt: bool) -> str:
    """Turns as the text that the chat template makes of them.

    Raises:
        InputError: When it fails on them.
    """
    try:
        return str(
            tokenizer.apply_chat_template(
                [asdict(turn) for turn in turns],
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                # templates that do not know it pass over it
                enable_thinking=False,
            )
        )
    except Exception as error:
        # a template is a program of its maker's, and can fail in any way
        roles = ", ".join(turn.role for turn in turns)
        raise InputError(
            f"the chat template of the model fails on turns of {roles}: {reason(error)}; give turns that it takes "
            "(user and assistant in turn), or mend the template"
        ) from error


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids of the tokens that end an answer: the model's own, or else the one that ends texts."""
    settings = model.generation_config
    own = settings.eos_token_id if settings is not None else None
    listed = own if isinstance(own, list) else [own]
    return [token for token in listed if token is not None] or [
        token for token in [tokenizer.eos_token_id] if token is not None
    ]


def _batches(order: Sequence[int], rows: Sequence[Sequence[int]], vocabulary: int) -> Iterator[list[int]]:
    """Places of rows, the longest of a batch last, by what their logits take."""
    batch: list[int] = []
    for at in order:
        if batch and (len(batch) == _ROWS or (len(batch) + 1) * len(rows[at]) * vocabulary > _LOGITS):
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch
