"""The command thresholds on tiny encoders: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.tiny_models import tiny_model

from .conftest import Command, write_beir


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two BEIR folders with a dev split, and a model that has another architecture than the base."""
    at = tmp_path_factory.mktemp("thresholds")
    for name in ("law", "medicine"):
        write_beir(at / name, 30)
        shutil.copy(at / name / "qrels/test.tsv", at / name / "qrels/dev.tsv")
    shutil.copytree(at / "law", at / "all")
    return {
        "all": at / "all",
        "law": at / "law",
        "medicine": at / "medicine",
        "model": tiny_model(at / "mpnet", "mpnet"),
    }


def test_thresholds_of_two_domains(
    command: Command, folders: dict[str, Path], tiny_encoder: Path, tmp_path: Path
) -> None:
    data = ["--data", folders["law"], "--data", folders["medicine"]]
    asked = ["thresholds", folders["model"], "--base", tiny_encoder, *data, "--backend", "torch", "--out", tmp_path]
    ended = command(*asked, "--old", "0.995", "--quiet", "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report == json.loads((tmp_path / "thresholds.json").read_text())
    assert list(report["domains"]) == ["law", "medicine", "all"]
    every = report["domains"]
    assert every["all"]["queries"] == every["law"]["queries"] + every["medicine"]["queries"]
    # the same folder twice: the rates of each and of all are the same
    assert [row["false_positive"]["value"] for row in every["law"]["rates"]["base"]] == pytest.approx(
        [row["false_positive"]["value"] for row in every["all"]["rates"]["base"]]
    )
    for rates in every["all"]["rates"].values():
        for kind in ("true_positive", "false_positive"):
            values = [row[kind]["value"] for row in rates]
            assert values == sorted(values, reverse=True)
            assert all(row[kind]["low"] <= row[kind]["value"] <= row[kind]["high"] for row in rates)
    assert 0.995 in [row["threshold"] for row in every["law"]["mapping"]]
    page = (tmp_path / "thresholds.html").read_text()
    HTMLParser().feed(page)
    assert page.count("<svg") == 6
    assert "law has" in page


def test_a_model_against_itself_keeps_its_thresholds(
    command: Command, folders: dict[str, Path], tiny_encoder: Path
) -> None:
    asked = ["thresholds", tiny_encoder, "--base", tiny_encoder, "--data", folders["law"], "--backend", "torch"]
    ended = command(*asked, "--quiet", "--json")
    of = json.loads(ended.out)["domains"]["law"]
    assert of["rates"]["base"] == of["rates"]["model"]
    for row in of["mapping"]:
        if row["false_positive"]:
            assert row["false_positive"]["low"] <= row["false_positive"]["high"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--old", "7"], "old threshold 7 is no cosine"),
        (["--split", "held-out"], "held-out"),
        (["--data", "nowhere"], "nowhere is no BEIR folder"),
        (["--data", "LAW"], "two domains are called 'law'"),
        (["--data", "ALL"], "a domain is called 'all', as all of them together are"),
    ],
)
def test_wrong_input_is_refused(
    options: list[str], said: str, command: Command, folders: dict[str, Path], tiny_encoder: Path
) -> None:
    given = [folders[option.lower()] if option.isupper() else option for option in options]
    ended = command("thresholds", tiny_encoder, "--base", tiny_encoder, "--data", folders["law"], *given, "--quiet")
    assert ended.code == 2
    assert said in ended.err


def test_a_model_of_products_has_no_thresholds(
    command: Command, folders: dict[str, Path], tiny_encoder: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(tiny_encoder, tmp_path / "dot"))
    config = copied / "config_sentence_transformers.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "similarity_fn_name": "dot"}))
    ended = command("thresholds", copied, "--base", tiny_encoder, "--data", folders["law"], "--quiet")
    assert ended.code == 2
    assert "compares by dot product" in ended.err
