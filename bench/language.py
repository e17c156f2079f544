"""A small LLM made native to regulations: what pretraining, the residual, two experts and their router are each worth.

The base is Gemma-3-270m (base). An instruct model of the same base is made here, by fine-tuning on instruct_alpaca and
the chosen answers of pref_dpo_demo. The documents are regulations of the CFPB; experts learn to explain a rule as its
official commentary does (answers), to summarize dialogues (dialogsum), and to label questions of a bank's customers
(router_banking77, the first labels). All references are people's own; nothing is written by an LLM. `--judge FILE.gguf`
names a judge, whose trial says whether it counts.

    python bench/language.py run FILE.gguf [--judge FILE.gguf] [--minutes 25]
    python bench/language.py
    python bench/language.py tiny FILE.gguf

The first goes on where it was stopped, with --minutes stops itself after so many, and at its end writes
bench/results/language.json; the second prints its table; the third tries it all at a size of some minutes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.api import language
from denizen.cli.printing import language_closing_lines
from denizen.engine.progress import Terminal
from denizen.recipes.language_config import LanguageConfig
from denizen.tasks.grounding import grounded_prompt
from measuring import RESULTS, RUNS, data, keep, seconds_by_stage, stop_after, without_places

_NAME = "language"
_QUESTION = "How does the official commentary explain this rule?"
_SIDES = ("train", "dev", "test")


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        documents: Regulations that are read.
        instructions: Rows that the instruct model is made of, and chosen answers beside them.
        rows: Of each task, by side.
        labels: How many labels there are.
        prompts: Instructions that are asked.
        tokens: Of an answer to a row at most.
    """

    documents: int
    instructions: int
    rows: tuple[int, int, int]
    labels: int
    prompts: int
    tokens: int


# measured on one core without bf16: 10 minutes for the instruct model and twice 27 for pretraining; about an hour for
# the trainings of experts and two for answers are guesses
FULL = Size(600, 400, (100, 16, 40), 12, 72, 96)
TINY = Size(40, 24, (10, 3, 3), 3, 36, 16)


def main(base: str, judge: str, size: Size, name: str) -> dict[str, Any]:
    """Runs it, or goes on, and returns what is kept."""
    folder = RUNS / name
    files = write_data(folder / "data", size)
    tiny = size is TINY
    config = LanguageConfig(
        str(files["documents"]),
        base,
        instruct_rows=(str(files["instructions"]), str(files["chosen"])),
        also_pretrain_instruct=True,
        tasks=tuple(str(files[task]) for task in ("answers", "summaries", "labels")),
        judge=judge,
        max_length=256,
        test_share=0.2,
        instruction_prompts=size.prompts,
        max_new_tokens=16 if tiny else 128,
        task_tokens=size.tokens,
        sft_epochs=1.0,
        dpo_epochs=1.0,
        made_pairs=size.rows[0],
        # 60 answers of each of five models take three quarters of an hour, and say little of so small a model
        measure_safety=False,
        asked_rows=40,
        expert_batch_size=4,
        batch_size=4 if tiny else 8,
    )
    report = language(config, folder / "run", progress=Terminal())
    print("\n".join(language_closing_lines(report)))
    seconds = seconds_by_stage(folder / "run")
    left_out = ("model", "base_model", "instruct_model", "config", "experts")
    kept = {key: value for key, value in report.items() if key not in left_out}
    # texts of the data sets are none of the project's
    experts = {key: value for key, value in report["experts"].items() if key not in ("examples", "rows", "preferences")}
    sizes = {"rows": report["experts"]["rows"]["rows"], "pairs": report["experts"]["preferences"]["ways"]}
    settings = without_places(report["config"])
    times = {"seconds": round(sum(seconds.values()), 1), "seconds_by_stage": seconds}
    return {"base": Path(base).name, **kept, "experts": {**experts, **sizes}, "settings": settings, **times}


