"""What is said of a model's folder before it is loaded: each thing that may be wrong with one, and how it is named."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import BoW, Dense, Pooling, Router

from denizen.engine.errors import InputError
from denizen.retrievers.cross_encoder import locate_cross_encoder
from denizen.retrievers.loading import check_trainable, load_encoder, locate

Breaks = Callable[[Path], None]


@pytest.fixture
def model(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A model with a Dense module of its own weights, to be broken."""
    made = SentenceTransformer(str(tiny_encoder), device="cpu")
    made.insert(2, Dense(32, 16))
    made.save_pretrained(str(tmp_path / "model"), create_model_card=False)
    return tmp_path / "model"


def _set(name: str, **values: object) -> Breaks:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def _class_of(at: int, name: str) -> Breaks:
    def change(folder: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        modules[at]["type"] = name
        (folder / "modules.json").write_text(json.dumps(modules))

    return change


def _write(name: str, content: str) -> Breaks:
    return lambda folder: (folder / name).write_text(content) and None


def _remove(*names: str) -> Breaks:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def _cut(name: str) -> Breaks:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1]) and None


def _to_bin(folder: Path) -> None:
    """The weights of one module as many models on the hub have them."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _shards(folder: Path) -> None:
    """Weights in two files, the second of which never came."""
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    named = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": named}))


def _without_pooling(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([modules[0], modules[-1]]))


class _Runs:
    """What a pickle can do."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


def _hostile(folder: Path) -> None:
    (folder / "2_Dense" / "model.safetensors").unlink()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(pickle.dumps(_Runs(folder / "ran"), protocol=2))


DENSE = r"module 2_Dense \(Dense\) of .*model"
FIRST = r"module \. \(Transformer\) of .*model"


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (_remove("2_Dense/model.safetensors"), rf"{DENSE} has no weights; it needs model.safetensors"),
        (_cut("2_Dense/model.safetensors"), rf"{DENSE}: model.safetensors is damaged or cut off"),
        (
            _write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid"),
            rf"{FIRST}: .* run git lfs pull",
        ),
        (_shards, rf"{FIRST} lacks model-00002-of-00002.safetensors, which model.safetensors.index.json names"),
        (_hostile, rf"{DENSE}: pytorch_model.bin .* never run here; .*safetensors.torch.save_file"),
        (_remove("tokenizer.json"), rf"{FIRST} has no tokenizer file"),
        (_remove("config.json"), rf"{FIRST} has no config.json"),
        (_set("config.json", model_type="of-tomorrow"), rf"{FIRST}: model_type 'of-tomorrow' is unknown"),
        (
            _set("config.json", auto_map={"AutoModel": "own.Model"}),
            rf"{FIRST} is computed by code of its own \(own.Model",
        ),
        (_set("config.json", quantization_config={"bits": 4}), rf"{FIRST} has quantised weights"),
        (_write("adapter_config.json", "{}"), "is a PEFT adapter without its base; .*merge_and_unload"),
        (_class_of(2, "own_code.Dense"), "module 2_Dense of .* is own_code.Dense, code from outside"),
        (_class_of(1, "sentence_transformers.sparse_encoder.modules.SpladePooling"), "is SpladePooling, which is not"),
        (_without_pooling, "has no Pooling module"),
        (_write("modules.json", '[{"idx": 0}]'), "modules.json lists no modules"),
        (_set("config_sentence_transformers.json", model_type="SparseEncoder"), "is a sparse encoder"),
        (
            _set("config_sentence_transformers.json", model_type="CrossEncoder"),
            "cross-encoder, .*--teacher cross-encoder",
        ),
        (_set("config_sentence_transformers.json", model_type="MultiVectorEncoder"), "late interaction"),
        (
            _set("config_sentence_transformers.json", similarity_fn_name="manhattan"),
            "compares by manhattan; .*to cosine",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_before_it_is_loaded(breaks: Breaks, said: str, model: Path) -> None:
    assert locate(str(model)) == model
    breaks(model)
    with pytest.raises(InputError, match=said):
        locate(str(model))
    assert not (model / "ran").exists()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"adapter_config.json": "{}", "adapter_model.safetensors": ""}, "is a PEFT adapter without its base"),
        ({"model-q4.gguf": ""}, "holds model-q4.gguf; give one of these files"),
        ({"config.json": '{"architectures": ["BertForSequenceClassification"]}'}, "is a cross-encoder"),
        ({"config.json": '{"architectures": ["LlamaForCausalLM"]}'}, r"has no weights; it needs model\.safetensors"),
        ({"config.json": '{"architectures": ["BertModel"]}'}, "is no sentence-transformers model"),
    ],
)
def test_a_folder_of_another_kind_of_model_is_called_what_it_is(
    files: dict[str, str], said: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said):
        locate(str(tmp_path))


