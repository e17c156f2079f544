"""Prints the tables of README.md and docs from bench/results/*.json, so that no figure is typed by hand.

python bench/tables.py
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
_NAMES = {
    "medquad_random_default": "MedQuAD, row split (leaks), default",
    "medquad_random_gold_triplet": "MedQuAD, row split (leaks), gold-triplet",
    "domains_medquad": "MedQuAD, by topic",
    "domains_financial_qa_10k": "Financial-QA-10k, by company",
    "domains_obliqa": "ObliQA",
    "domains_tatqa": "TAT-QA",
}
_FEW = {
    "tatqa": "TAT-QA",
    "obliqa": "ObliQA",
    "financial_qa_10k": "Financial-QA-10k",
    "medquad": "MedQuAD, by topic",
    "policyqa": "PolicyQA",
    "cfpb_regs": "CFPB regulations",
    "cfpb_long": "CFPB regulations, sections joined",
    "medquad_long": "MedQuAD, long answers",
}
PRESETS = ("default", "gold-triplet")
_PROVED = {
    "medquad": "MedQuAD / PubMedQA",
    "obliqa": "ObliQA / PolicyQA",
    "financial_qa_10k": "Financial-QA-10k / TAT-QA",
}


def results_table(results: Path = RESULTS) -> str:
    """One row a benchmark: MRR@5 of base, BM25 and adapted on test, what was forgotten, and the minutes of work."""
    header = ["data", "queries", "base", "BM25", "adapted", "adapted - base", "p", "nq_general nDCG@10", "minutes"]
    rows = [header, ["---"] * len(header)]
    for name, title in _NAMES.items():
        path = results / f"{name}.json"
        if path.is_file():
            rows.append([title, *_cells(json.loads(path.read_text(encoding="utf-8")))])
    return _markdown(rows)


def per_row_sentence(results: Path = RESULTS) -> str:
    """How the row split of MedQuAD looks when every test row is a query of its own, as published."""
    result = json.loads((results / "medquad_random_default.json").read_text(encoding="utf-8"))["per_row"]
    base, adapted = result["base"], result["adapted"]
    return (
        f"With each of its {base['rows']:,} test rows as a query of its own, as published, MRR@5 goes from "
        f"{base['MRR@5']:.3f} to {adapted['MRR@5']:.3f}."
    )


def encoding_table(results: Path = RESULTS) -> str:
    """One row a backend: texts a second, how many times as fast as the library, and how close its vectors are."""
    result = json.loads((results / "encode.json").read_text(encoding="utf-8"))
    header = ["encodes by", "texts/s", "times as fast", "of the matrix rate", "smallest cosine", "nDCG@10", "gate"]
    rows = [header, ["---"] * len(header)]
    for name, side in result["sides"].items():
        plain = name == "sentence-transformers"
        rows.append(
            [
                "`SentenceTransformer.encode`" if plain else name,
                f"{statistics.median(side['texts_a_second']):.0f}",
                "1" if plain else _ratio(side["ratio"]),
                f"{side['share_of_matrix_rate']:.0%}",
                "" if plain else f"{side['min_cosine']:.5f}",
                f"{side['nDCG@10']:.4f}",
                "" if plain else "passed" if side["gate"] else "failed",
            ]
        )
    return _markdown(rows)


def router_table(results: Path = RESULTS) -> str:
    """One row a task and kind of router: accuracy, calibration, abstention, time; * is the one that dev chose."""
    result = json.loads((results / "routers.json").read_text(encoding="utf-8"))
    header = ["queries", "router", "accuracy", "ECE", "AUROC of abstention", "abstains", "right where routed", "ms"]
    rows = [header, ["---"] * len(header)]
    for task, of in result["tasks"].items():
        for router in of["routers"].values():
            outside, made = router["abstention"], router["decisions"]
            rows.append(
                [
                    f"{task} ({_labels(of, router)})",
                    router["variant"] + ("*" if router["variant"] == of["chosen"] else ""),
                    _with_interval(router["accuracy"]),
                    f"{router['ece']:.3f}",
                    _with_interval(outside) if outside else "",
                    f"{made['abstained']['value']:.1%}",
                    f"{made['right']['value']:.3f}",
                    f"{router['ms']:.2f}",
                ]
            )
    return _markdown(rows)


def router_confusion_table(results: Path = RESULTS) -> str:
    """What the chosen router of each task confuses most on test."""
    result = json.loads((results / "routers.json").read_text(encoding="utf-8"))
    rows = [["queries", "is", "taken for", "times"], ["---"] * 4]
    for task, of in result["tasks"].items():
        (router,) = (its for its in of["routers"].values() if its["variant"] == of["chosen"])
        rows += [[task, pair["true"], pair["said"], str(pair["queries"])] for pair in router["confused"][:3]]
    return _markdown(rows)


def _labels(task: dict[str, Any], router: dict[str, Any]) -> str:
    return f"{task['labels']} labels, {router['accuracy']['count']:,} test"


def _with_interval(of: dict[str, float]) -> str:
    return f"{of['value']:.3f} [{of['low']:.3f}, {of['high']:.3f}]"


def speed_table(results: Path = RESULTS) -> str:
    """Training, mining, search and the whole job: seconds of both sides and how many times as fast."""
    found = {
        name: json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("train", "mine", "search", "whole_job")
    }
    train, mine, search, job = found.values()
    settings, exact = search["settings"], search["exact"]
    header = ["job", "the library", "seconds", "Denizen", "times as fast", "asked"]
    rows = [header, ["---"] * len(header)]
    for title, library, result, asked in (
        (f"train on {train['rows']:,} rows", "`SentenceTransformerTrainer`", train, "4"),
        (
            f"mine for {mine['questions']:,} questions in {mine['passages']:,} passages",
            "`mine_hard_negatives`",
            mine,
            "5",
        ),
    ):
        theirs, ours = (statistics.median(values) for values in result["seconds"].values())
        rows.append([title, library, f"{theirs:.0f}", f"{ours:.0f}", _ratio(result["ratios"]), asked])
    ratio = exact["ratio"]
    rows.append(
        [
            f"top {settings['depth']} of {settings['passages']:,} passages for {settings['queries']:,} queries, exact",
            "faiss `IndexFlatIP`",
            f"{statistics.median(exact['faiss_flat_seconds']):.1f}",
            f"{statistics.median(exact['seconds']):.1f}",
            f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]",
            "1.5",
        ]
    )
    theirs, ours = job["seconds"]["plain gold-triplet"], job["seconds"]["denizen"]
    title = f"the whole job on {job['queries']['train']:,} training queries, {job['passages']:,} passages"
    rows.append([title, "gold-triplet in library calls", f"{theirs:.0f}", f"{ours:.0f}", f"{job['ratio']:.2f}", "3"])
    return _markdown(rows)


def growth_table(results: Path = RESULTS) -> str:
    """Seconds of each step and memory at the peak, by the number of passages."""
    sizes = json.loads((results / "growth.json").read_text(encoding="utf-8"))["sizes"]
    steps = [name for name, value in sizes[0].items() if isinstance(value, dict)]
    header = ["passages", *(f"{step}, s" for step in steps), "MiB at the peak"]
    rows = [header, ["---"] * len(header)]
    for row in sizes:
        seconds = [f"{row[step]['seconds']:.1f}" for step in steps]
        rows.append([f"{row['passages']:,}", *seconds, f"{max(row[step]['peak_mib'] for step in steps):,}"])
    return _markdown(rows)


def local_llm_table(results: Path = RESULTS) -> str:
    """One row a model and a way of serving it: seconds a grade."""
    rows = [["model", "threads", "slots", "seconds a call"], ["---"] * 4]
    for row in json.loads((results / "local_llm.json").read_text(encoding="utf-8"))["rows"]:
        rows.append([row["model"].split("@")[0], str(row["threads"]), str(row["slots"]), f"{row['seconds']:.1f}"])
    return _markdown(rows)


_WAYS = {
    "query first": "a grade, the query first (as it is)",
    "passage first": "a grade, the passage first",
    "words, then grade": "the words that answer or NO_ANSWER, then a grade",
}


def grading_table(results: Path = RESULTS) -> str:
    """One row a way of asking: kappa of grade 4 and of 3 and 4, what is called an answer, and how many decoys fool."""
    header = ["asked for", "kappa, grade 4 an answer", "kappa, 3 too", "answers called so (by 4)", "near passages not"]
    rows = [[*header, "fooled by long ones, by the query's words, by an order"], ["---"] * 6]
    found = json.loads((results / "grading.json").read_text(encoding="utf-8"))["ways"]
    for way, title in _WAYS.items():
        of = found[way]
        own, near = ([of["grades"][str(grade)][at] for grade in (1, 2, 3, 4)] for at in (0, 1))
        # as many of both, so that kappa is sensitivity + specificity - 1
        milder = sum(own[2:]) / sum(own) - sum(near[2:]) / sum(near)
        kappa = f"{of['kappa']['value']:.2f} [{of['kappa']['low']:.2f}, {of['kappa']['high']:.2f}]"
        rates = [f"{of[name]['value']:.0%}" for name in ("sensitivity", "specificity")]
        fooled = ", ".join(f"{yes}/{all_}" for yes, all_ in of["fooled"].values())
        rows.append([title, kappa, f"{milder:.2f}", *rates, fooled])
    return _markdown(rows)


_TAUGHT_BY = {
    "without": "its questions, without grades",
    "tried": "its questions, with grades from 3 on",
    "labels": "300 labels",
}


def real_teacher_table(results: Path = RESULTS) -> str:
    """One row a set and way: the base as it is best read and fused, what is shipped, and what that gained."""
    header = ["data", "taught by", "training queries", "base", "BM25", "base, as read and fused", "shipped"]
    rows = [[*header, "- base, as read and fused", "- BM25"], ["---"] * 9]
    for name, title in _FEW.items():
        path, labelled = results / f"real_teacher/{name}.json", results / f"few_labels/{name}-300-1.json"
        if not path.is_file():
            continue
        ways = json.loads(path.read_text(encoding="utf-8"))["ways"]
        ways["labels"] = json.loads(labelled.read_text(encoding="utf-8"))
        for way, taught in _TAUGHT_BY.items():
            if way in ways:
                of, best = ways[way], ways[way]["shipped"]
                means = [f"{of['means'][system]['MRR@5']:.3f}" for system in ("base", "bm25", "base-hybrid")]
                over = [_change(best[key]["MRR@5"]) for key in ("difference_base_hybrid", "difference_bm25")]
                rows.append(
                    [title, taught, str(of["queries"]["train"]), *means, f"{best['means']['MRR@5']:.3f}", *over]
                )
    return _markdown(rows)


def distill_table(results: Path = RESULTS) -> str:
    """One row a set and a teacher, all of them oracles: what of the gold-label gain is left, at how many grades."""
    header = ["data", "oracle", "base", "adapted", "gain", "of the gold gain", "grades"]
    rows = [header, ["---"] * len(header)]
    for name, title in (("medquad", "MedQuAD"), ("financial_qa_10k", "Financial-QA-10k")):
        path = results / f"distill_{name}.json"
        for teacher, found in json.loads(path.read_text(encoding="utf-8"))["runs"].items():
            gains = ", ".join(f"{gain:+.3f}" for gain in found["gains"])
            share = f"{found['share_of_gold_gain']:.0%}"
            scores = [f"{found[key]:.3f}" for key in ("base", "adapted")]
            grades = f"{found['grades']:,}" if found["grades"] else ""
            rows.append([title, teacher if grades else f"none: {teacher}", *scores, gains, share, grades])
    return _markdown(rows)


def distill_sentence(results: Path = RESULTS) -> str:
    """How far a teacher is from labels, what a second round adds, and how few grades are enough, by set."""
    parts = []
    for name, title in (("medquad", "MedQuAD"), ("financial_qa_10k", "Financial-QA-10k")):
        result = json.loads((results / f"distill_{name}.json").read_text(encoding="utf-8"))
        apart = {key: _change(result[key]) for key in ("perfect - gold", "20 % wrong - gold", "two rounds - one")}
        parts.append(
            f"on {title} the perfect oracle is {apart['perfect - gold']} from the labels and the poor one "
            f"{apart['20 % wrong - gold']}, two rounds give {apart['two rounds - one']} over one with as many "
            f"examples, and {_fewest(result)} 95 % of the gain"
        )
    return "; ".join(parts)


def proof_table(results: Path = RESULTS) -> str:
    """Two rows a set and a preset: what a run without sets, and one with them, gains and loses on test."""
    header = ["data", "preset", "run", "MRR@5", "nq_general nDCG@10", "neighbour nDCG@10", "of the gain", "taken"]
    rows = [header, ["---"] * len(header)]
    for preset, title, result in proof_results(results):
        share = result["share_of_gain_kept"]
        kept = {"ungated": "", "gated": "no gain" if share is None else f"{share:.0%}"}
        taken = {"ungated": "the last student", "gated": result["chosen"]}
        for run in ("ungated", "gated"):
            changes = [_change(result[run][role]) for role in ("domain", "general", "neighbour")]
            rows.append([title if run == "ungated" else "", preset, run, *changes, kept[run], taken[run]])
    return _markdown(rows)


def ingest_table(results: Path = RESULTS) -> str:
    """One row a kind of file: what comes back of known texts, in order, how fast and with how much memory."""
    result = json.loads((results / "ingest.json").read_text(encoding="utf-8"))
    header = [
        "what",
        "kind",
        "documents",
        "words recovered",
        "in order",
        "words too many",
        "passages",
        "MB/s",
        "peak MB",
    ]
    rows = [header, ["---"] * len(header)]
    for part, what in (("made", "made up"), ("filings", "real filings"), ("pages", "real filing pages")):
        for row in result[part]:
            shares = [f"{row[name]:.2%}" for name in ("recovered", "in_order", "more")]
            speed = [f"{row['passages']:,}", f"{row['mb_per_second']:.2f}", f"{row['peak_mb']:.0f}"]
            rows.append([what, row["kind"], str(row["documents"]), *shares, *speed])
    return _markdown(rows)


def ingest_growth_table(results: Path = RESULTS) -> str:
    """One row a number of files: seconds, speed and memory; then what one added file costs, and none."""
    found = json.loads((results / "ingest.json").read_text(encoding="utf-8"))["growth"]
    header = ["files", "of them read", "MB", "seconds", "reading MB/s", "peak MB", "passages"]
    rows = [header, ["---"] * len(header)]
    listed = [(str(row["files"]), row) for row in found["by_files"]]
    for name, row in [*listed, ("one added", found["added"]), ("nothing new", found["nothing_new"])]:
        read = "" if name == "nothing new" else f"{row['mb_per_second']:.2f}"
        files = "0" if name == "nothing new" else str(row["files_read"])
        cells = [
            f"{row['megabytes']:.1f}",
            f"{row['seconds']:.1f}",
            read,
            f"{row['peak_mb']:.0f}",
            f"{row['passages']:,}",
        ]
        rows.append([name, files, *cells])
    return _markdown(rows)


def few_labels_table(results: Path = RESULTS) -> str:
    """One row a set and count of labels, the mean of its seeds; intervals are those of a single seed."""
    header = [
        "data",
        "labels",
        "seeds",
        "base",
        "BM25",
        "base, as read and fused",
        "plain, as read and fused",
        "shipped",
        "MRR@5",
        "- base, as read and fused",
        "nq_general nDCG@10",
        "minutes",
    ]
    rows = [header, ["---"] * len(header)]
    for name, title in _FEW.items():
        for labels in ("100", "300", "all"):
            paths = sorted((results / "few_labels").glob(f"{name}-{labels}-*.json"))
            found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
            if not found:
                continue
            shown = [
                f"{statistics.mean(result['means'][system]['MRR@5'] for result in found):.3f}"
                for system in ("base", "bm25", "base-hybrid", "plain-hybrid")
            ]
            given = ", ".join(dict.fromkeys(result["shipped"]["name"] for result in found))
            over = [result["shipped"]["difference_base_hybrid"]["MRR@5"] for result in found]
            mean = statistics.mean(one["value"] for one in over)
            forgotten = statistics.mean(result["gate"]["change"]["general"] for result in found)
            rows.append(
                [
                    title,
                    labels,
                    f"{len(found)}",
                    *shown,
                    given,
                    f"{statistics.mean(result['shipped']['means']['MRR@5'] for result in found):.3f}",
                    _change(over[0]) if len(over) == 1 else f"{mean:+.3f}",
                    f"{forgotten:+.4f}",
                    f"{statistics.mean(result['seconds'] for result in found) / 60:.0f}",
                ]
            )
    return _markdown(rows)


def proof_results(results: Path = RESULTS) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Preset, title of the set, and result of each run of bench/proof.py that is there."""
    for preset in PRESETS:
        for name, title in _PROVED.items():
            path = results / f"{proof_name(preset, name)}.json"
            if path.is_file():
                yield preset, title, json.loads(path.read_text(encoding="utf-8"))


