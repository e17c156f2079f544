"""What every recipe of mining and training in rounds shares: embedding, search, training, the last test."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from denizen.data.tables import read_table, texts
from denizen.engine.stage import Stage, StageRunner, write_json
from denizen.measuring import retrieval as evaluation
from denizen.recipes.config import AdaptConfig
from denizen.recipes.run_folder import store_of
from denizen.reports.card import model_card
from denizen.reports.results import machine, records, versions
from denizen.retrievers import search as retrieval
from denizen.retrievers.backends import use_bf16
from denizen.retrievers.encoder import Encoder, Kind, load_encoder, prompts_of
from denizen.retrievers.model_ref import model_digest
from denizen.retrievers.searching import search_bm25, search_with
from denizen.retrievers.store import StoredVectors

if TYPE_CHECKING:
    from denizen.training.near_base import Kept

# the stages after the rounds, in order
LAST_STAGES = ("gate", "baselines/plain", "baselines/average", "test", "forgetting", "model")


class Rounds:
    """The stages of a run that do not depend on where relevance comes from.

    Args:
        config: The settings.
        out: The run's folder.
        runner: Runs stages once.
        base: The model that is adapted.
        kept: By kind, texts whose embeddings training should keep near the base's.
    """

    def __init__(
        self, config: AdaptConfig, out: Path, runner: StageRunner, base: Path, kept: Mapping[Kind, Sequence[str]]
    ) -> None:
        self.config = config
        self.out = out
        self.runner = runner
        self.base = base
        self.kept = kept if config.near_base else {}
        self.progress = runner.progress
        self.training_arithmetic = "bf16" if use_bf16(config.precision) else "fp32"
        self.files: dict[str, dict[str, str]] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self._encoder: Encoder | None = None

    def repeated(self, seed: int) -> Rounds:
        """The same rounds with another seed, in a folder of their own below this one; embeddings are shared."""
        store = str(store_of(self.config, self.out))
        kept = {**self.config.as_dict(), "seed": seed, "baselines": False, "store": store}
        out = self.out / f"seed-{seed}"
        # what it reads is the run's, which may be done anew
        runner = StageRunner(out, None, self.progress, frozenset())
        return Rounds(AdaptConfig(**kept), out, runner, self.base, self.kept)

    def stage(
        self,
        name: str,
        version: int,
        settings: dict[str, Any],
        inputs: Mapping[str, str],
        work: Callable[[Path], dict[str, Any] | None],
        resumable: bool = False,
        derived: bool = False,
    ) -> dict[str, Any]:
        """Does a stage unless it is done already, and remembers its facts and the digests of its files."""
        if self.runner.redo == name or self.runner.refresh is not None:
            # what follows will not be what the old result was made from
            (self.out / "metrics.json").unlink(missing_ok=True)
        record = self.runner.run(Stage(self.out / name, version, settings, inputs, resumable, derived), work)
        self.files[name], self.facts[name] = record["files"], record["facts"]
        return record

    def encoder(self, student: Path, number: int | None = None) -> Encoder:
        """The encoder of a student; the one before is let go, with its weights.

        Args:
            student: Its folder.
            number: The round whose corpus it has embedded; it goes on with the backend of then.
        """
        config = self.config
        backend = None if number is None else self.backend(number)
        last = self._encoder
        if last is None or last.folder != student or backend not in (None, last.backend):
            self._encoder = last = Encoder(
                student, store_of(config, self.out), backend=backend or config.backend, precision=config.precision
            )
        return last

    def backend(self, number: int) -> str:
        """What embedded the corpus in a round."""
        path = self.out / f"round-{number}/embeddings/encoder.json"
        return str(json.loads(path.read_text(encoding="utf-8"))["backend"])

    def embed(
        self, number: int, student: Path, corpus: pa.Table, queries: Sequence[str], digests: Mapping[str, str]
    ) -> None:
        """Stage round-r/embeddings: the corpus and some queries by student r, into the store."""

        def work(folder: Path) -> dict[str, Any]:
            encoder = self.encoder(student)
            with self.progress.bar(len(corpus) + len(queries), "texts") as advance:
                # the corpus first: the backend is chosen on the first texts
                encoder.encode(texts(corpus), "document", advance)
                encoder.encode(queries, "query", advance)
            for note in encoder.notes:
                self.progress.note(note)
            self.progress.note(f"by {encoder.backend}")
            write_json(folder / "encoder.json", {"model": encoder.digest, "backend": encoder.backend})
            return {"gate": encoder.gate}

        inputs = {**digests, "student": model_digest(student)}
        self.stage(f"round-{number}/embeddings", 2, self.config.only("backend", "precision"), inputs, work)

    def vectors(self, number: int, student: Path, listed: Sequence[str], kind: Kind) -> StoredVectors:
        """Embeddings by student r, from the store where it has them."""
        with self.progress.bar(len(listed), "texts") as advance:
            return self.encoder(student, number).encode(listed, kind, advance)

    def search(
        self,
        number: int | None,
        student: Path,
        queries: Mapping[str, str],
        corpus: pa.Table,
        depth: int,
        unit: str = "queries",
    ) -> pa.Table:
        """What student r (None: before the first round) finds for queries (id to text) in a corpus: a `run`."""
        encoder = self.encoder(student, number)
        memory = self.config.memory_mb
        return search_with(encoder, queries, corpus, depth, self.progress, memory_mb=memory, unit=unit)

    def train(
        self,
        number: int,
        student: Path,
        guide: Path,
        tables: Mapping[str, pa.Table],
        digests: Mapping[str, str],
        related: Callable[[list[str]], dict[str, frozenset[str]]],
    ) -> Path:
        """Stage round-r/student: student r+1.

        Args:
            number: The round.
            student: Student r.
            guide: The guide of the gist loss.
            tables: corpus and queries.
            digests: Of all that `tables` and `related` come from.
            related: For query ids, the passages that must not be their negatives.
        """
        from denizen.training import bi_encoder as train_encoder
        from denizen.training.losses import LOSSES

        inputs = {
            **digests,
            "examples": self.files[f"round-{number}/examples"]["examples.parquet"],
            "student": model_digest(student),
            "arithmetic": self.training_arithmetic,
            **({"guide": model_digest(guide)} if self.config.loss == "gist" else {}),
        }
        settings = self.config.only(*train_encoder.SETTINGS)
        if any(self.kept.values()):
            inputs["kept"] = hashlib.sha256(json.dumps(self.kept).encode()).hexdigest()
            inputs["base"] = model_digest(self.base)
            settings |= self.config.only("near_base")

        def work(folder: Path) -> dict[str, Any]:
            rows = read_table(self.out / f"round-{number}/examples/examples.parquet", "examples")
            near = related(rows["query_id"].unique().to_pylist())
            masks = LOSSES[self.config.loss].masks
            training = train_encoder.training_set(rows, tables["corpus"], tables["queries"], near, fill=masks)
            if training.dropped:
                self.progress.note(f"{training.dropped:,} examples without enough negatives left out")
            training = replace(training, kept=self._kept())
            anchors = training.columns["anchor"]
            # embedded already, so these come from the store
            vectors = (
                self.encoder(student, number).encode(anchors, "query")[:] if self.config.batches == "similar" else None
            )
            with self.progress.bar(train_encoder.total_steps(len(anchors), self.config), "steps") as advance:
                return train_encoder.train(folder, student, training, self.config, guide, vectors, advance)

        name = f"round-{number}/student"
        self.stage(name, 1, settings, inputs, work, resumable=True)
        return self.out / name

    def _kept(self) -> list[Kept]:
        if not any(self.kept.values()):
            return []
        from denizen.training.near_base import Kept, first_tokens

        encoder, model = self.encoder(self.base, 0), load_encoder(self.base)
        prompts = asdict(prompts_of(model))
        kept = []
        for kind, listed in self.kept.items():
            # what training does not see of a text must not be in its target
            cut = first_tokens(model, listed, self.config.max_tokens)
            kept.append(Kept(cut, encoder.encode(cut, kind)[:], prompts[kind]))
        return kept

    def choose(self, dev: Sequence[Mapping[str, float]]) -> int:
        """The student with the highest dev MRR@5; the base itself is one of them."""
        best = max(range(len(dev)), key=lambda number: dev[number]["MRR@5"])
        names = ["base", *(f"round {number}" for number in range(1, len(dev)))]
        shown = ", ".join(f"{name} {values['MRR@5']:.3f}" for name, values in zip(names, dev, strict=True))
        self.progress.say(f"MRR@5 on dev: {shown}; {'the base stays' if best == 0 else f'round {best} is taken'}")
        return best

    def test(
        self, systems: Mapping[str, Path], best: int, tables: Mapping[str, pa.Table], digests: Mapping[str, str]
    ) -> dict[str, Any]:
        """Stage test, the only place where labelled test queries are read: models, BM25, and both together.

        Args:
            systems: Name to model; "base" first, "adapted" among them.
            best: The round whose backend the others than the base go on with.
            tables: corpus, queries (those of split test count) and qrels.
            digests: Of the tables.

        Returns:
            Means, differences, what embedded and in which arithmetic.
        """
        inputs = {
            **digests,
            "backends": f"{self.backend(0)}, {self.backend(best)}",
            **{f"model-{name}": model_digest(folder) for name, folder in systems.items()},
        }
        depth = self.config.depth

        def work(folder: Path) -> dict[str, Any]:
            rows = [row for row in tables["queries"].to_pylist() if row["split"] == "test"]
            queries = {row["query_id"]: row["text"] for row in rows}
            corpus = tables["corpus"]
            runs = {}
            for name, model in systems.items():
                number = 0 if name == "base" else best
                runs[name] = self.search(number, model, queries, corpus, depth, f"queries by {name}")
                if name == "base":
                    runs["bm25"] = search_bm25(queries, corpus, depth, self.progress)
            runs["hybrid"] = retrieval.fuse([runs["bm25"], runs["adapted"]], depth)
            found = evaluation.write_evaluation(folder, runs, tables["qrels"], list(queries))
            return {**found, **self.how(best)}

        facts: dict[str, Any] = self.stage("test", 3, self.config.only("depth"), inputs, work)["facts"]
        return facts

    def how(self, best: int) -> dict[str, Any]:
        """Versions, backends and arithmetic behind a result."""
        backends = {"base": self.backend(0), "adapted": self.backend(best)}
        how = {"versions": versions(), "machine": machine()}
        return {**how, "backends": backends, "arithmetic": self.training_arithmetic}

    def finish(self, report: dict[str, Any], adapted: Path) -> dict[str, Any]:
        """Stage model and metrics.json."""

        def model(folder: Path) -> None:
            shutil.copytree(adapted, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("stage.json"))
            (folder / "README.md").write_text(model_card(report), encoding="utf-8")

        card = hashlib.sha256(model_card(report).encode()).hexdigest()
        self.stage("model", 1, {}, {"card": card, "adapted": model_digest(adapted)}, model, derived=True)
        write_json(self.out / "config.json", self.config.as_dict())
        write_json(self.out / "results.json", records(report))
        write_json(self.out / "metrics.json", report)
        return report
