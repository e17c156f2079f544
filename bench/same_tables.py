"""Does this version write the same tables and metrics as another one? Every case is a run of `denizen adapt` by both.

The data are made up, the encoder is tiny and random, and the LLM is a script, so all of it takes minutes and needs
nothing from ../shared/data. Same means: the same rows in the same order, floats within 1e-5. Rows of one query whose
scores are that close may have changed places; such tables are listed apart. Both sources are copied before the first
run, so that neither is written to and work on them may go on meanwhile.

    python bench/same_tables.py OLD_CHECKOUT [--new CHECKOUT] [--part PART|PART/CASE ...] [--keep FOLDER]

The exit status is 1 where anything differs. Results are kept for the checkout that the program stands in, not for
another --new; of parts that were not asked for, those of before stay.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import shutil
import string
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "bench" / "results" / "same_tables.json"
SIDES = ("old", "new")

# where the new version may keep what the old one has under another name (* stands for a part of a path, in order);
# None: it may be without it. What belongs to another seed (seed-43/...) goes by the same names.
MOVED: dict[str, str | None] = {
    "round-*/run/dev_metrics.parquet": None,
    "*/stage.json": "*/step.json",
    "*/*/stage.json": "*/*/step.json",
}
# records of the making: the facts in them are compared where both have them
_RECORDS = ("stage.json", "step.json")
# compared by what is made of them: their names are digests of weights, or go by a secret that each run draws anew (for
# personal data), or they hold when they were made
UNCOMPARED = re.compile(r"(.*/)?(\.lock|[0-9a-f]{64}/.*|\.parts/.*|replies\.sqlite.*)")
# columns of the same kind, by the file's name
_UNCOMPARED_COLUMNS = {"files.parquet": {"key"}}
# keys of JSON that say where, when and by which version something was made
_OWN = {"machine", "versions", "__version__", "transformers_version", "seconds"}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TOLERANCE = 1e-5
_SHOWN = 3
# characters of the end of what a failed run said
_SAID = 1500
# exit codes of a whole run: all is well, and the gate is not met
_WHOLE = (0, 4)

_WORDS = "what which how is are the a an of and in for with symptom treat cause gout lupus fever pain child drug dose"
_SYLLABLES = [first + vowel + last for first in "bdfgklmnprst" for vowel in "aeiou" for last in "nrslt"]
_TOPIC_LETTERS = 6


@dataclass(frozen=True)
class Case:
    """One comparison: a source and settings, both sides alike."""

    source: Path
    settings: dict[str, Any]


@dataclass
class Found:
    """What became of one file: same, near ties, differs, missing or may be missing (in the new run), only new.

    Only counted are files that both have and that are no tables: the report, the model's card.
    """

    name: str
    verdict: str
    detail: str = ""


@dataclass
class Side:
    """One of the two versions.

    Attributes:
        name: old or new.
        source: The copy of its src.
        commit: What its checkout has checked out, with a plus where src differs from that.
        runs: Where its runs go.
    """

    name: str
    source: Path
    commit: str
    runs: Path


@dataclass
class Run:
    """What a run left: its folder, exit code, seconds, the end of what it said, the LLM's address and requests."""

    out: Path
    code: int
    seconds: float
    said: str
    url: str = ""
    requests: list[str] = field(default_factory=list)