def write_data(folder: Path, size: Size) -> dict[str, Path]:
    """Files of documents and rows, the same bytes each time, by name."""
    passages = {row["_id"]: row for row in read(data("cfpb_regs") / "corpus.jsonl")}
    comments = {row["_id"]: row["text"] for row in read(data("cfpb_regs") / "queries.jsonl")}
    explained = [(one, other) for one, other in _links() if len(passages[other]["text"]) > len(comments[one]) // 4]
    # of a rule one comment: where several explain it, each says another part
    first = list({passage: (comment, passage) for comment, passage in reversed(explained)}.values())[::-1]
    wanted = first[: 3 * sum(size.rows)]
    others = [name for name in passages if len(passages[name]["text"]) > 200]
    names = list(dict.fromkeys([*(passage for _, passage in wanted), *others]))[: size.documents]
    documents = [
        {"id": name, "title": passages[name]["title"], "text": passages[name]["text"]} for name in sorted(names)
    ]
    answers = [
        {"prompt": grounded_prompt(_QUESTION, [passages[passage]["text"]]), "completion": comments[comment]}
        | {"document": passage, "task": "answer"}
        for comment, passage in wanted
        if passage in names
    ][: sum(size.rows)]
    rows = {
        "documents": documents,
        "answers": answers,
        "summaries": list(_by_side(_summaries(), size.rows)),
        "labels": list(_by_side(_labels(size.labels), size.rows)),
        "instructions": _first(read(data("instruct_alpaca") / "train.jsonl"), size.instructions),
        "chosen": _first(read(data("pref_dpo_demo") / "train.jsonl"), size.instructions // 4),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, listed in rows.items():
        text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in listed)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.jsonl" for name in rows}


def _links() -> Iterator[tuple[str, str]]:
    """Comment and the rule that it explains, of all sides: a document's side is the corpus's own."""
    for side in _SIDES:
        for line in (data("cfpb_regs") / "qrels" / f"{side}.tsv").read_text().splitlines()[1:]:
            comment, passage, _ = line.split("\t")
            yield comment, passage


def _summaries() -> dict[str, list[dict[str, Any]]]:
    found = {name: list(read(data("dialogsum") / f"{name}.jsonl")) for name in ("train", "test")}
    found["dev"] = found["train"][-len(found["train"]) // 5 :]
    found["train"] = found["train"][: -len(found["dev"])]
    asked = "Summarize this dialogue in one or two sentences:\n\n{}"
    return {
        side: [
            {"prompt": asked.format(row["dialogue"]), "completion": row["summary"], "task": "summarize"}
            for row in found[side]
            # longer ones would be cut
            if len(row["dialogue"]) < _LONGEST
        ]
        for side in _SIDES
    }


_LONGEST = 900


def _labels(count: int) -> dict[str, list[dict[str, Any]]]:
    found = {side: list(read(data("router_banking77") / f"{side}.jsonl")) for side in _SIDES}
    names = sorted({row["label"] for row in found["train"]})[:count]
    return {side: [row for row in found[side] if row["label"] in names] for side in _SIDES}


def _by_side(rows: Mapping[str, Sequence[dict[str, Any]]], counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    """So many rows of each side, from all over it."""
    for side, count in zip(_SIDES, counts, strict=True):
        of = rows[side]
        for at in range(min(count, len(of))):
            yield {**of[at * len(of) // min(count, len(of))], "split": side}


def _first(rows: Iterable[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The first rows that are no longer than what is read of them."""
    short = (row for row in rows if sum(len(str(value)) for value in row.values()) < _LONGEST)
    return [row for row, _ in zip(short, range(count), strict=False)]


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of a data set."""
    opened: Any = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def table(result: Mapping[str, Any]) -> str:
    """As a run prints it."""
    lines = language_closing_lines({**result, "model": "", "base_model": result["base"], "instruct_model": ""})
    return "\n".join([f"{result['base']}, {result['seconds'] / 60:.0f} minutes", *lines[:-2]])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What each part of the language track is worth.")
    parser.add_argument("do", nargs="?", choices=["run", "tiny"])
    parser.add_argument("base", nargs="?", help="Gemma-3-270m, as a GGUF file or a folder.")
    parser.add_argument("--judge", default="", help="A GGUF file of another model.")
    parser.add_argument("--minutes", type=float, default=0.0, help="Stop after so many; 0: at the end.")
    given = parser.parse_args()
    if bool(given.do) != bool(given.base):
        parser.error("run and tiny take the base")
    if given.minutes:
        stop_after(given.minutes)
    if given.do == "run":
        keep(_NAME, main(given.base, given.judge, FULL, _NAME))
    elif given.do:
        main(given.base, given.judge, TINY, f"{_NAME}-tiny")
    elif (RESULTS / f"{_NAME}.json").is_file():
        print(table(json.loads((RESULTS / f"{_NAME}.json").read_text(encoding="utf-8"))))
    else:
        sys.exit(f"missing: {_NAME}.json; python bench/language.py run FILE.gguf makes it")
