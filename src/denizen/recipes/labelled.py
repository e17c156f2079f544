"""Adapting with labels: the source says which documents belong to which queries.

source -> corpus, queries, qrels (split, guarded)
round r: student_r -> embeddings -> run -> candidates -> examples -> student_{r+1}
dev chooses the round, the gate perhaps a merge; test is read once: base, BM25, baselines, adapted
-> metrics.json, model/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.formats import Source, read_source
from denizen.data.prepare import SETTINGS as PREPARE_SETTINGS
from denizen.data.prepare import Data, content_digest, source_digest, write_data
from denizen.data.tables import read_table, write_table
from denizen.measuring import retrieval as evaluation
from denizen.measuring.retrieval_sets import Parts
from denizen.recipes import proof
from denizen.recipes.config import AdaptConfig, ranks
from denizen.recipes.forgetting import Choice
from denizen.recipes.proof import Learned
from denizen.recipes.rounds import LAST_STAGES, Rounds
from denizen.reports.plan import make_plan
from denizen.reports.results import metrics_json
from denizen.supervision import examples, mining
from denizen.supervision.examples import Windows


def stage_names(config: AdaptConfig) -> list[str]:
    """The stages of a run in order."""
    mined = ("embeddings", "run", "candidates", "examples", "student")
    rounds = [f"round-{number}/{name}" for number in range(config.rounds) for name in mined]
    last = [f"round-{config.rounds}/{name}" for name in mined[:2]]
    return ["corpus", *rounds, *last, *LAST_STAGES]


def adapt_with_labels(
    rounds: Rounds, base: Path, guide: Path, sets: Sequence[Parts], source: Source | None
) -> dict[str, Any]:
    """All stages, from the source to metrics.json.

    Args:
        rounds: The run.
        base: The model to adapt.
        guide: The guide of the gist loss.
        sets: Where the model must not get worse.
        source: The source where it is read already.
    """
    run, config = _Labelled(rounds), rounds.config
    data = run.data(source)
    if not (rounds.out / "metrics.json").is_file():
        rounds.progress.say(make_plan(config, data, rounds.encoder(base), sets))
    report, choice = run.proved(run.students(base, guide, data), data, sets)
    report |= {"seeds": [_of_seed(config.seed, report)]}
    for seed in range(config.seed + 1, config.seed + config.seeds):
        rounds.progress.say(f"seed {seed}")
        again = _Labelled(rounds.repeated(seed))
        report["seeds"].append(_of_seed(seed, again.proved(again.students(base, guide, data), data, sets)[0]))
    return rounds.finish(report, choice.folder)


def _of_seed(seed: int, report: dict[str, Any]) -> dict[str, Any]:
    """What of a repetition goes into the report of the run."""
    gate = report["gate"] or {"change": {}, "met": True}
    names = ("chosen", "adapted", "difference")
    return {"seed": seed, **{name: report[name] for name in names}, "change": gate["change"], "met": gate["met"]}


class _Labelled:
    """The stages in which relevance comes from the source's labels."""

    def __init__(self, rounds: Rounds) -> None:
        self.rounds = rounds
        self.config = rounds.config
        self.out = rounds.out
        self.progress = rounds.progress

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

        record = self.rounds.stage("corpus", 2, config.only(*PREPARE_SETTINGS), inputs, work)
        tables = {
            name: read_table(self.out / f"corpus/{name}.parquet", name) for name in ("corpus", "queries", "qrels")
        }
        digests = {name: record["files"][f"{name}.parquet"] for name in tables}
        return Data(**tables, digests=digests, facts=record["facts"])

    def students(self, base: Path, guide: Path, data: Data) -> list[Path]:
        """The rounds: base and all students."""
        students = [base]
        for number in range(self.config.rounds):
            self.embed(number, students[-1], data)
            self.retrieve(number, students[-1], data)
            self.mine(number, data)
            self.examples(number)
            students.append(self.train(number, students[-1], guide, data))
        self.embed(self.config.rounds, students[-1], data)
        self.retrieve(self.config.rounds, students[-1], data)
        return students

    def embed(self, number: int, student: Path, data: Data) -> None:
        """Stage round-r/embeddings: the corpus and the train and dev queries."""
        self.rounds.embed(number, student, data.corpus, data.split("train", "dev")[1], data.digests)

    def retrieve(self, number: int, student: Path, data: Data) -> None:
        """Stage round-r/run: what student r finds for the train and dev queries, and its dev metrics."""
        inputs = {**data.digests, **self.rounds.files[f"round-{number}/embeddings"]}

        def work(folder: Path) -> dict[str, Any]:
            query_ids, queries = data.split("train", "dev")
            run = self.rounds.search(
                number, student, dict(zip(query_ids, queries, strict=True)), data.corpus, self.config.depth
            )
            dev_ids, _ = data.split("dev")
            metrics = evaluation.measure(run, data.qrels, dev_ids)
            write_table(folder / "run.parquet", run)
            write_table(folder / "dev_metrics.parquet", metrics)
            means = evaluation.means(metrics)
            self.progress.note(f"dev MRR@5 {means['MRR@5']:.3f}, Recall@100 {means['Recall@100']:.3f}")
            return {"dev": means}

        self.rounds.stage(f"round-{number}/run", 2, self.config.only("depth"), inputs, work)

    def mine(self, number: int, data: Data) -> None:
        """Stage round-r/candidates."""
        window_names = ("hard_positive_ranks", "hard_negative_ranks", "easy_negative_ranks")
        settings = self.config.only(*window_names, "positive_ceiling")
        inputs = {**data.digests, "run": self.rounds.files[f"round-{number}/run"]["run.parquet"]}

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

        self.rounds.stage(f"round-{number}/candidates", 1, settings, inputs, work)

    def examples(self, number: int) -> None:
        """Stage round-r/examples: this round's, together with those of all rounds before."""
        from denizen.training.losses import LOSSES

        names = (
            "hard_positive_ranks hard_negative_ranks easy_negative_ranks negatives positives easy_per_hard loss seed"
        )
        inputs = {
            f"candidates-{at}": self.rounds.files[f"round-{at}/candidates"]["candidates.parquet"]
            for at in range(number + 1)
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

        self.rounds.stage(f"round-{number}/examples", 1, self.config.only(*names.split()), inputs, work)

    def train(self, number: int, student: Path, guide: Path, data: Data) -> Path:
        """Stage round-r/student: student r+1."""
        tables = {"corpus": data.corpus, "queries": data.queries}

        def related(query_ids: list[str]) -> dict[str, frozenset[str]]:
            return mining.related_passages(data.qrels, data.corpus, query_ids)

        return self.rounds.train(number, student, guide, tables, data.digests, related)

    def proved(self, students: list[Path], data: Data, sets: Sequence[Parts]) -> tuple[dict[str, Any], Choice]:
        """The choice on dev, stages gate, baselines, test and forgetting: the contents of metrics.json."""
        paths = (self.out / f"round-{number}/run/dev_metrics.parquet" for number in range(len(students)))
        dev = [evaluation.means(read_table(path, "metrics")) for path in paths]
        inside = set(data.split("dev")[0])
        learned = Learned(
            students=students,
            best=self.rounds.choose(dev),
            corpus=data.corpus,
            queries=data.queries,
            pairs=data.qrels,
            dev=data.qrels.filter(pa.array([name in inside for name in data.qrels["query_id"].to_pylist()])),
            digests=data.digests,
            related=lambda ids: mining.related_passages(data.qrels, data.corpus, ids),
        )
        choice = proof.choose(self.rounds, learned, sets)
        systems = proof.systems(self.rounds, learned, choice)
        tables = {"corpus": data.corpus, "queries": data.queries, "qrels": data.qrels}
        facts = self.rounds.test(systems, learned.best, tables, data.digests)
        lost = proof.forgetting(self.rounds, learned, choice, sets, systems)
        report = metrics_json(self.config, self.out, data.facts, dev, learned.best, {**facts, **lost})
        return report, choice

    def _windows(self) -> Windows:
        config = self.config
        return Windows(
            ranks(config.hard_positive_ranks), ranks(config.hard_negative_ranks), ranks(config.easy_negative_ranks)
        )
