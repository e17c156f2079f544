"""One model in service: what it reads of a text, whatever its tokenizer is, and how large a text is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import StaticEmbedding
from tokenizers import Tokenizer

from denizen.retrievers.loading import load_encoder
from denizen.serve.batcher import Asked
from denizen.serve.live_encoder import LiveEncoders, VectorCache
from denizen.serve.served import Served

DOCUMENT = Asked("document")


def _served(folder: Path, scratch: Path) -> Served:
    return Served("it", folder, LiveEncoders(scratch, VectorCache(0)), ThreadPoolExecutor(1), 1000)


def test_static_embeddings_are_served(tiny_encoder: Path, tmp_path: Path) -> None:
    words = Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))
    model = SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=8)])
    model.save(str(tmp_path / "static"))
    served = _served(tmp_path / "static", tmp_path)
    read = served.read(["gout", "gout " * 1000], DOCUMENT)
    assert read.cut == [] and read.tokens[1] == 1000 * read.tokens[0]
    ids = words.encode("gout", add_special_tokens=False).ids
    assert served.text_of(ids) == "gout"


def test_of_a_far_longer_text_only_what_decides_is_kept(tiny_encoder: Path, tmp_path: Path) -> None:
    served = _served(tiny_encoder, tmp_path)
    long = "gout is treated with rest, " * 2000
    read = served.read(["short", long], DOCUMENT)
    assert read.cut == [1] and read.tokens[1] == served.limit
    assert read.texts[0] == "short" and long.startswith(read.texts[1]) and len(read.texts[1]) < len(long) / 10
    model = load_encoder(tiny_encoder)
    np.testing.assert_allclose(model.encode_document(read.texts[1]), model.encode_document(long), atol=1e-6)
