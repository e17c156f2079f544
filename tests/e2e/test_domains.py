"""Several domains, from the command to the page: compared, run again, grown and shrunk, killed, with wrong input."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from denizen.api import domains, experts
from denizen.engine.errors import ChangedError, InputError
from denizen.measuring.options import OPTIONS, ORACLE, options_of
from denizen.recipes.domains_config import DomainsConfig
from denizen.recipes.experts_config import ExpertsConfig
from denizen.reports.report import report
from denizen.retrievers.searchable import SearchableCorpus
from tests.e2e.conftest import Command, Heard, Killer, flags
from tests.e2e.slices import rows, write
from tests.html_page import Page

pytest.importorskip("mergekit", reason="merging is an extra")

SETTINGS: dict[str, Any] = {"precision": "fp32", "backend": "torch", "learning_rate": 1e-3, "batch_size": 8}
SETTINGS |= {"epochs": 1.0, "expert_steps": 3, "dev_passages": 30, "merge_evaluations": 2}
NAMES = ("finance", "health", "law")
WITHOUT_ADAPTERS = options_of(adapters=False)
DEPLOYABLE = [name for name in WITHOUT_ADAPTERS if OPTIONS[name].deployable]

Run = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Three domains of their own words."""
    folder = tmp_path_factory.mktemp("domains")
    return {name: str(write(folder / f"{name}.jsonl", rows(at, 50))) for at, name in enumerate(NAMES)}


def config_of(sources: dict[str, str], names: tuple[str, ...], model: Path, **changed: Any) -> DomainsConfig:
    return DomainsConfig([sources[name] for name in names], model=str(model), **{**SETTINGS, **changed})


