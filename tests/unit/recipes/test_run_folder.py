"""The settings of a run's folder are never mixed with those of another run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from denizen.engine.errors import ChangedError, InputError
from denizen.engine.files import write_json
from denizen.engine.redo import open_redo
from denizen.recipes.config import AdaptConfig
from denizen.recipes.run_folder import check_config, is_own_llm, read_config, store_of, taught_by_llm

CONFIG = AdaptConfig("data", rounds=2)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run whose corpus is there."""
    check_config(tmp_path, CONFIG, None)
    (tmp_path / "corpus").mkdir()
    return tmp_path


def test_a_new_folder_gets_the_settings_and_one_without_a_corpus_gets_others(tmp_path: Path) -> None:
    check_config(tmp_path, CONFIG, None)
    assert read_config(tmp_path) == CONFIG
    other = CONFIG.changed(rounds=3)
    check_config(tmp_path, other, None)
    assert read_config(tmp_path) == other


def test_results_of_another_command_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"tasks": {}}')
    with pytest.raises(InputError, match="results of another command"):
        check_config(tmp_path, AdaptConfig("source"), None)
    assert not (tmp_path / "config.json").exists()
    (tmp_path / "config.json").write_text('{"sources": ["a"]}')
    with pytest.raises(InputError, match="another command than adapt"):
        read_config(tmp_path)


def test_other_settings_are_refused_by_name(run: Path) -> None:
    check_config(run, CONFIG, None)
    with pytest.raises(ChangedError, match=r"other settings: epochs: 0\.5 -> 2\.0; rounds: 2 -> 3\. Use another --out"):
        check_config(run, CONFIG.changed(rounds=3, epochs=2), None)
    assert read_config(run) == CONFIG


def test_what_decides_on_nothing_that_is_there_may_change(run: Path) -> None:
    check_config(run, CONFIG.changed(store="elsewhere", memory_mb=64, seeds=3), None)
    check_config(run, AdaptConfig("data", rounds=2, epochs=0.5), None)


def test_a_run_from_before_a_setting_was_there_used_its_default(run: Path) -> None:
    values = CONFIG.as_dict()
    del values["near_base"]
    write_json(run / "config.json", values)
    check_config(run, CONFIG, None)
    with pytest.raises(ChangedError, match=r"other settings: near_base: 16\.0 -> 1\.0\."):
        check_config(run, CONFIG.changed(near_base=1.0), None)


def test_a_redo_may_change_settings_and_goes_on_with_them_when_it_was_stopped(run: Path) -> None:
    other = CONFIG.changed(rounds=3)
    check_config(run, other, "choice")
    redo = open_redo(run, "choice", {"choice": {"made_from": []}}, other.as_dict())
    with pytest.raises(ChangedError, match="rounds: 2 -> 3"):
        check_config(run, other, None)
    redo.begins("choice")
    # stopped here: called again without --redo it is not refused, but the old settings are
    check_config(run, other, None)
    with pytest.raises(ChangedError, match="rounds: 3 -> 2"):
        check_config(run, CONFIG, None)
    redo.end()
    check_config(run, CONFIG, None)


def test_a_run_of_an_older_trunk_is_refused_with_its_replies(run: Path) -> None:
    (run / "corpus/stage.json").touch()
    with pytest.raises(InputError, match=r"run adapt again with a new --out$"):
        read_config(run)
    (run / "replies.sqlite").touch()
    for call in (lambda: check_config(run, CONFIG, None), lambda: read_config(run)):
        with pytest.raises(InputError, match=rf"made by an older version .* --replies {run}/replies\.sqlite so that"):
            call()


def test_a_run_whose_personas_were_called_experts_is_refused_with_its_replies(run: Path) -> None:
    write_json(run / "config.json", {**CONFIG.as_dict(), "expert_queries": 1.0})
    (run / "replies.sqlite").touch()
    with pytest.raises(InputError, match=rf"made by an older version .* --replies {run}/replies\.sqlite so that"):
        read_config(run)


def test_the_settings_of_a_run_change_only_where_they_decide_nothing(run: Path) -> None:
    assert read_config(run, memory_mb=64) == CONFIG.changed(memory_mb=64)
    with pytest.raises(InputError, match=r"depth, rounds cannot change in a finished run; there memory_mb, store, "):
        read_config(run, rounds=3, depth=200)
    with pytest.raises(InputError, match=r"holds no run of denizen \(it has no config\.json\)"):
        read_config(run / "corpus")


def test_a_store_is_that_of_the_settings_or_of_the_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_of(CONFIG, run) == run / "embeddings"
    monkeypatch.setenv("HOME", str(run))
    assert store_of(CONFIG.changed(store="~/shared"), run) == run / "shared"


def test_only_a_run_with_an_llm_has_one(run: Path) -> None:
    with pytest.raises(InputError, match="has no LLM; give the folder of a run with --llm"):
        taught_by_llm(CONFIG, run)
    log_alone = AdaptConfig("data", teacher="cross-encoder", cross_encoder="judge")
    with pytest.raises(InputError, match="has no LLM"):
        taught_by_llm(log_alone, run)
    taught = taught_by_llm(log_alone.changed(llm="writer"), run)
    assert taught.llm == "writer" and json.dumps(taught.as_dict())


def test_a_file_is_the_run_s_own_by_whatever_path_and_a_name_by_its_letters(tmp_path: Path) -> None:
    for name, content in (("one.gguf", "a"), ("other.gguf", "b")):
        (tmp_path / name).write_text(f"GGUF{content}")
    (tmp_path / "links").mkdir()
    linked = (tmp_path / "links/one.gguf").resolve()
    linked.symlink_to(tmp_path / "one.gguf")
    config = AdaptConfig("data", teacher="llm", llm=str(tmp_path / "one.gguf"))
    assert is_own_llm(config, tmp_path, str(linked), "")
    assert not is_own_llm(config, tmp_path, str(tmp_path / "other.gguf"), "")
    # so called at somebody's endpoint
    assert not is_own_llm(config, tmp_path, str(linked), "http://127.0.0.1:9/v1")
    named = AdaptConfig("data", teacher="llm", llm="judge")
    assert is_own_llm(named, tmp_path, "judge", "") and not is_own_llm(named, tmp_path, "another", "")
