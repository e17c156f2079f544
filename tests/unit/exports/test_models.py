"""Exported models give the vectors of the model that they were made from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from denizen.data.tables import rankings
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.exports.exported_encoder import in_place_of
from denizen.exports.kinds import KINDS
from denizen.exports.measured import vectors_alike
from denizen.retrievers.windows import WHOLE, Reading
from tests.tiny_models import tiny_model
from tests.unit.exports.conftest import Made

GRAPHS = {"onnx": "onnx/model.onnx", "openvino": "openvino/openvino_model.xml"}


@pytest.fixture(autouse=True)
def there(request: pytest.FixtureRequest) -> None:
    for package in KINDS[request.getfixturevalue("kind")].needs if "kind" in request.fixturenames else ():
        pytest.importorskip(package, reason="an extra")


@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("architecture", ["bert", "modernbert", "qwen3"])
def test_a_graph_gives_the_vectors_of_the_model(kind: str, architecture: str, made: Made, tmp_path: Path) -> None:
    subject = made(WHOLE, tiny_model(tmp_path / "model", architecture))
    KINDS[kind].write(subject, tmp_path / "out")
    alike = vectors_alike(KINDS[kind].encoder(subject, tmp_path / "out"), subject.model.encoder)
    assert alike["least"] > 0.99999 and alike["texts"] == 24
    assert (tmp_path / "out" / GRAPHS[kind]).is_file()
    # the graph stands for the weights; what follows the transformer is the folder's
    assert not list((tmp_path / "out").glob("*.safetensors"))
    for name in ("modules.json", "config.json", "1_Pooling/config.json", "tokenizer.json"):
        assert (tmp_path / "out" / name).read_bytes() == (subject.model.folder / name).read_bytes()


@pytest.mark.parametrize("kind", ["onnx", "hub-folder"])
def test_dimensions_and_prompt_that_are_measured_are_written(kind: str, made: Made, tmp_path: Path) -> None:
    subject = made(WHOLE, dim=16, query_prompt="ask: ")
    KINDS[kind].write(subject, tmp_path)
    settings = json.loads((tmp_path / "config_sentence_transformers.json").read_text())
    assert (settings["truncate_dim"], settings["prompts"]["query"]) == (16, "ask: ")


def test_no_path_of_the_machine_is_left_beside_a_graph(made: Made, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="an extra")
    model = tiny_model(tmp_path / "model", "bert")
    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**settings, "_name_or_path": "/home/me/models/x"}))
    KINDS["onnx"].write(made(WHOLE, model), tmp_path / "out")
    assert "/home/me" not in (tmp_path / "out/config.json").read_text()


def test_graphs_are_called_as_sentence_transformers_asks_for_them(made: Made, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="an extra")
    openvino = pytest.importorskip("openvino", reason="an extra")
    subject = made(WHOLE)
    names = {"input_ids", "attention_mask", "token_type_ids"}
    KINDS["onnx"].write(subject, tmp_path / "onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "onnx" / GRAPHS["onnx"]), providers=["CPUExecutionProvider"])
    assert {each.name for each in session.get_inputs()} == names
    assert [each.name for each in session.get_outputs()] == ["last_hidden_state"]
    # of any number of texts of any length
    for shape in ((1, 3), (5, 17)):
        tokens = {name: np.ones(shape, dtype=np.int64) for name in names}
        assert session.run(None, tokens)[0].shape == (*shape, 32)
    KINDS["openvino"].write(subject, tmp_path / "openvino")
    graph = openvino.Core().read_model(str(tmp_path / "openvino" / GRAPHS["openvino"]))
    assert {each.get_any_name() for each in graph.inputs} == names
    assert graph.outputs[0].get_any_name() == "last_hidden_state"


def test_weights_of_8_bits_are_near_and_smaller(made: Made, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="an extra")
    subject = made(WHOLE)
    for kind in ("onnx", "int8"):
        KINDS[kind].write(subject, tmp_path / kind)
    sizes = [(tmp_path / kind / GRAPHS["onnx"]).stat().st_size for kind in ("onnx", "int8")]
    # most of a graph so small is not weights
    assert sizes[1] < 0.9 * sizes[0]
    alike = vectors_alike(KINDS["int8"].encoder(subject, tmp_path / "int8"), subject.model.encoder)
    assert 0.99 < alike["least"] < 1


@pytest.mark.parametrize("reading", [WHOLE, Reading(16, 8)], ids=lambda reading: reading.name)
def test_an_exported_model_searches_as_the_model_does(
    reading: Reading, made: Made, queries: dict[str, str], tmp_path: Path
) -> None:
    subject = made(reading)
    KINDS["hub-folder"].write(subject, tmp_path)
    ours = in_place_of(subject, KINDS["hub-folder"].encoder(subject, tmp_path))
    found = ours.search(ours.index(subject.passages, Silent()), queries, 5, Silent())
    exact = subject.retriever.search(subject.index, queries, 5, Silent())
    for query_id, ranked in rankings(exact).items():
        assert dict(rankings(found)[query_id]) == pytest.approx(dict(ranked), abs=1e-5)


def test_a_prompt_of_a_run_is_that_of_the_folder(made: Made, tmp_path: Path) -> None:
    """What plain sentence-transformers puts before a query is what the run has put there."""
    subject = made(WHOLE, query_prompt="what is asked: ")
    KINDS["hub-folder"].write(subject, tmp_path)
    encoder = KINDS["hub-folder"].encoder(subject, tmp_path)
    assert encoder.encode(["gout"], "query")[:] == pytest.approx(subject.embed(["gout"]), abs=1e-5)
    assert np.abs(encoder.encode(["gout"], "document")[:] - subject.embed(["gout"])).max() > 1e-3
    assert subject.described()["query_prompt"] == "what is asked: "


def test_nothing_of_the_machine_is_in_a_folder_for_a_hub(made: Made, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model", "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_name_or_path": "/home/someone/models/base"}))
    for name in ("training_args.bin", "optimizer.pt", "step.json", ".lock"):
        (folder / name).write_text("{}")
    (folder / "checkpoint-10").mkdir()
    KINDS["hub-folder"].write(made(WHOLE, folder), tmp_path / "out")
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert there == {path.name for path in folder.iterdir()} - {
        "training_args.bin",
        "optimizer.pt",
        "step.json",
        ".lock",
        "checkpoint-10",
    }
    assert "_name_or_path" not in json.loads((tmp_path / "out/config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "origin": "/home/someone/models/base"}))
    with pytest.raises(InputError, match=r"config\.json has '/home/someone/models/base' as origin"):
        KINDS["hub-folder"].write(made(WHOLE, folder), tmp_path / "again")


@pytest.mark.parametrize("card", ["from /home/someone/run", "at C:\\Users\\someone"])
def test_a_card_with_a_path_is_refused(card: str, made: Made, tmp_path: Path) -> None:
    from dataclasses import replace

    with pytest.raises(InputError, match="a path of this machine"):
        KINDS["hub-folder"].write(replace(made(WHOLE), card=card), tmp_path / "out")
    plain = replace(made(WHOLE), card="1/2 and https://a.example/b/c, or/and")
    KINDS["hub-folder"].write(plain, tmp_path / "plain")


def test_a_model_without_a_transformer_cannot_be_a_graph(made: Made, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"gout": 0, "lupus": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu").save(
        str(tmp_path / "model")
    )
    with pytest.raises(InputError, match="its first module is StaticEmbedding"):
        KINDS["onnx"].write(made(WHOLE, tmp_path / "model"), tmp_path / "out")
