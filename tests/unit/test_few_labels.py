"""What bench/few_labels.py draws, joins and keeps, on a set of 60 queries that is made up.

Passages p0 to p39, four a section; of the queries q0 to q59, q0-q39 are train, q40-q44 dev, q45-q59 test. Train query
number n is answered by passage n // 2, so that two share one, dev and test query n by passage n - 20.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from denizen.data.formats import read_source

ROOT = Path(__file__).parents[2]
SIDES = {"train": range(40), "dev": range(40, 45), "test": range(45, 60)}
TINY = {"rounds": 1, "epochs": 1.0, "batch_size": 8, "precision": "fp32", "backend": "torch", "baselines": False}
TINY |= {"easy_negative_ranks": "16-20", "hard_positive_ranks": "6-20", "merge_evaluations": 0, "cross_fitting": False}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program with 10 test queries and 12 others, with data, runs and results in a folder of the test."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    measuring, module = importlib.import_module("measuring"), importlib.import_module("few_labels")
    monkeypatch.setattr(module, "_TEST", 10)
    monkeypatch.setattr(module, "_OTHERS", 12)
    monkeypatch.setattr(measuring, "DATA", tmp_path)
    for program in (measuring, module):
        monkeypatch.setattr(program, "ROOT", tmp_path)
        monkeypatch.setattr(program, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(measuring, "RESULTS", tmp_path / "results")
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_up(tmp_path / "tatqa")


def made_up(folder: Path) -> Path:
    """Writes the set that the module's docstring describes; no two texts of it are alike."""
    (folder / "qrels").mkdir(parents=True)
    passages = [
        {"_id": f"p{n}", "title": f"section {n // 4}", "text": words("p", n, 30), "metadata": {"cite": f"§ {n}"}}
        for n in range(40)
    ]
    queries = [{"_id": f"q{n}", "text": f"{words('q', n, 6)} {words('p', answer(n), 4)}"} for n in range(60)]
    for name, rows in (("corpus", passages), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for side, numbers in SIDES.items():
        lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\tp{answer(n)}\t1" for n in numbers)]
        (folder / f"qrels/{side}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def answer(query: int) -> int:
    return query // 2 if query < 40 else query - 20


def words(kind: str, number: int, count: int) -> str:
    return " ".join(f"{kind}{number}w{at}" for at in range(count))


def passages_of(links: dict[str, dict[str, int]]) -> set[str]:
    return {doc_id for judged in links.values() for doc_id in judged}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_so_many_labels_are_all_and_no_relevant_passage_is_on_both_sides(
    bench: ModuleType, folder: Path, seed: int
) -> None:
    cell = bench.cell_of(bench.read_labelled(folder), "20", seed)
    train, dev = cell.links["train"], cell.links["dev"]
    assert len(train) + len(dev) == 20
    # a fifth of 20, in groups of one or two
    assert 3 <= len(dev) <= 5
    assert not train.keys() & dev.keys()
    assert not passages_of(train) & passages_of(dev)
    # the set's own dev and test parts are not drawn from
    assert train.keys() | dev.keys() <= {f"q{n}" for n in SIDES["train"]}
    assert cell.queries.keys() == {name for links in cell.links.values() for name in links}


def test_seeds_draw_other_labels_and_more_labels_hold_those_of_fewer(bench: ModuleType, folder: Path) -> None:
    found = bench.read_labelled(folder)
    drawn = {
        (labels, seed): {name for names in bench.draw_labels(found, labels, seed).values() for name in names}
        for labels in ("10", "20")
        for seed in (1, 2)
    }
    assert drawn["10", 1] < drawn["20", 1]
    assert drawn["20", 1] != drawn["20", 2]
    assert bench.draw_labels(found, "20", 1) == bench.draw_labels(found, "20", 1)


def test_all_labels_are_the_parts_of_the_set(bench: ModuleType, folder: Path) -> None:
    links = bench.cell_of(bench.read_labelled(folder), "all", 1).links
    assert [*links["train"]] == [f"q{n}" for n in SIDES["train"]]
    assert [*links["dev"]] == [f"q{n}" for n in SIDES["dev"]]


def test_more_labels_than_there_are_queries_are_refused(bench: ModuleType, folder: Path) -> None:
    with pytest.raises(SystemExit, match="41 labels are asked for; the set has 40"):
        bench.draw_labels(bench.read_labelled(folder), "41", 1)


def test_test_queries_are_equal_over_cells_and_the_passages_are_what_is_relevant_and_others(
    bench: ModuleType, folder: Path
) -> None:
    found = bench.read_labelled(folder)
    cells = [bench.cell_of(found, labels, seed) for labels, seed in (("10", 1), ("10", 2), ("20", 1), ("all", 1))]
    assert len(cells[0].links["test"]) == 10
    for cell in cells:
        assert cell.links["test"] == cells[0].links["test"]
        wanted = {doc_id for links in cell.links.values() for doc_id in passages_of(links)}
        assert wanted <= cell.passages.keys()
        # of 40 passages there are fewer than 12 others where all labels are taken
        assert len(cell.passages) == min(40, len(wanted) + 12)
    # others come in one order, whatever the labels: of what is a label of neither cell, each has the first
    wanted = [{doc_id for links in cell.links.values() for doc_id in passages_of(links)} for cell in cells[:2]]
    first, second = (set(cell.passages) - wanted[0] - wanted[1] for cell in cells[:2])
    assert first <= second or second <= first


def test_a_cell_is_a_beir_folder_with_titles_and_metadata(bench: ModuleType, folder: Path, tmp_path: Path) -> None:
    cell = bench.cell_of(bench.read_labelled(folder), "20", 1)
    bench.write(tmp_path / "labels", cell)
    assert bench.read_labelled(tmp_path / "labels") == cell
    rows = [json.loads(line) for line in (tmp_path / "labels/corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(row["title"] == f"section {int(row['_id'][1:]) // 4}" for row in rows)
    assert all(row["metadata"] == {"cite": f"§ {row['_id'][1:]}"} for row in rows)
    assert len(read_source(str(tmp_path / "labels")).queries) == 30


def labelled(bench: ModuleType, sections: dict[str, list[int]]) -> Any:
    """A set of sections of passages of so many words, a train query for each passage, named as it."""
    passages = {
        f"{title}{at}": {"_id": f"{title}{at}", "title": title, "text": words(title, at, count)}
        for title, counts in sections.items()
        for at, count in enumerate(counts)
    }
    return bench.Labelled(passages, {}, {"train": {name: {name: 1} for name in passages}})


def test_paragraphs_of_a_section_are_joined_until_they_are_long(bench: ModuleType) -> None:
    """By hand, at least 150 words and at most 450.

    a: 100 + 60 is enough; 140 waits, 400 more would be 540, so it stands alone, and so does 400.
    b: 200 is enough; the 50 left over go to it. c: 20 is all there is. d: 500 is one paragraph; 30 cannot join it.
    """
    sections = {"a": [100, 60, 140, 400], "b": [200, 50], "c": [20], "d": [500, 30]}
    found = bench.joined(labelled(bench, sections))
    counts = {name: len(row["text"].split()) for name, row in found.passages.items()}
    assert counts == {"a0": 160, "a2": 140, "a3": 400, "b0": 250, "c0": 20, "d0": 500, "d1": 30}
    assert found.passages["a0"]["text"] == f"{words('a', 0, 100)}\n{words('a', 1, 60)}"
    assert found.passages["a0"]["title"] == "a"
    assert found.links["train"]["a1"] == {"a0": 1}
    assert found.links["train"]["b1"] == {"b0": 1}


def test_labels_of_two_paragraphs_of_a_joined_passage_are_one(bench: ModuleType) -> None:
    before = labelled(bench, {"a": [100, 60]})
    before.links["train"]["both"] = {"a0": 1, "a1": 2}
    assert bench.joined(before).links["train"]["both"] == {"a0": 2}


def test_long_passages_alone_keep_the_queries_that_they_answer(bench: ModuleType) -> None:
    before = labelled(bench, {"a": [149, 150, 500, 501]})
    before.links["train"]["both"] = {"a0": 1, "a1": 1}
    found = bench.long_alone(before)
    assert [*found.passages] == ["a1", "a2"]
    assert found.links["train"] == {"a1": {"a1": 1}, "a2": {"a2": 1}, "both": {"a1": 1}}


def test_a_cell_is_run_and_kept(
    bench: ModuleType, folder: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    made_up(tmp_path / "nq_general")
    run = bench.timed_adapt
    monkeypatch.setattr(bench, "timed_adapt", lambda *given, **own: run(*given, model=str(tiny_encoder), **own, **TINY))
    bench.main([bench.Cell("tatqa", "20", 1)])
    path = tmp_path / "results/few_labels/tatqa-20-1.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["means"].keys() >= {"base", "bm25", "adapted", "hybrid"}
    assert kept["means"].keys() == {"base", *kept["differences"]}
    assert kept["drawn"]["train"] + kept["drawn"]["dev"] == 20
    assert kept["queries"]["test"] == kept["drawn"]["test"] == 10
    assert kept["shipped"]["why"] and kept["shipped"]["difference_bm25"]["MRR@5"]
    assert kept["gate"]["nq_general"]["adapted"]["nDCG@10"]["value"] == pytest.approx(kept["gate"]["change"]["general"])
    assert str(tmp_path) not in json.dumps({name: kept[name] for name in kept if name != "settings"})
    assert {"general", "store"}.isdisjoint(kept["settings"])
    assert "shipped: " in capsys.readouterr().out


def result(name: str, labels: str, seed: int, gain: float, **systems: float) -> dict[str, Any]:
    """A result with a base of .4 and a BM25 of .3."""
    found = {"base": 0.4, "bm25": 0.3, "adapted": 0.4 + gain, **systems}
    shipped = {"name": "adapted", "means": {"MRR@5": 0.4 + gain}}
    shipped |= {"difference": {"MRR@5": {"value": gain}}, "difference_bm25": {"MRR@5": {"value": 0.1 + gain}}}
    return {
        "set": name,
        "labels": labels,
        "seed": seed,
        "drawn": {"train": 80, "dev": 20, "test": 10},
        "means": {system: {"MRR@5": value} for system, value in found.items()},
        "shipped": shipped,
        "gate": {"change": {"general": -0.001}, "met": True},
    }


def test_the_table_has_means_of_seeds_and_of_sets(bench: ModuleType) -> None:
    """tatqa gains (.10 + .20) / 2 = .15, obliqa .05: .10 over sets, a set counting once; long sets are apart."""
    results = [result("tatqa", "100", 1, 0.1, ungated=0.6), result("tatqa", "100", 2, 0.2)]
    results += [result("obliqa", "100", 1, 0.05), result("cfpb_long", "100", 1, 0.5)]
    header, *rows = (line.split("  ") for line in bench.table(results).splitlines())
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert "ungated" in [cell.strip() for cell in header]
    assert [[*row[:3], row[8]] for row in cells] == [
        ["tatqa", "100", "2", "+0.150"],
        ["obliqa", "100", "1", "+0.050"],
        ["cfpb_long", "100", "1", "+0.500"],
        ["mean of sets", "100", "2 of 6", "+0.100"],
        ["mean of long", "100", "1 of 2", "+0.500"],
    ]
    # one run of two did not measure it
    assert cells[0][6] == "-"


def test_what_is_missing_is_named(bench: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "results/few_labels").mkdir(parents=True)
    (tmp_path / "results/few_labels/tatqa-100-1.json").write_text(json.dumps(result("tatqa", "100", 1, 0.1)))
    results, missing = bench.kept_of(bench.CELLS)
    assert len(results) == 1
    # 8 sets with 3 + 3 + 1 cells each
    assert len(missing) == 55
    assert bench.Cell("tatqa", "100", 1) not in missing


def test_parts_are_asked_for_by_name(bench: ModuleType) -> None:
    assert bench.chosen_of(bench.CELLS, ["tatqa/100/2", "medquad_long/all/1"]) == [
        bench.Cell("tatqa", "100", 2),
        bench.Cell("medquad_long", "all", 1),
    ]
    with pytest.raises(SystemExit, match="unknown parts"):
        bench.chosen_of(bench.CELLS, ["tatqa/all/2"])


def test_the_picture_is_drawn_twice_the_same(bench: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = [result("tatqa", "100", 1, 0.1), result("tatqa", "100", 2, 0.2), result("cfpb_long", "100", 1, 0.0)]
    for name in ("one", "other"):
        bench.draw(results, tmp_path / f"{name}.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
