"""Where the tokenizer comes from whose tokens are counted."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from denizen.engine.errors import InputError
from denizen.ingest.tokenizer import load_tokenizer


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model/bert").mkdir(parents=True)
    Tokenizer(WordLevel({"act": 7, "[UNK]": 0}, unk_token="[UNK]")).save(str(tmp_path / "model/tokenizer.json"))
    return tmp_path / "model"


def test_a_folder_or_its_tokenizer_json_will_do(model: Path) -> None:
    for name in (model, model / "tokenizer.json"):
        assert load_tokenizer(str(name)).encode("act").ids == [7]
    (model / "tokenizer.json").rename(model / "bert/tokenizer.json")
    assert load_tokenizer(str(model)).encode("act").ids == [7]


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_the_default_is_found_without_a_network(name: str) -> None:
    """[CLS] and [SEP] of BERT's vocabulary are 101 and 102, "the" is 1996."""
    assert load_tokenizer(name).encode("the").ids[:3] == [101, 1996, 102]


def test_nothing_heavy_is_loaded_for_it() -> None:
    code = "from denizen.ingest.tokenizer import load_tokenizer; load_tokenizer('all-MiniLM-L6-v2'); import sys; "
    code += "print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "sentence_transformers"} & set(done.stdout.split())


def test_what_is_none_is_refused_with_a_remedy(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer\.json cannot be read as a tokenizer: .*another --tokenizer"):
        load_tokenizer(str(model))
    (model / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"has no tokenizer\.json; give another --tokenizer or use --passage-chars"):
        load_tokenizer(str(model))


@pytest.mark.parametrize("name", ["no-such-model", "nobody/nothing", "no such: id", "all-MiniLM-L6-v2"])
def test_without_a_network_what_is_not_here_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None)
    with pytest.raises(InputError, match=f"--tokenizer '{name}' is neither .* install denizen.minilm. .*passage-chars"):
        load_tokenizer(name)