def cases(made: Path) -> dict[str, Case]:
    """All cases by PART/CASE, with what `make_inputs` makes."""
    pairs, documents, forgettable = made / "pairs.jsonl", made / "documents.jsonl", made / "forgettable"
    labels: dict[str, Any] = {"rounds": 2, "epochs": 2.0, "batch_size": 8, "learning_rate": 1e-3}
    labels |= {"easy_negative_ranks": "16-20", "hard_positive_ranks": "6-20"}
    plain = {**labels, "baselines": False}
    several = {"passage_chars": 130, "positive_ceiling": 0.0, "negatives": 2, "positives": 0, "epochs": 0.5}
    gold = {"preset": "gold-triplet", "epochs": 1.0, "warmup_steps": 0.1, "learning_rate": 1e-3}
    gate = {**labels, "learning_rate": 3e-3, "near_base": 0.0, "merge_evaluations": 6, "forgetting_limit": 0.1}
    gate |= {"general": forgettable, "neighbour": made / "neighbour"}
    asking = {"epochs": 1.0, "batch_size": 8, "learning_rate": 1e-3, "passages": 40, "styles": "question,keyword"}
    asking |= {"graded_top": 3, "baselines": False}
    llm = {**asking, "teacher": "llm", "llm": "scripted", "prices": "1/2", "persona_queries": 0.3}
    llm |= {"hard_positive_ranks": "6-20"}
    whole = {"mine_within": "corpus", "passage_chars": 130, "llm": "silent", "rounds": 1, "learning_rate": 3e-3}
    whole |= {"near_base": 0.0, "general": forgettable, "forgetting_limit": 0.05, "merge_evaluations": 3}
    cut = {"passages": 60, "budget_calls": 300, "concurrency": 1, "min_coverage": 0.5}
    together = {"grades_per_call": 3, "same_document": True, "loss": "triplet", "styles": "question,multi-hop"}
    together |= {"rounds": 1}
    # of the four passages of a document two are drawn below the best
    apart = {"mine_within": "documents", "found_by": 3, "passage_chars": 130, "graded_top": 1}
    # what says nothing to a cross-encoder without an LLM is ignored by the old version and refused by the new one
    cross = {name: asking[name] for name in ("epochs", "batch_size", "learning_rate", "graded_top", "baselines")}
    cross |= {"teacher": "cross-encoder", "cross_encoder": made / "cross-encoder", "query_log": made / "log.txt"}
    beir = {"persona_queries": 0.2, "round_trip": 0, "baselines": True, "query_log": made / "asked.txt"}
    return {
        "labels/default": Case(pairs, labels),
        "labels/gold-triplet": Case(pairs, gold),
        "labels/several": Case(made / "several.jsonl", {**plain, **several}),
        "seeds/two": Case(pairs, {**plain, "rounds": 1, "seeds": 2, "positive_ceiling": 0.99}),
        "gate/merged": Case(pairs, {**gate, "seeds": 2}),
        "gate/near-base": Case(pairs, {**gate, "near_base": 16.0, "rounds": 1, "baselines": False}),
        "teacher/documents": Case(documents, {**llm, **apart}),
        "teacher/corpus": Case(documents, {**llm, **whole}),
        "teacher/budget": Case(made / "single.jsonl", {**llm, **cut}),
        "teacher/together": Case(documents, {**llm, **apart, **together}),
        "cross-encoder/log": Case(made / "files", cross),
        "unlabelled-source-with-labelled-test/beir": Case(made / "labelled", {**llm, **beir, "rounds": 1}),
    }


def main(asked: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="same_tables-") as temporary:
        work = asked.keep.resolve() if asked.keep else Path(temporary)
        if asked.keep and work.exists() and any(work.iterdir()):
            sys.exit(f"--keep {work} is not empty; give a new folder")
        wanted = chosen(work / "made", asked.part)
        checkouts = (asked.old.resolve(), asked.new.resolve() if asked.new else ROOT)
        old, new = (make_side(name, checkout, work) for name, checkout in zip(SIDES, checkouts, strict=True))
        print(f"old: {checkouts[0]} at {old.commit}\nnew: {checkouts[1]} at {new.commit}", flush=True)
        make_inputs(work / "made")
        results = {}
        for name, case in wanted.items():
            with ThreadPoolExecutor(2) as both:
                runs = [both.submit(adapt, side, name, case) for side in (old, new)]
            results[name] = {"old": old.commit, "new": new.commit, **compare(*(run.result() for run in runs))}
            show(name, results[name])
        machine = machine_of(old.runs)
    different = [name for name, result in results.items() if not result["same"]]
    print(f"\n{len(results) - len(different)} of {len(results)} cases are the same; different: {different or 'none'}")
    if asked.new is None:
        keep(machine, results)
    return 1 if different else 0


def chosen(made: Path, parts: Sequence[str]) -> dict[str, Case]:
    """The cases of some parts, or all."""
    every = cases(made)
    unknown = sorted(set(parts) - {*every, *(name.split("/")[0] for name in every)})
    if unknown:
        sys.exit(f"there is no part {unknown}; there are {list(every)} and what stands before the / of each")
    return {name: case for name, case in every.items() if not parts or {name, name.split("/")[0]} & set(parts)}


