"""A tiny model that ends its turns, with rows and pairs that it can learn in seconds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from denizen.data.task_rows import Message, Preference, TaskRow, preference_table, task_table
from tests.tiny_pair import END, tiny_pair


def tiny_start(folder: Path, architecture: str = "llama") -> Path:
    """An instruct model whose generation ends with what ends its turns."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    start = tiny_pair(folder, architecture)[1]
    model, tokenizer = (kind.from_pretrained(start) for kind in (AutoModelForCausalLM, AutoTokenizer))
    model.generation_config.eos_token_id = [1, tokenizer.convert_tokens_to_ids(END)]
    model.save_pretrained(start)
    return start


def tiny_rows(train: int = 20, dev: int = 4) -> SimpleNamespace:
    """Rows of two tasks, in the place of `TaskRows`: each is asked a colour, and answers it."""
    rows = []
    for split, count in (("train", train), ("dev", dev), ("test", 3)):
        for at in range(count):
            task, asked = ("summarize", "sum up") if at % 2 else ("classify", "which is it")
            colour = ("red", "green", "blue")[at % 3]
            turns = (Message("user", f"{asked} {'very ' * (at % 4)}{colour}"),)
            rows.append(TaskRow(f"{split}-{at}", task, split, None, "given", turns, f"it is {colour}"))
    return SimpleNamespace(table=task_table(rows))


def tiny_pairs(train: int = 20, dev: int = 4) -> SimpleNamespace:
    """Pairs of answers, in the place of `Preferences`: the better one is polite."""
    pairs = []
    for split, count in (("train", train), ("dev", dev)):
        for at in range(count):
            turns = (Message("user", f"what is number {at}?"),)
            answers = (f"please {at}", f"go away {at}")
            pairs.append(Preference(f"{split}-{at}", "answer", split, None, "given", turns, *answers, "given"))
    return SimpleNamespace(table=preference_table(pairs))