def test_plain_weights_in_a_bin_are_the_same_weights(model: Path, tmp_path: Path) -> None:
    """In any module; saved again, they are .safetensors."""
    expected = load_encoder(model).encode(["what is gout"])
    _to_bin(model)
    _to_bin(model / "2_Dense")
    found = load_encoder(locate(str(model)))
    np.testing.assert_array_equal(found.encode(["what is gout"]), expected)
    found.save_pretrained(str(tmp_path / "again"), create_model_card=False)
    assert not list((tmp_path / "again").rglob("*.bin"))


def test_of_a_hub_model_bin_is_fetched_only_where_there_is_nothing_else(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dense has its weights in .bin alone; the Transformer in both formats, as most repositories do."""
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    _to_bin(model / "2_Dense")
    asked: list[str] = []

    def download(hub_id: str, allow_patterns: list[str]) -> str:
        asked.extend(allow_patterns)
        taken = [
            path for pattern in allow_patterns for path in (model.rglob if "/" not in pattern else model.glob)(pattern)
        ]
        for path in taken:
            target = tmp_path / "hub" / path.relative_to(model)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        return str(tmp_path / "hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert load_encoder(locate("acme/tiny")).get_embedding_dimension() == 16
    assert [pattern for pattern in asked if ".bin" in pattern] == ["2_Dense/pytorch_model*.bin"]


def test_a_cross_encoder_is_fetched_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["BertForSequenceClassification"]}')
    asked: list[str] = []
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda hub_id, allow_patterns: asked.extend(allow_patterns) or str(tmp_path),
    )
    assert locate_cross_encoder("acme/judge") == tmp_path
    assert "pytorch_model*.bin" in asked


def test_an_error_of_any_library_is_the_model_s(model: Path) -> None:
    (model / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder(locate(str(model)))


def test_a_library_that_a_model_needs_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'fugashi'")

    monkeypatch.setattr("sentence_transformers.SentenceTransformer.__init__", lacking)
    with pytest.raises(InputError, match="needs a library that is not installed: No module named 'fugashi'"):
        load_encoder(model)


def _routed(tiny_encoder: Path, folder: Path) -> Path:
    sides = [SentenceTransformer(str(tiny_encoder), device="cpu") for _ in range(2)]
    with torch.no_grad():
        next(sides[0].parameters()).mul_(2)
    routes = Router.for_query_document(*([side[0], Pooling(32)] for side in sides))
    SentenceTransformer(modules=[routes], device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def test_a_model_of_two_sides_is_not_trained_and_its_sides_are_looked_at(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = _routed(tiny_encoder, tmp_path / "model")
    with pytest.raises(InputError, match=r"has a Router module, .* not adapted"):
        check_trainable(locate(str(folder)), "infonce")
    (folder / "query_0_Transformer" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"module query_0_Transformer .* has no weights"):
        locate(str(folder))


def test_what_has_nothing_to_train_is_not_trained(tmp_path: Path) -> None:
    made = SentenceTransformer(modules=[BoW(["gout", "fever"])], device="cpu")
    made.save_pretrained(str(tmp_path / "model"), create_model_card=False)
    with pytest.raises(InputError, match="has no weights that can be trained"):
        check_trainable(locate(str(tmp_path / "model")), "infonce")


def test_a_static_embedding_is_trained_by_losses_that_can_take_it(model: Path, tmp_path: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    made = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    made.save_pretrained(str(tmp_path / "static"), create_model_card=False)
    static = locate(str(tmp_path / "static"))
    check_trainable(static, "infonce")
    for loss, student, guide in (("gist", model, static), ("gist", static, static), ("cached-infonce", static, None)):
        with pytest.raises(InputError, match=rf"loss {loss} .* and .*static begins with StaticEmbedding"):
            check_trainable(student, loss, guide)


def test_tensors_of_a_file_are_compared_with_its_length(model: Path) -> None:
    """One without tensors is whole, too."""
    save_file({}, model / "2_Dense" / "model.safetensors")
    assert locate(str(model)) == model
