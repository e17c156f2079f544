"""The finished run that another one goes on from: what it ships, from which base, and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from denizen.data.artifacts import Corpus, Model, Qrels, Queries
from denizen.engine.artifact import Artifact
from denizen.engine.errors import InputError
from denizen.engine.files import json_digest, read_json
from denizen.engine.pipeline import RECORD
from denizen.measuring.retrieval_sets import Parts, earlier_parts
from denizen.recipes.config import AdaptConfig
from denizen.recipes.run_folder import read_config, store_of
from denizen.retrievers.loading import locate
from denizen.retrievers.model_ref import outside_model
from denizen.retrievers.store import take_in

# what has embedded with the base: of a run that went on from another one itself, that which was trained anew
_BY_BASE = ("anew/round-0/embeddings", "reading/embeddings")


@dataclass(frozen=True)
class EarlierRun:
    """A finished run with labels.

    Attributes:
        folder: Its folder.
        config: Its settings.
    """

    folder: Path
    config: AdaptConfig

    @classmethod
    def read(cls, config: AdaptConfig, out: Path) -> EarlierRun | None:
        """That which a new run goes on from; None: from none.

        Raises:
            InputError: When it is the new run itself, is not finished, had no labels, or is of another base.
        """
        if not config.from_run:
            return None
        folder = Path(config.from_run).expanduser()
        found = cls(folder, read_config(folder))
        if folder.resolve() == out.resolve():
            raise InputError(f"--out {out} is the run to go on from; give a new folder")
        if not (folder / "metrics.json").is_file() or not (folder / "model").is_dir():
            raise InputError(f"from_run {folder} is not finished: run its command again first")
        if found.config.teacher != "gold":
            raise InputError(f"from_run {folder} had teacher {found.config.teacher}; give a run with labels")
        record = read_json(folder / "corpus" / RECORD) or {"facts": {}}
        if record["facts"].get("divided_inside"):
            raise InputError(
                f"from_run {folder} divided single documents by section, and a new source has no such sections: its "
                "sides cannot be kept. Give a run that was split by document"
            )
        other, usual = config.model, AdaptConfig(config.source).model
        if other not in (found.config.model, usual):
            raise InputError(f"model is {other}, and {folder} was made from {found.config.model}; leave it out")
        return found

    @property
    def shipped(self) -> Path:
        """Its model."""
        return self.folder / "model"

    @cached_property
    def base(self) -> Model:
        """What that was made from.

        Raises:
            InputError: When it is no longer the same.
        """
        base = outside_model(locate(self.config.model, self.config.backbone))
        records = (read_json(self.folder / place / RECORD) for place in _BY_BASE)
        made = next((record["inputs"]["model"] for record in records if record), base.digest)
        if made != base.digest:
            raise InputError(f"{self.config.model} is not what {self.folder} was made from: its files have changed")
        return base

    @cached_property
    def tables(self) -> Mapping[str, Artifact]:
        """Its corpus, queries and qrels."""
        return {
            name: Artifact.outside(self.folder / f"corpus/{name}.parquet") for name in ("corpus", "queries", "qrels")
        }

    def test(self, seed: int) -> Parts:
        """Its test, on which not more than the limit may be lost."""
        made = self.tables
        corpus = Corpus(made["corpus"].path, made["corpus"].digest)
        queries = Queries(made["queries"].path, made["queries"].digest)
        return earlier_parts(corpus, queries, Qrels(made["qrels"].path, made["qrels"].digest), seed)

    def hand_over(self, store: Path, out: Path) -> None:
        """Puts what its base and its model have embedded into the store of a run, which has nothing of them."""
        for model in (self.base, outside_model(self.shipped)):
            embedded = store_of(self.config, self.folder) / model.digest
            if embedded.is_dir() and not (store / model.digest).exists():
                store.mkdir(parents=True, exist_ok=True)
                take_in(store, embedded, json_digest(str(out.resolve())))