def proof_name(preset: str, name: str) -> str:
    """What the result of a preset on a set is called."""
    return f"proof_{preset.replace('-', '_')}_{name}"


def _change(found: dict[str, float]) -> str:
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"


def _fewest(result: dict[str, Any]) -> str:
    grades = result["fewest grades for 95 % of the full gain"]
    none = next(found["grades"] for teacher, found in result["runs"].items() if "none of its grades" in teacher)
    return "training without any grade keeps" if grades == none else f"{grades:,} grades keep"


def _ratio(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def _markdown(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(result: dict[str, Any]) -> list[str]:
    metrics = result["metrics"]
    found = metrics["difference"]["MRR@5"]
    general = result.get("nq_general")
    forgotten = f"{general['base']['nDCG@10']:.3f} -> {general['adapted']['nDCG@10']:.3f}" if general else ""
    return [
        f"{metrics['queries']:,}",
        *(f"{metrics[system]['MRR@5']:.3f}" for system in ("base", "bm25", "adapted")),
        _change(found),
        "< .0001" if found["p"] < 0.0001 else f"{found['p']:.4f}",
        forgotten,
        f"{result['seconds'] / 60:.0f}",
    ]


if __name__ == "__main__":
    for shown in (
        results_table,
        per_row_sentence,
        encoding_table,
        speed_table,
        growth_table,
        distill_table,
        distill_sentence,
        proof_table,
        ingest_table,
        ingest_growth_table,
        few_labels_table,
    ):
        print(shown(), end="\n\n")