def make_side(name: str, checkout: Path, work: Path) -> Side:
    """Copies a checkout's source, and makes sure that it is what Python imports from there."""
    source = work / name / "src"
    shutil.copytree(checkout / "src", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    where = "import denizen; print(denizen.__file__)"
    told = subprocess.run(
        [sys.executable, "-c", where], env=environment(source), cwd=work, capture_output=True, text=True, check=True
    )
    if not Path(told.stdout.strip()).is_relative_to(source):
        sys.exit(f"{checkout}: Python imports denizen from {told.stdout.strip()}, not from {source}")
    git = ["git", "--no-optional-locks", "-C", str(checkout)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "src"], capture_output=True, text=True).stdout
    return Side(name, source, (commit or "no commit") + ("+" if changed else ""), work / name / "runs")


def environment(source: Path) -> dict[str, str]:
    """One thread, so that sums have one order; no network, and no key of anybody."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "DENIZEN_"))}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **threads, "PYTHONPATH": str(source), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def adapt(side: Side, name: str, case: Case) -> Run:
    """Runs a case with one of the versions, in a process of its own."""
    out = side.runs / name
    model = case.source.parent / "encoder" / "model"
    flags = {**case.settings, "model": model, "out": out, "precision": "fp32", "backend": "torch"}
    with Scripted() as llm:
        if case.settings.get("teacher") == "llm":
            flags["endpoint"] = llm.url
        command = [sys.executable, "-m", "denizen", "adapt", str(case.source)]
        for flag, value in flags.items():
            dashed = flag.replace("_", "-")
            switch = [f"--{'' if value else 'no-'}{dashed}"]
            command += switch if isinstance(value, bool) else [f"--{dashed}", str(value)]
        out.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        done = subprocess.run(command, env=environment(side.source), cwd=side.runs, capture_output=True, text=True)
    seconds = time.monotonic() - began
    return Run(out, done.returncode, seconds, done.stderr[-_SAID:], llm.url, sorted(llm.requests))


class Scripted:
    """An LLM whose replies depend on the request alone, on 127.0.0.1 as a context manager; it keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # headers and body are two packets; without this the second one waits for the first one's receipt
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                script.requests.append(json.dumps(body, sort_keys=True))
                payload = json.dumps(completion(body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Scripted:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def completion(body: Mapping[str, Any]) -> dict[str, Any]:
    """A whole reply; its log-probability, which `silent` withholds, differs from request to request."""
    text = answer(body)
    token = {"token": "x", "logprob": -0.05 - _number(str(body["messages"])) % 1000 / 500, "top_logprobs": []}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    choice["logprobs"] = {"content": [token]} if body.get("logprobs") and body["model"] != "silent" else None
    usage = {"prompt_tokens": len(str(body["messages"])) // 4, "completion_tokens": len(text) // 4 + 1}
    usage["total_tokens"] = sum(usage.values())
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "x", "choices": [choice], "usage": usage}


def answer(body: Mapping[str, Any]) -> str:
    """Asks for what only this passage names, and grades by how many words query and passage share.

    A few replies are none, and of a few queries the own passage gets no 4, as happens with real LLMs.
    """
    system, user = (message["content"] for message in body["messages"])
    passages = [text for _, text in re.findall(r"<(passage(?: \d+)? \w{8})>\n(.*?)\n</\1>", user, re.DOTALL)]
    if '"questions"' in system:
        examples = re.findall(r"^- (.*)$", user, re.MULTILINE)
        return json.dumps({"questions": [f"{line} or else {_number(line) % 100}" for line in examples]})
    if _number(user) % 41 == 0:
        return "no idea"
    if '"question"' in system:
        topics = [[word for word in _split(text) if len(word) == _TOPIC_LETTERS] for text in passages]
        asked = " ".join(word for found in topics for word in found[: 3 if len(topics) == 1 else 2])
        own = next(word for word in _split(passages[0]) if word in _SYLLABLES)
        return json.dumps({"question": f"{asked} {own}" if "key words" in system else f"What is {asked}?"})
    (query,) = re.findall(r"<query \w{8}>\n(.*?)\n</query", user, re.DOTALL)
    most = 3 if _number(query) % 13 == 0 else 4
    words = {word for word in _split(query) if len(word) == _TOPIC_LETTERS or word in _SYLLABLES}
    grades = [min(most, 1 + len(words & set(_split(text)))) for text in passages]
    return json.dumps({"grades": grades} if '"grades"' in system else {"grade": grades[0]})


def _split(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _number(text: str) -> int:
    return zlib.crc32(text.encode())


def make_inputs(folder: Path) -> None:
    """Writes what the cases read: pairs, documents with and without labels, sets for the gate, logs and models."""
    folder.mkdir()
    pairs = made_up(120, 7)
    _write_rows(folder / "pairs.jsonl", [{"question": question, "answer": text} for question, text in pairs])
    draw = random.Random(3)
    # words that the encoder knows whole: long enough to be asked about, short enough to be seen
    longer = [f"{text} {' '.join(draw.sample(_WORDS.split(), 9))}." for _, text in pairs]
    _write_rows(folder / "single.jsonl", [{"id": f"d{at}", "text": text} for at, text in enumerate(longer)])
    # two questions share an answer of two passages
    double = [
        longer[at] + " " + longer[at ^ 1] if at % 2 == 0 else longer[at ^ 1] + " " + longer[at] for at in range(120)
    ]
    _write_rows(
        folder / "several.jsonl",
        [{"question": row[0], "answer": text} for row, text in zip(pairs, double, strict=True)],
    )
    four = [" ".join(longer[at : at + 4]) for at in range(0, len(longer), 4)]
    of_domain = [
        {"title": f"On {at}", "domain": ("north", "south")[at % 2], "text": text} for at, text in enumerate(four)
    ]
    _write_rows(folder / "documents.jsonl", of_domain)
    (folder / "files").mkdir()
    for at, text in enumerate(four):
        (folder / "files" / f"{at}.txt").write_text(text.replace(". ", ".\n\n") + "\n", encoding="utf-8")
    known = [draw.sample(_WORDS.split(), 5) for _ in range(200)]
    write_beir(folder / "forgettable", [(" ".join(sorted(words[:4])), " ".join(words)) for words in known])
    write_beir(folder / "neighbour", made_up(80, 11))
    labelled = [(question, text) for (question, _), text in zip(pairs, longer, strict=True)]
    write_beir(folder / "labelled", labelled, {"train": range(20, 60), "test": range(20)})
    asked = [question for question, _ in pairs]
    (folder / "log.txt").write_text("\n".join(asked) + "\n\n", encoding="utf-8")
    (folder / "asked.txt").write_text("\n".join(line.upper() for line in asked[:30]), encoding="utf-8")
    make_models(folder)


def made_up(count: int, seed: int) -> list[tuple[str, str]]:
    """Questions with answers that share three words, which no other pair has."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        topic = ["".join(draw.sample(_SYLLABLES, 2)) for _ in range(3)]
        words = draw.sample([*topic, *draw.sample(_SYLLABLES, 12)], 15)
        found.append((f"What is {' '.join(topic)}?", f"{' '.join(words).capitalize()}."))
    return found


def write_beir(folder: Path, pairs: Sequence[tuple[str, str]], splits: Mapping[str, range] | None = None) -> None:
    """A BEIR folder of (query, passage); without splits, all are of the test."""
    (folder / "qrels").mkdir(parents=True)
    _write_rows(folder / "queries.jsonl", [{"_id": f"q{at}", "text": query} for at, (query, _) in enumerate(pairs)])
    passages = [{"_id": f"d{at}", "title": "", "text": text} for at, (_, text) in enumerate(pairs)]
    _write_rows(folder / "corpus.jsonl", passages)
    for split, numbers in (splits or {"test": range(len(pairs))}).items():
        links = "".join(f"q{at}\td{at}\t1\n" for at in numbers)
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{links}", encoding="utf-8")


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make_models(folder: Path) -> None:
    """A random 2-layer BERT as a bi-encoder, and one of a layer as a cross-encoder with one output."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    bert = folder / "encoder" / "bert"
    pieces = [*string.ascii_lowercase, *string.digits]
    listed = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, *(f"##{piece}" for piece in pieces)]
    listed += [*string.punctuation, *_WORDS.split()]
    vocabulary = {piece: at for at, piece in enumerate(dict.fromkeys(listed))}
    sizes = {"vocab_size": len(vocabulary), "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=64)
    torch.manual_seed(0)
    BertModel(BertConfig(**sizes, num_hidden_layers=2, max_position_embeddings=64)).save_pretrained(bert)
    tokenizer.save_pretrained(bert)
    modules = [Transformer(str(bert), max_seq_length=64), Pooling(32, pooling_mode="mean"), Normalize()]
    model = SentenceTransformer(modules=modules, device="cpu")
    model.save_pretrained(str(folder / "encoder" / "model"), create_model_card=False)
    config = BertConfig(**sizes, num_hidden_layers=1, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(folder / "cross-encoder")
    tokenizer.save_pretrained(folder / "cross-encoder")


def compare(old: Run, new: Run) -> dict[str, Any]:
    """All that differs between two runs, as it goes into the results."""
    found = list(compare_files(old, new))
    asked = compare_requests(old.requests, new.requests)
    if old.code not in _WHOLE or new.code not in _WHOLE:
        said = "".join(f"\n{name}: {run.said}" for name, run in zip(SIDES, (old, new), strict=True) if run.code)
        codes = f"{old.code} -> {new.code}, and whole runs end with one of {_WHOLE}{said}"
        # that is the finding, and not each file and request that did not come about
        found = [one for one in found if one.verdict not in ("missing", "may be missing", "only new")]
        asked = "" if Counter(new.requests) <= Counter(old.requests) else asked
    else:
        codes = "" if old.code == new.code else f"{old.code} -> {new.code}"
    found += [Found(name, "differs", text) for name, text in (("exit code", codes), ("requests", asked)) if text]
    verdicts = dict.fromkeys(one.verdict for one in found)
    weights = [float(one.detail) for one in found if one.name.endswith(".safetensors") and one.verdict == "same"]
    return {
        "same": not {"differs", "missing"} & set(verdicts),
        "seconds": {name: round(run.seconds, 1) for name, run in zip(SIDES, (old, new), strict=True)},
        "files": {verdict: sum(one.verdict == verdict for one in found) for verdict in verdicts},
        "requests": {name: len(run.requests) for name, run in zip(SIDES, (old, new), strict=True)},
        "largest_difference_of_weights": max(weights, default=None),
        "exit_codes": [old.code, new.code],
        "found": [asdict(one) for one in found if one.verdict not in ("same", "only counted") or _told(one)],
    }


def _told(one: Found) -> bool:
    """Whether there is something to say of a file that is the same."""
    return bool(one.detail) and not one.name.endswith(".safetensors")


def compare_files(old: Run, new: Run) -> Iterator[Found]:
    """What became of every file of the old run, and what only the new one has."""
    left = {path.relative_to(new.out).as_posix() for path in new.out.rglob("*") if path.is_file()}
    for path in sorted(old.out.rglob("*")):
        name = path.relative_to(old.out).as_posix()
        if not path.is_file() or UNCOMPARED.fullmatch(name):
            continue
        renamed = place_of(name)
        place = renamed if renamed in left else name
        other = new.out / place
        left.discard(place)
        if other.is_file():
            yield compare_file(name, path, other, old, new)
        elif renamed is None or path.name in _RECORDS:
            yield Found(name, "may be missing")
        else:
            yield Found(name, "missing", "" if renamed == name else f"it should be {renamed}")
    yield from (Found(name, "only new") for name in sorted(left) if not UNCOMPARED.fullmatch(name))


def place_of(name: str) -> str | None:
    """What a file of the old run is called in the new one."""
    seed, rest = re.fullmatch(r"(seed-\d+/)?(.*)", name).groups("")
    for before, after in MOVED.items():
        parts = re.fullmatch(re.escape(before).replace(r"\*", "([^/]*)"), rest)
        if parts:
            return None if after is None else seed + after.replace("*", "{}").format(*parts.groups())
    return name


def compare_file(name: str, path: Path, other: Path, old: Run, new: Run) -> Found:
    """Compares two files by their kind; of other kinds than these it only counts that they are there."""
    if path.suffix == ".parquet":
        return compare_tables(name, pq.read_table(path), pq.read_table(other))
    if path.suffix == ".trec":
        return Found(name, *compare_rows(trec_rows(path), trec_rows(other)))
    if path.suffix == ".safetensors":
        return compare_weights(name, path, other)
    if path.suffix == ".json":
        texts = [
            one.read_text(encoding="utf-8").replace(str(run.out), "OUT").replace(run.url or "no url", "URL")
            for one, run in ((path, old), (other, new))
        ]
        return compare_json(name, *map(json.loads, texts))
    return Found(name, "only counted")


def compare_tables(name: str, old: pa.Table, new: pa.Table) -> Found:
    """Compares the columns that both tables have; further ones are told of."""
    gone, more = set(old.column_names) - set(new.column_names), set(new.column_names) - set(old.column_names)
    columns = [
        column for column in old.column_names if column not in gone | _UNCOMPARED_COLUMNS.get(Path(name).name, set())
    ]
    verdict, detail = compare_rows(*(table.select(columns).to_pylist() for table in (old, new)))
    told = [f"columns {sorted(names)} are {what}" for names, what in ((gone, "gone"), (more, "new")) if names]
    return Found(name, "differs" if gone else verdict, "; ".join(filter(None, [detail, *told])))


def trec_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a run or of qrels."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    names = ("query_id", "q0", "doc_id", "rank", "score", "tag")
    kinds = (str, str, str, int, float, str)
    return [
        {name: kind(word) for name, kind, word in zip(names[: len(line)], kinds, line, strict=False)} for line in lines
    ]


def compare_rows(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> tuple[str, str]:
    """Verdict and detail of two tables."""
    unlike = [at for at, pair in enumerate(zip(old, new, strict=False)) if not alike(*pair)]
    if len(old) == len(new) and not unlike:
        return "same", ""
    if len(old) == len(new) and old and {"query_id", "doc_id", "score"} <= set(old[0]) and near_ties_only(old, new):
        return "near ties", f"{len(unlike)} of {len(old)} rows"
    lines = [] if len(old) == len(new) else [f"{len(old)} -> {len(new)} rows"]
    lines += [f"{len(unlike)} rows differ"] if unlike else []
    return "differs", "; ".join([*lines, *(f"row {at}: {_changes(old[at], new[at])}" for at in unlike[:_SHOWN])])


def near_ties_only(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> bool:
    """Whether rows have only changed places, or ranks, with rows of the same query and of nearly the same score."""
    begin = 0
    for at in range(1, len(old) + 1):
        if at < len(old) and _near_tie(old[at - 1], old[at]):
            continue
        one, other = (
            sorted(rows[begin:at], key=lambda row: (str(row["query_id"]), str(row["doc_id"]))) for rows in (old, new)
        )
        ranks = [sorted(row.get("rank") or 0 for row in rows) for rows in (one, other)]
        if ranks[0] != ranks[1] or not alike(*([{**row, "rank": 0} for row in rows] for rows in (one, other))):
            return False
        begin = at
    return True


def _near_tie(one: Mapping[str, Any], next_one: Mapping[str, Any]) -> bool:
    scores = one["score"], next_one["score"]
    return one["query_id"] == next_one["query_id"] and None not in scores and abs(scores[0] - scores[1]) <= _TOLERANCE


def alike(old: Any, new: Any) -> bool:
    """Whether two values are the same, floats within the tolerance."""
    if isinstance(old, float) and isinstance(new, (float, int)):
        return (math.isnan(old) and math.isnan(new)) or old == new or abs(old - new) <= _TOLERANCE
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return set(old) == set(new) and all(alike(value, new[name]) for name, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(alike, old, new))
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    names = [name for name in {**old, **new} if not alike(old.get(name), new.get(name))]
    return ", ".join(f"{name} {_short(old.get(name))} -> {_short(new.get(name))}" for name in names)


def _short(value: Any, length: int = 160) -> str:
    shown = repr(value)
    return shown if len(shown) <= length else f"{shown[:length]}..."


def compare_weights(name: str, path: Path, other: Path) -> Found:
    """The largest difference of any weight of two models is the detail."""
    one, two = load_file(path), load_file(other)
    if {key: value.shape for key, value in one.items()} != {key: value.shape for key, value in two.items()}:
        return Found(name, "differs", "other weights, or of other shapes")
    most = max(float(np.abs(one[key].astype(np.float64) - two[key]).max(initial=0.0)) for key in one)
    return Found(name, "same" if most <= _TOLERANCE else "differs", f"{most:.2g}")


def compare_json(name: str, old: Any, new: Any) -> Found:
    """Compares all leaves; settings, and facts of a stage, only where both have them."""
    record = Path(name).name in _RECORDS
    if record:
        old, new = old.get("facts", {}), new.get("facts", {})
    leaves = [dict(_leaves(value)) for value in (old, new)]
    shared = [place for place in leaves[0] if place in leaves[1]]
    unlike = [place for place in shared if not _alike_or_digests(leaves[0][place], leaves[1][place])]
    optional = record or re.fullmatch(r"(seed-\d+/)?config\.json", name)
    gone, more = (
        [".".join(place) for place in mine if place not in others and not optional and place[:1] != ("config",)]
        for mine, others in (leaves, leaves[::-1])
    )
    lines = [
        f"{'.'.join(place)}: {_short(leaves[0][place])} -> {_short(leaves[1][place])}" for place in unlike[:_SHOWN]
    ]
    lines += [f"{len(unlike)} values differ"] if len(unlike) > _SHOWN else []
    lines += [f"{len(keys)} keys are {what}: {keys[:_SHOWN]}" for keys, what in ((gone, "gone"), (more, "new")) if keys]
    return Found(name, "differs" if unlike or gone else "same", "; ".join(lines))


def _leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Places and values, without what is only the making's; a list is also a place, with its length."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in _OWN:
                yield from _leaves(inner, (*place, name))
    elif isinstance(value, list):
        yield (*place, "length"), len(value)
        for at, inner in enumerate(value):
            yield from _leaves(inner, (*place, str(at)))
    else:
        yield place, value


def _alike_or_digests(old: Any, new: Any) -> bool:
    """Digests name contents that are compared by themselves."""
    return alike(old, new) or all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in (old, new))


def compare_requests(old: Sequence[str], new: Sequence[str]) -> str:
    """What the LLM was asked by one version and not by the other, however often; empty: nothing."""
    before, after = Counter(old), Counter(new)
    gone, more = sorted((before - after).elements()), sorted((after - before).elements())
    if not gone and not more:
        return ""
    shown = f"{len(gone)} requests are gone, {len(more)} are new"
    same_messages = {json.dumps(json.loads(text)["messages"]): text for text in more}
    for text in gone:
        other = same_messages.get(json.dumps(json.loads(text)["messages"]))
        if other:
            return f"{shown}; of the same messages: {_changes(json.loads(text), json.loads(other))}"
    if not gone or not more:
        return f"{shown}: {_short((gone or more)[0], 600)}"
    parted = next((at for at, pair in enumerate(zip(gone[0], more[0], strict=False)) if len(set(pair)) > 1), 0)
    begin = max(0, parted - 60)
    return f"{shown}; the first of them: {_short(gone[0][begin:])} -> {_short(more[0][begin:])}"


def show(name: str, result: Mapping[str, Any]) -> None:
    """Prints a case: a line of counts, and a line for each file of which there is something to say."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in result["files"].items())
    seconds = " and ".join(f"{value:.0f}" for value in result["seconds"].values())
    asked, most = result["requests"]["old"], result["largest_difference_of_weights"]
    more = ("" if most is None else f"; weights within {most:.2g}") + (f"; {asked:,} requests" if asked else "")
    print(f"{name:<48}{'same' if result['same'] else 'DIFFERENT':<12}{counts}{more} ({seconds} s)")
    for one in result["found"]:
        if one["detail"]:
            print(f"    {one['verdict']}: {one['name']}: {one['detail']}")
    for verdict in result["files"]:
        names = [one["name"] for one in result["found"] if one["verdict"] == verdict and not one["detail"]]
        named = [name for name in names if Path(name).name not in _RECORDS]
        if names:
            others = f" and {len(names) - len(named)} records" if len(named) < len(names) else ""
            print(f"    {verdict}: {', '.join(named)}{others}")
    sys.stdout.flush()


def machine_of(runs: Path) -> Any:
    """The machine, as a run has described it."""
    found = sorted(runs.rglob("metrics.json"))
    return json.loads(found[0].read_text(encoding="utf-8"))["machine"] if found else None


def keep(machine: Any, results: Mapping[str, Any]) -> None:
    """Writes bench/results/same_tables.json."""
    before = json.loads(RESULT.read_text(encoding="utf-8"))["cases"] if RESULT.is_file() else {}
    whole = {"machine": machine, "tolerance": _TOLERANCE, "cases": {**before, **results}}
    RESULT.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    print(f"written: {RESULT.relative_to(ROOT)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="checkout of the old version")
    parser.add_argument("--new", type=Path, help="checkout to compare it with (default: the one of this program)")
    parser.add_argument("--part", nargs="+", default=[], help="parts, or single cases as PART/CASE (default: all)")
    parser.add_argument("--keep", type=Path, help="a new folder in which inputs and runs are kept")
    sys.exit(main(parser.parse_args()))
