"""Adapting without labels (arXiv 2512.08088): an LLM writes queries, a teacher grades what the student finds.

    source -> corpus, documents (their sides) -synthesis-> queries, sources
    round r: student_r -> embeddings -> run -> candidates -> judgments -> examples -> student_{r+1}
    the grades of dev queries choose the round; test: the source's labels if it has some, else a judge's grades

Documents of the test side are never shown before the test; where the source has no labels, queries are written for
them, and what the systems find is graded there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.prepare import write_unlabelled
from denizen.data.tables import read_table, texts, texts_by_id, write_table
from denizen.engine.errors import InputError
from denizen.engine.stage import file_digest
from denizen.llm.prompts import prompts_digest
from denizen.measuring import retrieval as evaluation
from denizen.measuring.retrieval_sets import Parts
from denizen.recipes import proof
from denizen.recipes.config import AdaptConfig, ranks
from denizen.recipes.document_source import documents_of
from denizen.recipes.graded_test import graded_test
from denizen.recipes.proof import Learned
from denizen.recipes.rounds import LAST_STAGES, Rounds
from denizen.recipes.unlabelled_texts import Texts, mined_within, visible
from denizen.reports.plan import make_teacher_plan
from denizen.reports.results import metrics_json
from denizen.retrievers import search as retrieval
from denizen.retrievers.model_ref import model_digest
from denizen.supervision import examples, judging, mining, teachers
from denizen.supervision import sampling as candidate_sampling
from denizen.supervision.examples import Example
from denizen.supervision.sampling import Sampling
from denizen.supervision.write_queries import SETTINGS as QUERY_SETTINGS
from denizen.supervision.write_queries import write_queries

_CORPUS_SETTINGS = ("source", "dev_share", "test_share", "seed", "near_duplicate", "passage_chars", "skip_bad_rows")
# what is measured on dev needs the best five of each student graded
_DEV_TOP = 5
_WINDOWS = ("hard_positive_ranks", "negatives", "positives", "easy_per_hard")
_PAIR = ("query_id", "doc_id", "rank")


def stage_names(config: AdaptConfig) -> list[str]:
    """The stages of a run in order."""
    mined = ("embeddings", "run", "candidates", "judgments", "examples", "student")
    rounds = [f"round-{number}/{name}" for number in range(config.rounds) for name in mined]
    last = [f"round-{config.rounds}/{name}" for name in mined[:4]]
    return ["corpus", "synthesis", *rounds, *last, *LAST_STAGES]


def adapt_with_teacher(rounds: Rounds, base: Path, guide: Path, sets: Sequence[Parts]) -> dict[str, Any]:
    """All stages, from the documents to metrics.json.

    Args:
        rounds: The run.
        base: The model to adapt.
        guide: The guide of the gist loss.
        sets: Where the model must not get worse.
    """
    run = _Distillation(rounds, base)
    found = run.texts()
    students = [base]
    for number in range(rounds.config.rounds):
        run.look(number, students[-1], found)
        run.examples(number, found)
        students.append(run.train(number, students[-1], guide, found))
    run.look(rounds.config.rounds, students[-1], found)
    return run.finish(students, found, sets)


class _Distillation:
    """The stages in which relevance comes from a teacher."""

    def __init__(self, rounds: Rounds, base: Path) -> None:
        self.rounds = rounds
        self.config = rounds.config
        self.out = rounds.out
        self.progress = rounds.progress
        self.base = base
        self.llm = teachers.make_llm(rounds.config, rounds.out)

    def texts(self) -> Texts:
        """Stages corpus and synthesis."""
        config = self.config
        given = documents_of(config, self.out, self.progress)

        def corpus(folder: Path) -> dict[str, Any]:
            facts = write_unlabelled(folder, given.load(), config)
            self.progress.note(f"{facts['passages']:,} passages of {facts['documents']:,} documents")
            return {**facts, "read": given.read}

        first = self.rounds.stage("corpus", 5, config.only(*_CORPUS_SETTINGS), given.digests, corpus)
        names = {"corpus": "corpus", "documents": "documents", "test_queries": "queries", "labels": "qrels"}
        tables = {name: read_table(self.out / f"corpus/{name}.parquet", schema) for name, schema in names.items()}
        digests = {name: first["files"][f"{name}.parquet"] for name in names}
        if not (self.out / "metrics.json").is_file():
            self.progress.say(
                make_teacher_plan(config, tables["corpus"], tables["documents"], len(tables["labels"]) > 0)
            )

        def synthesis(folder: Path) -> dict[str, Any]:
            return write_queries(folder, tables, self.rounds, self.base, self.llm)

        asked = {"prompts": prompts_digest("question", "multi_hop", "expert")}
        if config.query_log:
            asked["query_log"] = file_digest(Path(config.query_log).expanduser())
        record = self.rounds.stage("synthesis", 2, config.only(*QUERY_SETTINGS), {**digests, **asked}, synthesis)
        queries = read_table(self.out / "synthesis/queries.parquet", "queries")
        sources = read_table(self.out / "synthesis/sources.parquet", "qrels")
        digests |= {name: record["files"][f"{name}.parquet"] for name in ("queries", "sources")}
        everything = pa.concat_tables([queries, tables["test_queries"]])
        counts = {split: everything["split"].to_pylist().count(split) for split in ("train", "dev", "test")}
        facts = {**first["facts"], "queries": counts, "synthesis": record["facts"]}
        return Texts(tables["corpus"], tables["documents"], everything, sources, tables["labels"], digests, facts)

    def look(self, number: int, student: Path, found: Texts) -> None:
        """Stages embeddings, run, candidates and judgments of a round; after the last training for dev alone."""
        listed = [row["text"] for row in found.of("train", "dev")]
        self.rounds.embed(number, student, found.corpus, listed, found.digests)
        self._retrieve(number, student, found)
        self._sample(number, student, found)
        self._judge(number, found)

    def _splits(self, number: int) -> tuple[str, ...]:
        return ("train", "dev") if number < self.config.rounds else ("dev",)

    def _retrieve(self, number: int, student: Path, found: Texts) -> None:
        """Stage round-r/run: what student r finds where the teacher may look, for each domain by itself."""
        inputs = {**found.digests, **self.rounds.files[f"round-{number}/embeddings"]}

        def work(folder: Path) -> dict[str, Any]:
            encoder = self.rounds.encoder(student, number)
            vectors = encoder.encode(texts(found.corpus), "document")
            doc_ids = found.corpus["doc_id"].to_pylist()
            parts = []
            for rows, group in visible(found, self._splits(number)):
                asked = encoder.encode([row["text"] for row in group], "query")[:]
                ids = [row["query_id"] for row in group]
                sub = [doc_ids[at] for at in rows]
                parts.append(
                    retrieval.search(
                        ids, asked, sub, vectors.take(rows), self.config.depth, memory_mb=self.config.memory_mb
                    )
                )
            run = pa.concat_tables(parts)
            write_table(folder / "run.parquet", run)
            return {"queries": len(run["query_id"].unique())}

        self.rounds.stage(f"round-{number}/run", 3, self.config.only("depth"), inputs, work)

    def _sample(self, number: int, student: Path, found: Texts) -> None:
        """Stage round-r/candidates: what the teacher will be shown."""
        names = ("mine_within", "found_by", "graded_top", "decay", "seed")
        inputs = {**found.digests, "run": self.rounds.files[f"round-{number}/run"]["run.parquet"]}
        config = self.config

        def work(folder: Path) -> dict[str, Any]:
            run = read_table(self.out / f"round-{number}/run/run.parquet", "run")
            train = Sampling(config.graded_top, 2 * config.graded_top, config.decay, config.seed, config.found_by)
            wanted = {"train": train, "dev": Sampling(_DEV_TOP, 0, config.decay, config.seed, config.found_by)}
            within = mined_within(config, found.corpus)
            parts = []
            for split in self._splits(number):
                ids = {row["query_id"] for row in found.of(split)}
                part = run.filter(pa.array([query_id in ids for query_id in run["query_id"].to_pylist()]))
                # the best of dev are taken from the whole corpus, as a search would show them
                if within == "documents" and split == "train":
                    parts.append(self._within_documents(number, student, found, part, wanted[split]))
                else:
                    written_for = found.written_for()
                    parts.append(candidate_sampling.from_corpus(part, wanted[split], written_for, f"student-{number}"))
            made = pa.concat_tables(parts)
            write_table(folder / "candidates.parquet", made)
            self.progress.note(
                f"{len(made):,} candidates, from each {'document' if within == 'documents' else 'query'}"
            )
            return {"candidates": len(made), "within": within}

        self.rounds.stage(f"round-{number}/candidates", 2, config.only(*names), inputs, work)

    def _within_documents(
        self, number: int, student: Path, found: Texts, run: pa.Table, sampling: Sampling
    ) -> pa.Table:
        encoder = self.rounds.encoder(student, number)
        vectors = encoder.encode(texts(found.corpus), "document")
        rows = found.of("train")
        asked = encoder.encode([row["text"] for row in rows], "query")[:]
        queries = {row["query_id"]: vector for row, vector in zip(rows, asked, strict=True)}
        written_for = found.written_for()
        return candidate_sampling.from_documents(
            run, found.corpus, vectors, queries, sampling, written_for, f"student-{number}"
        )

    def _judge(self, number: int, found: Texts) -> None:
        """Stage round-r/judgments: the candidates that no earlier round has shown, those of dev first."""
        config = self.config
        inputs = {
            **found.digests,
            **{
                f"candidates-{at}": self.rounds.files[f"round-{at}/candidates"]["candidates.parquet"]
                for at in range(number + 1)
            },
            "prompts": prompts_digest("grade", "grade_several"),
        }
        if config.teacher == "cross-encoder":
            inputs["cross_encoder"] = model_digest(teachers.locate_cross_encoder(config.cross_encoder))
        stage = f"round-{number}/judgments"

        def work(folder: Path) -> dict[str, Any]:
            parts, lost = [], []
            unit = "calls" if config.teacher == "llm" else "pairs"
            of_split = {split: self._pairs(number, split, found) for split in ("dev", "train")}
            for split, most in self._shares(number, stage, found, of_split["dev"]).items():
                pairs = of_split[split]
                teacher = teachers.make_teacher(config, self.llm, stage, most)
                with self.progress.bar(teacher.calls(pairs), f"{split} {unit}") as advance:
                    judgments, failures = judging.judge(pairs, teacher, stage, advance)
                parts.append(judgments)
                lost.append(failures)
            judgments, failures = pa.concat_tables(parts), pa.concat_tables(lost)
            facts = teachers.check_coverage(stage, len(judgments) + len(failures), failures, config.min_coverage)
            write_table(folder / "judgments.parquet", judgments)
            write_table(folder / "failures.parquet", failures)
            grades = judgments["grade"].to_pylist()
            shares = {grade: grades.count(grade) for grade in (1, 2, 3, 4)}
            self.progress.note(f"coverage {facts['coverage']:.1%}; grades 1-4: {', '.join(map(str, shares.values()))}")
            if facts["cut_off_by_budget"]:
                self.progress.note(f"{facts['cut_off_by_budget']:,} cut off by the budget")
            return {**facts, "grades": shares}

        names = ("teacher", "llm", "cross_encoder", "grades_per_call")
        self.rounds.stage(stage, 1, config.only(*names), inputs, work)

    def _pairs(self, number: int, split: str, found: Texts) -> list[judging.Pair]:
        """What is to be judged: first what queries were written for, then by rank, so that a budget that ends leaves
        each query with its most telling passages.
        """
        candidates = read_table(self.out / f"round-{number}/candidates/candidates.parquet", "candidates")
        known = {(row["query_id"], row["doc_id"]) for row in self._judgments(range(number)).to_pylist()}
        text_of = texts_by_id(found.corpus)
        question = {row["query_id"]: row["text"] for row in found.of(split)}
        sources = {(row["query_id"], row["doc_id"]) for row in found.sources.to_pylist()}
        rows = [
            ((query_id, doc_id) not in sources, rank or self.config.depth + 1, query_id, doc_id)
            for query_id, doc_id, rank in zip(*(candidates[name].to_pylist() for name in _PAIR), strict=True)
            if query_id in question and (query_id, doc_id) not in known
        ]
        return [
            judging.Pair(query, passage, question[query], text_of[passage]) for _, _, query, passage in sorted(rows)
        ]

    def _shares(self, number: int, stage: str, found: Texts, of_dev: Sequence[judging.Pair]) -> dict[str, int | None]:
        """How many calls of a round dev and train may pay for.

        What dev, its later rounds and the test need is set aside first, at most half of what the budget has left; the
        rest is dealt out over the rounds to come.
        """
        left = teachers.calls_left(self.llm, stage)
        if left is None:
            return {"dev": None, "train": None}
        rounds = self.config.rounds - number
        together = -(-_DEV_TOP // self.config.grades_per_call)
        # three systems, at most all different
        tested = -(-3 * _DEV_TOP // self.config.grades_per_call)
        now = teachers.make_teacher(self.config, self.llm, stage).calls(of_dev)
        later = rounds * together * len(found.of("dev"))
        test = 0 if len(found.labels) else tested * len(found.of("test"))
        wanted = now + later + test
        set_aside = min(wanted, left // 2 if rounds else left)
        train = (left - set_aside) // max(1, rounds)
        dev = now if set_aside == wanted else now * set_aside // wanted
        if dev < now:
            self.progress.note(f"the budget pays for {dev:,} of {now:,} dev calls and {train:,} train calls")
        return {"dev": dev, "train": train}

    def _judgments(self, numbers: range) -> pa.Table:
        parts = [read_table(self.out / f"round-{at}/judgments/judgments.parquet", "judgments") for at in numbers]
        return pa.concat_tables([judging.no_judgments(), *parts])

    def _known(self, numbers: range, found: Texts) -> pa.Table:
        """The judgments of some rounds with what the queries were written for."""
        return judging.with_sources(self._judgments(numbers), found.written_for())

    def examples(self, number: int, found: Texts) -> None:
        """Stage round-r/examples: this round's, together with those of all rounds before."""
        from denizen.training.losses import LOSSES

        config = self.config
        judged = {
            f"judgments-{at}": self.rounds.files[f"round-{at}/judgments"]["judgments.parquet"]
            for at in range(number + 1)
        }
        inputs = {**found.digests, **judged, "run": self.rounds.files[f"round-{number}/run"]["run.parquet"]}

        def work(folder: Path) -> dict[str, Any]:
            run = read_table(self.out / f"round-{number}/run/run.parquet", "run")
            ids = [row["query_id"] for row in found.of("train")]
            judgments = self._known(range(number + 1), found)
            if config.teacher == "cross-encoder":
                made = examples.scored_rows(judgments, run, ids, config.negatives)
                return self._cumulate(folder, number, made)
            written_for = found.written_for()
            roles = examples.with_roles(judgments, run, ids, config.depth, written_for)
            windows = examples.judged_windows(ranks(config.hard_positive_ranks), config.depth)
            home = dict(zip(found.corpus["doc_id"].to_pylist(), found.corpus["parent_id"].to_pylist(), strict=True))
            only = home if config.same_document else None
            if LOSSES[config.loss].triplets:
                made = examples.triplets(roles, windows, config.easy_per_hard, config.seed + number, only)
            else:
                made = examples.contrastive_rows(roles, windows, config.negatives, config.positives, only)
            asked = len({row["query_id"] for row in roles.to_pylist() if row["role"] == "positive"})
            disputed = len(examples.disputed_queries(judgments, written_for) & set(ids))
            self.progress.note(f"{asked:,} of {len(ids):,} queries have an answer")
            if disputed:
                self.progress.note(f"{disputed:,} left out: their own passage is none by the teacher's grade")
            counts = {"answered_queries": asked, "disputed_queries": disputed}
            return {**self._cumulate(folder, number, made), **counts}

        self.rounds.stage(
            f"round-{number}/examples",
            4,
            config.only(*_WINDOWS, "loss", "seed", "same_document", "depth"),
            inputs,
            work,
        )

    def _cumulate(self, folder: Path, number: int, made: list[Example]) -> dict[str, Any]:
        """Writes this round's examples with those of all rounds before."""
        before = self.out / f"round-{number - 1}/examples/examples.parquet"
        earlier = [read_table(before, "examples")] if number else []
        rows = examples.cumulate(earlier, examples.examples_table(made, number))
        write_table(folder / "examples.parquet", rows)
        self.progress.note(f"{len(rows):,} examples")
        return {"examples": len(rows), "new": len(made)}

    def train(self, number: int, student: Path, guide: Path, found: Texts) -> Path:
        """Stage round-r/student: student r+1."""
        tables = {"corpus": found.corpus, "queries": found.queries}

        def related(query_ids: list[str]) -> dict[str, frozenset[str]]:
            judgments = self._known(range(number + 1), found)
            near = mining.related_passages(judging.graded_qrels(judgments), found.corpus, query_ids)
            return judging.without_judged(near, judgments, query_ids)

        return self.rounds.train(number, student, guide, tables, found.digests, related)

    def finish(self, students: list[Path], found: Texts, sets: Sequence[Parts]) -> dict[str, Any]:
        """The choice on dev, stages gate, baselines, test, forgetting and model, and metrics.json."""
        graded = self._known(range(len(students)), found)
        grades = judging.graded_qrels(graded)
        answered = {row["query_id"] for row in grades.to_pylist() if row["relevance"]}
        ids = [row["query_id"] for row in found.of("dev") if row["query_id"] in answered]
        if not ids:
            raise InputError(
                f"none of {len(found.of('dev'))} dev queries has an answer among what was graded, so no student can be "
                "chosen: raise --passages or the budget, or look at the judge with denizen audit"
            )
        dev = []
        for number in range(len(students)):
            run = read_table(self.out / f"round-{number}/run/run.parquet", "run")
            dev.append(evaluation.means(evaluation.measure(run, grades, ids)))
        rounds, inside = self.rounds, set(ids)
        judged = {
            f"judged-{at}": rounds.files[f"round-{at}/judgments"]["judgments.parquet"] for at in range(len(students))
        }
        learned = Learned(
            students=students,
            best=rounds.choose(dev),
            corpus=found.corpus,
            queries=found.queries,
            pairs=found.sources,
            dev=grades.filter(pa.array([name in inside for name in grades["query_id"].to_pylist()])),
            digests={**found.digests, **judged},
            judged=frozenset((row["query_id"], row["doc_id"]) for row in graded.to_pylist()),
            related=lambda asked: mining.related_passages(found.sources, found.corpus, asked),
        )
        choice = proof.choose(rounds, learned, sets)
        # without labels the baselines would ask the teacher for grades of what they find
        systems = proof.systems(rounds, learned, choice, with_baselines=len(found.labels) > 0)
        if len(found.labels):
            tables = {"corpus": found.corpus, "queries": found.queries, "qrels": found.labels}
            facts = rounds.test(systems, learned.best, tables, found.digests)
        else:
            facts = graded_test(rounds, learned.best, students[0], choice.folder, found, self.llm)
        lost = proof.forgetting(rounds, learned, choice, sets, systems)
        report = metrics_json(self.config, self.out, found.facts, dev, learned.best, {**facts, **lost})
        report |= {"seeds": [], "spending": teachers.spending(self.llm), "judged_by": facts.get("judged_by", "labels")}
        report |= {"coverage": self._coverage(), "test_queries_left_out": facts.get("queries_left_out", {})}
        return rounds.finish(report, choice.folder)

    def _coverage(self) -> dict[str, dict[str, Any]]:
        """What became of the calls of each stage that has asked the teacher."""
        names = ("asked", "coverage", "failures", "cut_off_by_budget")
        asked = {stage: facts for stage, facts in self.rounds.facts.items() if "coverage" in facts}
        return {stage: {name: facts[name] for name in names} for stage, facts in asked.items()}
