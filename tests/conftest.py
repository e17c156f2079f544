"""What all tests share: no network, hypothesis without randomness, and a tiny encoder that is built on the spot."""

from __future__ import annotations

import os
import socket
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# before any library of the hub is imported
os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    # each of several processes has a core for itself, and so have those that it starts
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("denizen", derandomize=True, deadline=None, database=None)
settings.load_profile("denizen")

_WORDS = "what which how is are the a an of and in for with symptom treat cause gout lupus fever pain child drug dose"
WORDS = _WORDS.split()


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Nothing that the tests run may leave the machine."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX and str(address[0] if isinstance(address, tuple) else "") not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_only)
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is made of an LLM once is made for the tests alone, by the programs that they start, too."""
    os.environ["DENIZEN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random 2-layer BERT (hidden size 32, mean pooling, normalised) as a sentence-transformers folder."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("tiny_encoder")
    pieces = [*string.ascii_lowercase, *string.digits]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, *(f"##{piece}" for piece in pieces)]
    vocabulary += [*string.punctuation, "##s", *WORDS]
    numbers = {piece: at for at, piece in enumerate(dict.fromkeys(vocabulary))}
    config = BertConfig(
        vocab_size=len(numbers),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder / "bert")
    BertTokenizer(vocab=numbers, model_max_length=64).save_pretrained(folder / "bert")
    modules = [
        Transformer(str(folder / "bert"), max_seq_length=64),
        Pooling(32, pooling_mode="mean"),
        Normalize(),
    ]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model"
