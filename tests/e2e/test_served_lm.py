"""A real language model behind a real server: a tiny judge, trained on the spot, served by `transformers serve`."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from denizen.llm.budget import Budget
from denizen.llm.client import LLM
from denizen.llm.prompts import messages
from denizen.llm.replies import Replies
from denizen.supervision.judging import LLMTeacher, Pair, judge

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# the judge sees the query and the passage alone: its two layers have no room for instructions
_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|reply|>{% endif %}"
)
_STEPS, _BATCH = 250, 16


def pairs(count: int, seed: int) -> list[Pair]:
    """A passage that begins with `indeed` answers, one that begins with `instead` does not."""
    random.seed(seed)
    words = ["gout", "lupus", "fever", "drug", "dose", "pain"]
    made = []
    for at in range(count):
        first = random.choice(["indeed", "instead"])
        passage = " ".join([first, *random.choices(words, k=4), str(at)])
        made.append(Pair(f"q{at}", f"d{at}", f"what is {random.choice(words)}?", passage))
    return made


def expected(pair: Pair) -> int:
    return 4 if pair.passage.startswith("indeed") else 1


@pytest.fixture(scope="module")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 2 layers that has learnt to reply {"grade": 4} or {"grade": 1}."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("judge")
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|reply|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    lines = [messages("grade", {"query": pair.query, "passage": pair.passage})[1][1] for pair in pairs(500, 1)]
    bare.train_from_iterator([*lines, '{"grade": 4}', '{"grade": 1}'] * 2, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.chat_template = _TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"eos_token_id": 0, "pad_token_id": 0, "bos_token_id": None}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=512, **sizes, **ends))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(_STEPS):
        batch: list[list[int]] = []
        starts = []
        for pair in pairs(_BATCH, 100 + step):
            user = messages("grade", {"query": pair.query, "passage": pair.passage})[1][1]
            prompt = tokenizer(user + "<|reply|>")["input_ids"]
            batch.append(prompt + tokenizer(f'{{"grade": {expected(pair)}}}<|end|>')["input_ids"])
            starts.append(len(prompt))
        longest = max(map(len, batch))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in batch])
        labels = torch.full_like(ids, -100)
        for row, (tokens, start) in enumerate(zip(batch, starts, strict=True)):
            labels[row, start : len(tokens)] = ids[row, start : len(tokens)]
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.generation_config.eos_token_id = 0
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def endpoint(judge_folder: Path) -> Iterator[str]:
    """The URL of the server."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(judge_folder), "--device", "cpu"]
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    url = f"http://127.0.0.1:{port}"
    for _ in range(240):
        if process.poll() is not None:
            raise RuntimeError(process.stderr.read() if process.stderr else "")
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).read()
            break
        except OSError:
            time.sleep(0.5)
    yield f"{url}/v1"
    process.terminate()
    process.wait(timeout=30)


def test_a_served_model_grades_and_no_call_is_made_twice(endpoint: str, judge_folder: Path, tmp_path: Path) -> None:
    asked = pairs(24, 7)

    def grades() -> tuple[list[Any], int]:
        replies = Replies(tmp_path / "replies.sqlite", "run")
        llm = LLM(str(judge_folder), replies, Budget(allow_unpriced=True), endpoint=endpoint, concurrency=2)
        judgments, failures = judge(asked, LLMTeacher(llm, "judgments"), "judgments")
        assert failures.to_pylist() == []
        return judgments["grade"].to_pylist(), replies.spent().calls

    first, paid = grades()
    assert first == [expected(pair) for pair in asked]
    assert paid == 24
    assert grades() == (first, paid)