@pytest.fixture(scope="session")
def two(sources: dict[str, str], tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of two domains."""
    out = tmp_path_factory.mktemp("runs") / "two"
    return out, domains(config_of(sources, NAMES[:2], tiny_encoder), out)


def test_every_option_is_measured_on_one_corpus_of_all_domains(two: Run) -> None:
    out, found = two
    assert list(found["options"]) == WITHOUT_ADAPTERS and list(found["domains"]) == ["finance", "health"]
    assert found["union"]["passages"] == sum(its["passages"] for its in found["domains"].values()) == 100
    for name, its in found["options"].items():
        for measure in ("nDCG@10", "MRR@5"):
            mean = its["means"][measure]
            by_domain = [of["means"][name][measure] for of in found["domains"].values()]
            assert mean["value"] == pytest.approx(sum(by_domain) / 2) and mean["low"] <= mean["value"] <= mean["high"]
            if name != "base":
                base = found["options"]["base"]["means"][measure]["value"]
                assert its["differences"][measure]["value"] == pytest.approx(mean["value"] - base)
            other = found["options"][its["other"]]["means"][measure]["value"]
            assert its["over_other"][measure]["value"] == pytest.approx(mean["value"] - other)
    assert json.loads((out / "metrics.json").read_text()) == found
    table = pd.read_json(out / "results.json")
    assert set(table["set"]) == {"mean over domains", "finance", "health"} and set(table["option"]) == set(
        WITHOUT_ADAPTERS
    )


def test_what_is_served_is_what_was_recommended_and_finds_what_was_measured(two: Run) -> None:
    out, found = two
    taken = found["recommended"]["taken"]
    assert taken in DEPLOYABLE
    searchable = SearchableCorpus.load(out)
    queries = pd.read_parquet(out / "union/queries.parquet")
    (first, *_) = queries[queries["split"] == "test"].itertuples()
    (best, *_) = searchable.search(first.text, 1)
    assert best.doc_id.partition("/")[0] in NAMES
    metrics = pd.read_parquet(out / f"test/{taken}/metrics.parquet")
    assert len(metrics) == 5 * found["queries"]


def test_run_again_in_whatever_order_it_does_nothing(
    two: Run, sources: dict[str, str], tiny_encoder: Path, tmp_path: Path
) -> None:
    out, heard = tmp_path / "run", Heard()
    shutil.copytree(two[0], out)
    again = domains(config_of(sources, NAMES[1::-1], tiny_encoder), out, progress=heard)
    assert heard.worked == []
    assert again == {**two[1], "config": again["config"], "retriever": again["retriever"]}


def own_files(out: Path, name: str) -> dict[str, bytes]:
    """All that belongs to one domain: its slice, its expert, what makes its scores comparable, its figures alone."""
    places = (f"slices/{name}", f"experts/{name}", f"calibrations/{name}", f"alone/{name}")
    files = [path for place in places for path in sorted((out / place).rglob("*")) if path.is_file()]
    # what a step recorded of itself holds its seconds
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files if path.name != "step.json"}


def without_times(found: dict[str, Any]) -> dict[str, Any]:
    """The results without what a clock says, and where they lie."""
    timed = ("milliseconds", "seconds_to_add")
    options = {
        name: {key: value for key, value in its.items() if key not in timed} for name, its in found["options"].items()
    }
    return {**found, "options": options, "config": None, "retriever": None}


def test_a_domain_is_added_replaced_and_taken_out_and_the_others_stay_as_they_are(
    two: Run, sources: dict[str, str], tiny_encoder: Path, tmp_path: Path
) -> None:
    out, heard = tmp_path / "run", Heard()
    shutil.copytree(two[0], out)
    mine = {**sources, "law": str(write(tmp_path / "law.jsonl", rows(2, 50)))}
    before = {name: own_files(out, name) for name in NAMES[:2]}
    assert all(len(files) > 12 for files in before.values())

    grown = domains(config_of(mine, NAMES, tiny_encoder), out, progress=heard)
    own = ("slices/", "experts/", "calibrations/", "alone/")
    assert {place.split("/")[1] for place in heard.worked if place.startswith(own)} == {"law"}
    assert list(grown["domains"]) == list(NAMES) and {name: own_files(out, name) for name in NAMES[:2]} == before
    assert grown["domains"]["health"]["alone"] == two[1]["domains"]["health"]["alone"]
    law = own_files(out, "law")

    write(tmp_path / "law.jsonl", rows(7, 40))
    with pytest.raises(ChangedError, match="slices/law/corpus"):
        domains(config_of(mine, NAMES, tiny_encoder), out)
    with pytest.raises(InputError, match="there is no domain 'tax' to replace; there are finance, health, law"):
        domains(config_of(mine, NAMES, tiny_encoder), out, replace="tax")
    heard = Heard()
    replaced = domains(config_of(mine, NAMES, tiny_encoder), out, replace="law", progress=heard)
    assert {place.split("/")[1] for place in heard.worked if place.startswith(own)} == {"law"}
    assert replaced["domains"]["law"]["passages"] == 40 and own_files(out, "law") != law
    assert {name: own_files(out, name) for name in NAMES[:2]} == before

    heard = Heard()
    less = domains(config_of(mine, NAMES[:2], tiny_encoder), out, progress=heard)
    assert not [place for place in heard.worked if place.startswith(own)]
    assert without_times(less) == without_times(two[1])
    assert {name: own_files(out, name) for name in NAMES[:2]} == before


def test_the_experts_of_another_run_are_taken_where_they_are_the_same_calls(
    sources: dict[str, str], tiny_encoder: Path, tmp_path: Path
) -> None:
    store, listed = str(tmp_path / "store"), [sources[name] for name in NAMES[:2]]
    settings = {**SETTINGS, "model": str(tiny_encoder), "store": store}
    experts(ExpertsConfig(listed, **settings), tmp_path / "experts")
    heard = Heard()
    domains(DomainsConfig(listed, **settings), tmp_path / "domains", progress=heard)
    # where embeddings lie is each run's own; they are found in the store
    assert not [place for place in heard.worked if place.startswith(("experts/", "experts-dev/", "merge"))]
    assert {place for place in heard.worked if place.startswith("slices/")} == {
        f"slices/{name}/embeddings" for name in NAMES[:2]
    }
    with pytest.raises(InputError, match="holds a run of another command; use another --out, and the same --store"):
        domains(DomainsConfig(listed, **settings), tmp_path / "experts")


@pytest.mark.slow
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(
    two: Run, sources: dict[str, str], tiny_encoder: Path, tmp_path: Path, killer: Killer
) -> None:
    points = [
        "union@record",
        "joint/joint@step:3",
        "calibrations/health@open:1",
        "routers@open:2",
        "dev/routed@write:1",
    ]
    points += [
        "dev/routed@write:1",
        "recommendation@rename",
        "test/ensemble-z@record",
        "comparison@record",
        "retriever@open:4",
        "@open:3",
    ]
    out = tmp_path / "killed"
    killer.run(config_of(sources, NAMES[:2], tiny_encoder), out, *points)
    assert without_times(json.loads((out / "metrics.json").read_text())) == without_times(two[1])
    names = [
        sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file() and path.suffix != ".json")
        for run in (two[0], out)
    ]
    assert names[0] == names[1] and not [name for name in names[1] if ".partial" in name or ".scratch" in name]
    kept = [name for name in names[0] if not name.endswith(("report.html", ".lock"))]
    assert [name for name in kept if (two[0] / name).read_bytes() != (out / name).read_bytes()] == []


def test_the_page_is_whole(two: Run, tmp_path: Path) -> None:
    out, found = two
    text = (out / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags and text.count("<svg") == 4
    assert {link[1:] for link in page.links if link != "data:,"} <= set(page.ids)
    assert not re.search(r"\{\{|\}\}|\{%|None\b|nan\b|<no value>|TODO", text)
    for name in ("finance", "health", *(its["called"] for its in found["options"].values())):
        assert name in text
    assert report(out, tmp_path / "again.html").read_text() == text


def test_small_domains_and_unstable_choices_are_said(two: Run) -> None:
    """Ten test questions a domain: nobody can know, and the page says of both what it cannot know."""
    from denizen.reports.domains import domains_headline, domains_warnings

    found = two[1]
    few = [line for line in domains_warnings(found) if "cannot be known from so few" in line]
    assert len(few) == 2 and all("test questions" in line for line in few)
    said = {
        **found,
        "recommended": {**found["recommended"], "told": False, "samples": ["base", "joint"] * 2 + ["merged"]},
    }
    assert "It cannot be told by so few dev questions which option is to be taken" in domains_headline(said)
    assert "general base 2, joint training (mixed batches) 2, merged weights 1" in domains_headline(said)


def test_what_routing_costs_adds_up(two: Run) -> None:
    """Over all queries, what is lost by each kind of decision is the whole distance to oracle routing."""
    out, found = two
    for routed, oracle in (("routed", "oracle"), ("routed-everywhere", "oracle-everywhere")):
        values = [
            pd.read_parquet(out / f"test/{name}/metrics.parquet").set_index(["measure", "query_id"])["value"]["nDCG@10"]
            for name in (routed, oracle)
        ]
        kinds = found["routing"][routed]["kinds"]
        assert sum(its["lost"] for its in kinds.values()) == pytest.approx((values[0] - values[1]).mean())
        assert sum(its["queries"] for its in kinds.values()) == found["queries"]
        assert kinds["right"]["cost"] in (None, 0.0)
        confusion = found["routing"][routed]["confusion"]
        assert sum(sum(counts.values()) for counts in confusion.values()) == found["queries"]


def test_memory_and_index_are_what_the_options_need(two: Run, tiny_encoder: Path) -> None:
    """100 passages of 32 numbers are 12,800 bytes; each expert's own half of it 6,400."""
    options = two[1]["options"]
    weights = options["base"]["weights_bytes"]
    sizes = {name: (its["weights_bytes"] / weights, its["index_bytes"]) for name, its in options.items()}
    assert sizes["base"] == sizes["joint"] == sizes["merged"] == (1, 12_800)
    assert sizes["routed"] == sizes["oracle"] == (3, 12_800 * 2) and sizes["routed-everywhere"] == (3, 12_800 * 3)
    assert sizes["federated-z"] == (2, 12_800) and sizes["ensemble-z"] == sizes["ensemble-vectors"] == (2, 12_800 * 2)
    assert all(its["milliseconds"] > 0 for its in options.values() if its["deployable"])
    assert options[ORACLE]["milliseconds"] is None and options["joint"]["seconds_to_add"] > 0


def test_wrong_input_is_refused_with_exit_code_2(
    sources: dict[str, str], tiny_encoder: Path, tmp_path: Path, command: Command
) -> None:
    untested = write(tmp_path / "small.jsonl", rows(11, 2))
    one = write(tmp_path / "one.jsonl", [{**row, "domain": "law"} for row in rows(12, 20)])

    def refused(*given: object) -> str:
        ended = command("domains", *given, "--out", tmp_path / "run", "--model", tiny_encoder, *flags(SETTINGS))
        assert ended.code == 2, ended.err
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return ended.err

    assert "no column 'domain'" in refused(sources["law"])
    assert "use denizen adapt" in refused(one)
    assert "slice 'small'" in refused(sources["law"], untested)
    assert "asks no LLM" in refused(sources["law"], sources["health"], "--router", "llm")
    assert "leave it out" in refused(sources["law"], sources["health"], "--batches", "domain")


def test_from_the_command_line_with_a_passage_that_two_domains_have(
    sources: dict[str, str], tiny_encoder: Path, tmp_path: Path, command: Command
) -> None:
    """The same document under two questions: of both domains, once in the corpus, and counted. Trained by adapters."""
    listed = [[json.loads(line) for line in Path(sources[name]).read_text().splitlines()] for name in NAMES[:2]]
    listed[1].append({"question": "Which is of both?", "answer": listed[0][0]["answer"]})
    paths = [write(tmp_path / f"{name}.jsonl", each) for name, each in zip(NAMES, listed, strict=False)]
    ended = command(
        *("domains", *paths, "--out", tmp_path / "run", "--model", tiny_encoder, "--drop-leaks"),
        *("--lora-rank", 2, *flags(SETTINGS)),
    )
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "run/metrics.json").read_text())
    assert found["union"]["shared"] == 1 and found["union"]["passages"] == 100
    assert "1 passages belong to several domains and stand in the corpus once" in ended.out
    assert ended.out.startswith(("Take ", "The rule takes ")) and "oracle routing (own indexes)" in ended.out
    # experts that are adapters can share their base: what they find hardly differs, and memory does
    whole, shared = (found["options"][name] for name in ("routed", "routed-adapters"))
    assert abs(whole["means"]["nDCG@10"]["value"] - shared["means"]["nDCG@10"]["value"]) < 0.02
    assert shared["index_bytes"] == whole["index_bytes"]
    assert shared["weights_bytes"] < 0.6 * whole["weights_bytes"]
    searched = command("search", tmp_path / "run", rows(0, 1)[0]["question"])
    assert searched.code == 0 and "finance/" in searched.out
    # no domain has a word of it: it is answered all the same, from some domain
    foreign = command("search", tmp_path / "run", "Wie wird ein Antrag auf Aufschub gestellt?", "--top-k", 3)
    assert foreign.code == 0 and len(re.findall(r"\b(?:finance|health)/", foreign.out)) >= 3
