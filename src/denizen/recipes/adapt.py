"""`adapt`: linked documents and a general bi-encoder in, a domain bi-encoder and the proof of its worth out.

    source -> corpus, queries, qrels (split, guarded)
    round r: student_r -> embeddings -> run -> candidates -> examples -> student_{r+1}
    dev chooses the round; test is read once: base, BM25, adapted -> metrics.json, model/

Every arrow is a stage on disk; running the same command again continues where the last run stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.core.config import AdaptConfig, ranks
from denizen.core.errors import InputError
from denizen.core.formats import Source, read_source
from denizen.core.progress import Progress, Silent
from denizen.core.stage import Stage, StageRunner, write_json
from denizen.core.tables import read_table, texts, write_table
from denizen.models.backends import use_bf16
from denizen.models.encoder import Encoder, load_encoder, locate
from denizen.models.weights import model_digest
from denizen.recipes.plan import make_plan
from denizen.recipes.prepare import SETTINGS as PREPARE_SETTINGS
from denizen.recipes.prepare import Data, content_digest, source_digest, write_data
from denizen.recipes.results import metrics_json, model_card, versions
from denizen.recipes.run_folder import check_config, check_encoding, held, store_of
from denizen.stages import evaluation, examples, mining, retrieval
from denizen.stages.examples import Windows


def adapt(
    config: AdaptConfig,
    out: Path,
    *,
    redo: str | None = None,
    progress: Progress | None = None,
    source: Source | None = None,
) -> dict[str, Any]:
    """Adapts a bi-encoder to linked documents.

    Args:
        config: The settings.
        out: The run's folder; a run with the same settings that was stopped there goes on.
        redo: The stage from which to do everything anew, such as "round-0/student".
        progress: Receives what a person should see.
        source: Documents and queries that are read already (the demo's); `config.source` only names them then.

    Returns:
        The contents of `metrics.json`.

    Raises:
        InputError: On wrong input or settings, or when `out` holds another run.
        LeakError: When the splits leak and neither drop_leaks nor allow_leak is set.
    """
    if redo is not None and redo not in stage_names(config):
        raise InputError(f"there is no stage {redo!r} to redo; there are {', '.join(stage_names(config))}")
    base = locate(config.model)
    guide = locate(config.guide) if config.guide else base
    check_encoding(config.backend, config.precision, config.store)
    with held(out):
        check_config(out, config, redo)
        if not (out / "corpus").exists():
            # a model that cannot be used is better known before the corpus is read
            load_encoder(base)
        runner = StageRunner(out, redo, progress or Silent())
        run = _Run(config, out, runner)
        data = run.data(source)
        if not (out / "metrics.json").is_file():
            runner.progress.say(make_plan(config, data, run.encoder(base)))
        students = [base]
        for number in range(config.rounds):
            run.embed(number, students[-1], data)
            run.retrieve(number, students[-1], data)
            run.mine(number, data)
            run.examples(number)
            students.append(run.train(number, students[-1], guide, data))
        run.embed(config.rounds, students[-1], data)
        run.retrieve(config.rounds, students[-1], data)
        best = run.select()
        return run.finish(best, students, data)


def stage_names(config: AdaptConfig) -> list[str]:
    """The stages of a run in order."""
    mined = ("embeddings", "run", "candidates", "examples", "student")
    rounds = [f"round-{number}/{name}" for number in range(config.rounds) for name in mined]
    last = [f"round-{config.rounds}/{name}" for name in mined[:2]]
    return ["corpus", *rounds, *last, "test", "model"]


class _Run:
    """The stages of one run, each with what decides its result."""

    def __init__(self, config: AdaptConfig, out: Path, runner: StageRunner) -> None:
        self.config = config
        self.out = out
        self.runner = runner
        self.progress = runner.progress
        self.training_arithmetic = "bf16" if use_bf16(config.precision) else "fp32"
        self.dev: list[dict[str, float]] = []
        self.files: dict[str, dict[str, str]] = {}
        self._encoder: Encoder | None = None

    def encoder(self, student: Path, number: int | None = None) -> Encoder:
        """The encoder of a student; the one before is let go, with its weights.

        Args:
            student: Its folder.
            number: The round whose corpus it has embedded; it goes on with the backend of then.
        """
        config = self.config
        backend = None if number is None else self._backend(number)
        last = self._encoder
        if last is None or last.folder != student or backend not in (None, last.backend):
            self._encoder = last = Encoder(
                student, store_of(config, self.out), backend=backend or config.backend, precision=config.precision
            )
        return last

    def data(self, source: Source | None) -> Data:
        """Stage corpus: passages, splits, guard."""
        config = self.config
        inputs = source_digest(config.source, self.out) if source is None else content_digest(source)

        def work(folder: Path) -> dict[str, Any]:
            facts = write_data(folder, source or read_source(config.source, config.skip_bad_rows), config)
            self.progress.note(f"{facts['passages']:,} passages of {facts['documents']:,} documents")
            counts = ", ".join(f"{count:,} {split}" for split, count in facts["queries"].items())
            self.progress.note(f"queries: {counts}; split: {facts['split']}")
            if facts["parts_left_out"]:
                self.progress.note(f"parts left out: {', '.join(facts['parts_left_out'])}")
            for name in ("skipped_rows", "queries_dropped_as_leaks", "leaks"):
                if facts[name]:
                    self.progress.note(f"{name.replace('_', ' ')}: {facts[name]:,}")
            return facts

        record = self._stage("corpus", 2, config.only(*PREPARE_SETTINGS), inputs, work)
        tables = {
            name: read_table(self.out / f"corpus/{name}.parquet", name) for name in ("corpus", "queries", "qrels")
        }
        digests = {name: record["files"][f"{name}.parquet"] for name in tables}
        return Data(**tables, digests=digests, facts=record["facts"])

    def embed(self, number: int, student: Path, data: Data) -> None:
        """Stage round-r/embeddings: the corpus and the train and dev queries by student r, into the store."""
        inputs = {**data.digests, "student": model_digest(student)}

        def work(folder: Path) -> dict[str, Any]:
            encoder = self.encoder(student)
            _, queries = data.split("train", "dev")
            with self.progress.bar(len(data.corpus) + len(queries), "texts") as advance:
                # the corpus first: the backend is chosen on the first texts
                encoder.encode(texts(data.corpus), "document", advance)
                encoder.encode(queries, "query", advance)
            for note in encoder.notes:
                self.progress.note(note)
            self.progress.note(f"by {encoder.backend}")
            write_json(folder / "encoder.json", {"model": encoder.digest, "backend": encoder.backend})
            return {"gate": encoder.gate}

        self._stage(f"round-{number}/embeddings", 2, self.config.only("backend", "precision"), inputs, work)

    def retrieve(self, number: int, student: Path, data: Data) -> None:
        """Stage round-r/run: what student r finds for the train and dev queries, and its dev metrics."""
        inputs = {**data.digests, **self.files[f"round-{number}/embeddings"]}

        def work(folder: Path) -> dict[str, Any]:
            query_ids, queries = data.split("train", "dev")
            run = self._search(number, student, query_ids, queries, data)
            dev_ids, _ = data.split("dev")
            metrics = evaluation.measure(run, data.qrels, dev_ids)
            write_table(folder / "run.parquet", run)
            write_table(folder / "dev_metrics.parquet", metrics)
            means = evaluation.means(metrics)
            self.progress.note(f"dev MRR@5 {means['MRR@5']:.3f}, Recall@100 {means['Recall@100']:.3f}")
            return {"dev": means}

        self._stage(f"round-{number}/run", 2, self.config.only("depth"), inputs, work)

    def mine(self, number: int, data: Data) -> None:
        """Stage round-r/candidates."""
        window_names = ("hard_positive_ranks", "hard_negative_ranks", "easy_negative_ranks")
        settings = self.config.only(*window_names, "positive_ceiling")
        inputs = {**data.digests, "run": self.files[f"round-{number}/run"]["run.parquet"]}

        def work(folder: Path) -> dict[str, Any]:
            run = read_table(self.out / f"round-{number}/run/run.parquet", "run")
            query_ids, _ = data.split("train")
            windows = self._windows()
            found, excluded = mining.mine(
                run,
                data.qrels,
                data.corpus,
                query_ids,
                [windows.hard_negative, windows.easy_negative],
                retriever=f"student-{number}",
                positive_ceiling=self.config.positive_ceiling,
            )
            write_table(folder / "candidates.parquet", found)
            out = ", ".join(f"{count:,} {reason}" for reason, count in excluded.items() if count)
            self.progress.note(f"{len(found):,} candidates; excluded: {out or 'none'}")
            return {"candidates": len(found), "excluded": excluded}

        self._stage(f"round-{number}/candidates", 1, settings, inputs, work)

    def examples(self, number: int) -> None:
        """Stage round-r/examples: this round's, together with those of all rounds before."""
        from denizen.models.losses import LOSSES

        names = (
            "hard_positive_ranks hard_negative_ranks easy_negative_ranks negatives positives easy_per_hard loss seed"
        )
        inputs = {
            f"candidates-{at}": self.files[f"round-{at}/candidates"]["candidates.parquet"] for at in range(number + 1)
        }

        def work(folder: Path) -> dict[str, Any]:
            candidates = read_table(self.out / f"round-{number}/candidates/candidates.parquet", "candidates")
            config, windows = self.config, self._windows()
            if LOSSES[config.loss].triplets:
                made = examples.triplets(candidates, windows, config.easy_per_hard, config.seed + number)
            else:
                made = examples.contrastive_rows(candidates, windows, config.negatives, config.positives)
            # the examples of the round before are those of all rounds before
            before = self.out / f"round-{number - 1}/examples/examples.parquet"
            earlier = [read_table(before, "examples")] if number else []
            rows = examples.cumulate(earlier, examples.examples_table(made, number))
            write_table(folder / "examples.parquet", rows)
            kinds = rows["kind"].to_pylist()
            hard, easy = kinds.count("hard"), kinds.count("easy")
            bare = sum(not ids for ids in rows["negative_ids"].to_pylist()) if self.config.negatives else 0
            self.progress.note(
                f"{len(rows):,} examples: {hard:,} hard, {easy:,} easy; mined in this round: {len(made):,}"
            )
            if bare:
                self.progress.note(
                    f"{bare:,} without a mined negative (positive_ceiling {self.config.positive_ceiling})"
                )
            return {"examples": len(rows), "new": len(made), "hard": hard, "easy": easy, "without_negative": bare}

        self._stage(f"round-{number}/examples", 1, self.config.only(*names.split()), inputs, work)

    def train(self, number: int, student: Path, guide: Path, data: Data) -> Path:
        """Stage round-r/student: student r+1."""
        from denizen.models.losses import LOSSES
        from denizen.stages import train_encoder

        inputs = {
            **data.digests,
            "examples": self.files[f"round-{number}/examples"]["examples.parquet"],
            "student": model_digest(student),
            "arithmetic": self.training_arithmetic,
            **({"guide": model_digest(guide)} if self.config.loss == "gist" else {}),
        }

        def work(folder: Path) -> dict[str, Any]:
            rows = read_table(self.out / f"round-{number}/examples/examples.parquet", "examples")
            related = mining.related_passages(data.qrels, data.corpus, rows["query_id"].unique().to_pylist())
            masks = LOSSES[self.config.loss].masks
            training = train_encoder.training_set(rows, data.corpus, data.queries, related, fill=masks)
            if training.dropped:
                self.progress.note(f"{training.dropped:,} examples without enough negatives left out")
            anchors = training.columns["anchor"]
            # embedded already, so these come from the store
            vectors = (
                self.encoder(student, number).encode(anchors, "query")[:] if self.config.batches == "similar" else None
            )
            with self.progress.bar(train_encoder.total_steps(len(anchors), self.config), "steps") as advance:
                return train_encoder.train(folder, student, training, self.config, guide, vectors, advance)

        name = f"round-{number}/student"
        self._stage(name, 1, self.config.only(*train_encoder.SETTINGS), inputs, work, resumable=True)
        return self.out / name

    def select(self) -> int:
        """The student with the highest dev MRR@5; the base itself is one of them."""
        tables = (self.out / f"round-{number}/run/dev_metrics.parquet" for number in range(self.config.rounds + 1))
        self.dev = dev = [evaluation.means(read_table(path, "metrics")) for path in tables]
        best = max(range(len(dev)), key=lambda number: dev[number]["MRR@5"])
        names = ["base", *(f"round {number}" for number in range(1, len(dev)))]
        shown = ", ".join(f"{name} {values['MRR@5']:.3f}" for name, values in zip(names, dev, strict=True))
        self.progress.say(f"MRR@5 on dev: {shown}; {'the base stays' if best == 0 else f'round {best} is taken'}")
        return best

    def finish(self, best: int, students: list[Path], data: Data) -> dict[str, Any]:
        """Stages test and model, and metrics.json: the only place where test is read."""
        inputs = {
            **data.digests,
            "base": self.files["round-0/embeddings"]["encoder.json"],
            "adapted": self.files[f"round-{best}/embeddings"]["encoder.json"],
            "base_model": model_digest(students[0]),
            "adapted_model": model_digest(students[best]),
        }

        def test(folder: Path) -> dict[str, Any]:
            query_ids, queries = data.split("test")
            runs = {
                "base": self._search(0, students[0], query_ids, queries, data, "queries by base"),
                "bm25": self._search_bm25(query_ids, queries, data),
                "adapted": self._search(best, students[best], query_ids, queries, data, "queries by adapted"),
            }
            backends = {"base": self._backend(0), "adapted": self._backend(best)}
            found = evaluation.write_evaluation(folder, runs, data.qrels, query_ids)
            return {**found, "versions": versions(), "backends": backends, "arithmetic": self.training_arithmetic}

        facts = self._stage("test", 2, self.config.only("depth"), inputs, test)["facts"]
        report = metrics_json(self.config, self.out, data.facts, self.dev, best, facts)

        def model(folder: Path) -> None:
            shutil.copytree(students[best], folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("stage.json"))
            (folder / "README.md").write_text(model_card(report), encoding="utf-8")

        card = hashlib.sha256(model_card(report).encode()).hexdigest()
        self._stage("model", 1, {}, {"card": card, "adapted": inputs["adapted_model"]}, model)
        write_json(self.out / "config.json", self.config.as_dict())
        write_json(self.out / "metrics.json", report)
        return report

    def _search(
        self,
        number: int,
        student: Path,
        query_ids: list[str],
        queries: list[str],
        data: Data,
        unit: str = "queries",
    ) -> pa.Table:
        encoder = self.encoder(student, number)
        with self.progress.bar(len(data.corpus) + len(queries), "texts") as advance:
            corpus = encoder.encode(texts(data.corpus), "document", advance)
            vectors = encoder.encode(queries, "query", advance)
        with self.progress.bar(len(query_ids), unit) as advance:
            return retrieval.search(
                query_ids,
                vectors[:],
                data.doc_ids,
                corpus,
                self.config.depth,
                memory_mb=self.config.memory_mb,
                progress=advance,
            )

    def _backend(self, number: int) -> str:
        path = self.out / f"round-{number}/embeddings/encoder.json"
        return str(json.loads(path.read_text(encoding="utf-8"))["backend"])

    def _search_bm25(self, query_ids: list[str], queries: list[str], data: Data) -> pa.Table:
        with self.progress.bar(len(query_ids), "queries by BM25") as advance:
            return retrieval.search_bm25(
                query_ids, queries, data.doc_ids, texts(data.corpus), self.config.depth, advance
            )

    def _windows(self) -> Windows:
        config = self.config
        return Windows(
            ranks(config.hard_positive_ranks), ranks(config.hard_negative_ranks), ranks(config.easy_negative_ranks)
        )

    def _stage(
        self,
        name: str,
        version: int,
        settings: dict[str, Any],
        inputs: dict[str, str],
        work: Callable[[Path], dict[str, Any] | None],
        resumable: bool = False,
    ) -> dict[str, Any]:
        if self.runner.redo == name:
            # what follows will not be what the old result was made from
            (self.out / "metrics.json").unlink(missing_ok=True)
        record = self.runner.run(Stage(self.out / name, version, settings, inputs, resumable), work)
        self.files[name] = record["files"]
        return record
