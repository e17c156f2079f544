"""A bi-encoder as a retriever: what it finds, whose weights are kept, and which backend goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from denizen.data.tables import table
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.retrievers import backends, encoder
from denizen.retrievers.bi_encoder import BiEncoder, Encoders, encoders_in
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.hybrid import Hybrid
from denizen.retrievers.model_ref import model_digest

TEXTS = ["gout pain", "lupus fever", "child dose", "drug for gout"]
CORPUS = table("corpus", {"doc_id": [f"d{at}" for at in range(4)], "title": ["", "", "Cause", ""], "text": TEXTS})
QUERIES = {"q2": "what is gout", "q1": "fever"}
BF16 = Encoding(backend="torch", precision="bf16")


@pytest.fixture
def copy(tiny_encoder: Path, tmp_path: Path) -> Path:
    """The tiny encoder at another place."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "copy"))


def test_it_finds_what_the_model_itself_finds(tiny_encoder: Path, tmp_path: Path) -> None:
    encoders = Encoders(tmp_path / "store")
    model = BiEncoder(tiny_encoder, Encoding(), encoders)
    run = model.search(model.index(CORPUS, Silent()), QUERIES, 3, Silent())
    own = SentenceTransformer(str(tiny_encoder), device="cpu")
    documents = own.encode_document([TEXTS[0], TEXTS[1], f"Cause {TEXTS[2]}", TEXTS[3]])
    scores = own.encode_query(list(QUERIES.values())) @ documents.T
    best = np.argsort(-scores, axis=1)[:, :3]
    assert run["query_id"].to_pylist() == ["q2"] * 3 + ["q1"] * 3
    assert run["doc_id"].to_pylist() == [f"d{at}" for at in best.ravel()]
    assert run["score"].to_pylist() == pytest.approx(np.take_along_axis(scores, best, 1).ravel().tolist(), abs=1e-5)
    assert encoders.backends == {model.digest: "torch-fp32"}
    assert encoders.used_by(Hybrid((BM25(), model))) == "torch-fp32" and encoders.used_by(BM25()) == ""


def test_it_is_what_its_files_and_its_encoding_are(tiny_encoder: Path, copy: Path, tmp_path: Path) -> None:
    one = BiEncoder(tiny_encoder, Encoding(), Encoders(tmp_path))
    assert one.digest == model_digest(tiny_encoder)
    assert one == BiEncoder(copy, Encoding(), Encoders(tmp_path / "other"))
    # the same weights in another arithmetic find something else
    assert one != BiEncoder(tiny_encoder, BF16, Encoders(tmp_path))


def test_the_last_encoder_is_kept_as_long_as_it_fits(tiny_encoder: Path, copy: Path, tmp_path: Path) -> None:
    encoders = Encoders(tmp_path / "store")
    first = encoders.of(tiny_encoder, BF16)
    first.encode(TEXTS, "document")
    assert encoders.of(tiny_encoder, BF16) is first
    # by content, wherever it lies
    assert encoders.of(copy, BF16) is first
    assert encoders.of(tiny_encoder, BF16.pinned("torch-bf16")) is first
    assert encoders.of(tiny_encoder, Encoding()) is not first
    again = encoders.of(tiny_encoder, BF16)
    assert again is not first
    (copy / "config_sentence_transformers.json").write_text("{}\n")
    other = encoders.of(copy, BF16)
    assert other is not again and encoders.of(tiny_encoder, BF16) is not again


def test_what_a_small_corpus_decided_does_not_bind_a_large_one(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "bf16_is_native", lambda: True)
    monkeypatch.setattr(backends, "_installed", lambda library: False)
    encoders = Encoders(tmp_path / "store")
    model = BiEncoder(tiny_encoder, Encoding(), encoders)
    small = model.index(CORPUS, Silent())
    many = [f"{text} {at}" for at in range(300) for text in TEXTS]
    large = model.index(table("corpus", {"doc_id": [f"d{at:04}" for at in range(1200)], "text": many}), Silent())
    assert encoders.backends == {model.digest: "torch-bf16"}
    # and each goes on with its own, however many the queries are
    asked = {f"q{at:04}": text for at, text in enumerate(many)}
    assert [len(model.search(index, asked, 1, Silent())) for index in (small, large)] == [1200, 1200]
    assert [index.encoder.backend for index in (small, large)] == ["torch-fp32", "torch-bf16"]
    assert model.index(CORPUS, Silent()).encoder is large.encoder


def test_a_pinned_backend_is_the_one_that_embeds(tiny_encoder: Path, tmp_path: Path) -> None:
    pinned = Encoding().pinned("torch-bf16")
    assert pinned != Encoding() and pinned.as_dict() == {"precision": "auto", "backend": "torch-bf16"}
    encoders = Encoders(tmp_path / "store")
    # fewer texts than the parity gate looks at would be embedded exactly
    BiEncoder(tiny_encoder, pinned, encoders).index(CORPUS, Silent())
    assert list(encoders.backends.values()) == ["torch-bf16"]
    # its vectors were compared, no retrieval task
    (compared,) = (found["texts"] for found in encoders.of(tiny_encoder, pinned).gate.values())
    assert compared == len(CORPUS)


def test_users_cannot_ask_for_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="backend is 'torch-bf16'; it must be one of"):
        Encoding(backend="torch-bf16")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="backend torch has no int8"):
        Encoding(backend="torch", precision="int8").check()
    Encoding().check()


def test_a_saved_one_is_the_same_model_without_records_and_links(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "linked"
    shutil.copytree(tiny_encoder, folder)
    for name in ("README.md", "step.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tiny_encoder / "model.safetensors")
    BiEncoder(folder, Encoding(), Encoders(tmp_path)).save(tmp_path / "saved")
    assert model_digest(tmp_path / "saved") == model_digest(tiny_encoder)
    assert (tmp_path / "saved/README.md").is_file() and not (tmp_path / "saved/step.json").exists()
    assert not (tmp_path / "saved/model.safetensors").is_symlink()
    assert SentenceTransformer(str(tmp_path / "saved"), device="cpu").encode(["gout"]).shape == (1, 32)


def test_embeddings_are_kept_where_it_is_told_and_else_nowhere(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []
    real = encoder.encode
    monkeypatch.setattr(
        encoder, "encode", lambda model, found, *rest: computed.extend(found) or real(model, found, *rest)
    )
    for store, counted in ((str(tmp_path / "store"), 4), (str(tmp_path / "store"), 4), ("", 8), ("", 12)):
        with encoders_in(store) as encoders:
            BiEncoder(tiny_encoder, Encoding(), encoders).index(CORPUS, Silent())
        assert len(computed) == counted and encoders.store.exists() == bool(store)


def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--store .* cannot be used"), encoders_in(str(tmp_path / "file/store")):
        pass
