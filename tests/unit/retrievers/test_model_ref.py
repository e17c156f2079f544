import pytest

from denizen.engine.errors import InputError
from denizen.retrievers.model_ref import model_digest

FILES = {
    "model.safetensors": b"\x00\x01weights",
    "config.json": b"{}",
    "1_Pooling/config.json": b'{"pooling": "mean"}',
}


def model_in(folder, files=FILES):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_equal_models_in_other_folders_have_one_digest_whatever_the_order_of_writing(tmp_path):
    one = model_in(tmp_path / "one")
    other = model_in(tmp_path / "elsewhere" / "other", dict(reversed(FILES.items())))
    assert model_digest(one) == model_digest(other)
    assert len(model_digest(one)) == 64


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_changed_byte_in_any_file_changes_the_digest(tmp_path, name):
    folder = model_in(tmp_path / "model")
    before = model_digest(folder)
    (folder / name).write_bytes(FILES[name][:-1] + b"?")
    assert model_digest(folder) != before


@pytest.mark.parametrize("target", ["model.bin", "1_Pooling/model.safetensors"])
def test_another_name_or_folder_of_a_file_changes_the_digest(tmp_path, target):
    folder = model_in(tmp_path / "model")
    before = model_digest(folder)
    (folder / "model.safetensors").rename(folder / target)
    assert model_digest(folder) != before


def test_another_name_of_a_folder_changes_the_digest(tmp_path):
    folder = model_in(tmp_path / "model")
    before = model_digest(folder)
    (folder / "1_Pooling").rename(folder / "1_Normalize")
    assert model_digest(folder) != before


def test_the_order_in_which_the_folder_is_listed_does_not_change_the_digest(tmp_path, monkeypatch):
    folder = model_in(tmp_path / "model")
    before = model_digest(folder)
    listed = sorted(folder.rglob("*"))
    for order in (listed, listed[::-1]):
        monkeypatch.setattr(type(folder), "rglob", lambda self, pattern, order=order: iter(order))
        assert model_digest(folder) == before


def test_swapped_contents_of_two_files_change_the_digest(tmp_path):
    folder = model_in(tmp_path / "model")
    before = model_digest(folder)
    model_in(folder, {"config.json": FILES["model.safetensors"], "model.safetensors": FILES["config.json"]})
    assert model_digest(folder) != before


def test_an_added_or_removed_file_changes_the_digest(tmp_path):
    folder = model_in(tmp_path / "model")
    digests = {model_digest(folder)}
    (folder / "prompts.json").write_bytes(b"")
    digests.add(model_digest(folder))
    (folder / "config.json").unlink()
    digests.add(model_digest(folder))
    assert len(digests) == 3


@pytest.mark.parametrize("name", ["README.md", "1_Pooling/README.md", "step.json"])
def test_files_that_are_not_the_model_do_not_change_the_digest(tmp_path, name):
    folder = model_in(tmp_path / "model")
    before = model_digest(folder)
    (folder / name).write_text("a model card")
    assert model_digest(folder) == before
    (folder / name).write_text("another model card")
    assert model_digest(folder) == before


def test_a_missing_folder_has_no_digest(tmp_path):
    with pytest.raises(InputError, match="missing is not a folder"):
        model_digest(tmp_path / "missing")
