"""Retrieval tasks of mteb (the extra `mteb`): by name, from what is cached or from the hub; and of a user's data."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from denizen.data.formats.beir import is_beir_folder, read_beir
from denizen.data.tables import each, relevant
from denizen.engine.errors import InputError, reason
from denizen.engine.files import file_digest, tree_digest

if TYPE_CHECKING:
    from mteb.abstasks import AbsTaskRetrieval

# the tasks of arXiv 2602.04731 and its two halves
PAPER_TASKS: dict[str, tuple[str, ...]] = {
    "medical": (
        "FeedbackQARetrieval",
        "MedicalQARetrieval",
        "CUREv1",
        "PublicHealthQA",
        "NFCorpus",
        "TRECCOVID",
        "SciFact",
    ),
    "general": ("SCIDOCS", "NanoFEVERRetrieval", "ArguAna", "NanoQuoraRetrieval", "FiQA2018"),
}
# of tasks in several languages, what the paper has measured
_ENGLISH = {"CUREv1": ["en"], "PublicHealthQA": ["english"]}
_NEWEST = "main"


class NotCachedError(Exception):
    """The data of a task is not on this machine, and cannot be fetched; says why."""


@dataclass(frozen=True)
class DataCache:
    """Where the libraries keep data sets of the hub on this machine.

    Attributes:
        hub: Files as they were downloaded: `datasets--OWNER--NAME/snapshots/REVISION`.
        tables: Tables that `datasets` has made of them: `OWNER___NAME/CONFIG/VERSION/REVISION`.
    """

    hub: Path
    tables: Path

    @classmethod
    def of(cls, folder: str) -> DataCache:
        """The cache in a folder such as HF_HOME, or one of its two parts; of "": where the libraries look themselves.

        Raises:
            InputError: When there is no such folder.
        """
        import datasets.config
        from huggingface_hub import constants

        if not folder:
            return cls(Path(constants.HF_HUB_CACHE), Path(datasets.config.HF_DATASETS_CACHE))
        path = Path(folder).expanduser().resolve()
        if not path.is_dir():
            raise InputError(f"the cache {folder!r} is no folder; give one that is there, as HF_HOME was elsewhere")
        hub = path if any(path.glob("datasets--*")) else path / "hub"
        return cls(hub, path if any(path.glob("*___*")) else path / "datasets")

    def snapshot(self, name: str, revision: str) -> Path | None:
        """The files of a data set as it was at a revision; None where they are not there."""
        folder = self.hub / f"datasets--{name.replace('/', '--')}"
        pointer = folder / "refs" / revision
        at = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else revision
        found = folder / "snapshots" / at
        return found if found.is_dir() else None

    def has_tables(self, name: str, revision: str) -> bool:
        """Whether tables of a data set at a revision are there, some at least."""
        from datasets.naming import camelcase_to_snakecase

        owner, _, own = name.rpartition("/")
        folder = self.tables / "___".join([*([owner] if owner else []), camelcase_to_snakecase(own)])
        return any(folder.glob("*/*/*" if revision == _NEWEST else f"*/*/{revision}"))


def averages(scores: Mapping[str, float], asked: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The paper's averages over what was run, each with how many of its tasks that is.

    Args:
        scores: Task to score.
        asked: What was asked for: an average of which nothing was asked for is left out.
    """
    groups = {**PAPER_TASKS, "all": tuple(name for names in PAPER_TASKS.values() for name in names)}
    found = {}
    for group, names in groups.items():
        if set(names) & set(asked):
            run = [scores[name] for name in names if name in scores]
            found[group] = {"nDCG@10": sum(run) / len(run) if run else None, "tasks": len(run), "of": len(names)}
    return found


def find_tasks(names: Sequence[str], split: str) -> dict[str, AbsTaskRetrieval | Path]:
    """Name to task, or to the BEIR folder of one, which is not read yet.

    Args:
        names: Names of mteb, or BEIR folders.
        split: Which qrels of a BEIR folder.

    Raises:
        InputError: When mteb is not installed, one is given twice, is unknown, does not retrieve texts, or is an empty
            folder.
    """
    found: dict[str, AbsTaskRetrieval | Path] = {}
    called: set[str] = set()
    for given in names:
        task = _beir(Path(given).expanduser(), split) if "/" in given else _of_mteb(given, split)
        name = task.resolve().name if isinstance(task, Path) else str(task.metadata.name)
        in_results = _task_name(task) if isinstance(task, Path) else name
        if in_results in called:
            raise InputError(
                f"task {name!r} is given twice; give each once, and each folder a name of its own letters and digits"
            )
        called.add(in_results)
        found[name] = task
    return found


@contextlib.contextmanager
def loaded(task: AbsTaskRetrieval, cache: DataCache) -> Iterator[None]:
    """A task of mteb with its data, as long as this context: files of its own revision, or of the hub.

    Raises:
        NotCachedError: When they are not there.
    """
    import datasets.config
    from huggingface_hub import constants

    name, revision = task.metadata.dataset["path"], task.metadata.dataset["revision"]
    place = cache.snapshot(name, revision)
    offline = bool(datasets.config.HF_HUB_OFFLINE)
    if offline and place is None and not cache.has_tables(name, revision):
        raise NotCachedError(f"{name} at revision {revision} is not cached")
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        # what is made of a snapshot is gone at the end: tables of another revision of it must not be taken for it
        tables = cache.tables if place is None else Path(scratch)
        for where, setting, value in (
            (datasets.config, "HF_DATASETS_CACHE", tables),
            (constants, "HF_HUB_CACHE", str(cache.hub)),
        ):
            stack.callback(setattr, where, setting, getattr(where, setting))
            setattr(where, setting, value)
        if place is not None:
            local = {**task.metadata.dataset, "path": str(place)}
            task.metadata = task.metadata.model_copy(update={"dataset": local})
        try:
            task.load_data()
            task.convert_v1_dataset_format_to_v2(num_proc=None)
        except OSError as error:
            raise NotCachedError(f"{name} at revision {revision}: {reason(error)}") from error
        except ValueError as error:
            # what `datasets` says of a table that is not there
            if "Couldn't find cache" not in str(error):
                raise
            raise NotCachedError(f"{name} at revision {revision}: {reason(error)}") from error
        finally:
            # as it is named in results
            task.__dict__.pop("metadata", None)
        try:
            yield
        finally:
            task.unload_data()


def beir_task(folder: Path, split: str) -> AbsTaskRetrieval:
    """One split of a BEIR folder as a task.

    Raises:
        InputError: When it cannot be read, or no query of it has a relevant document.
    """
    source = read_beir(folder, split=split)
    texts = dict(each(source.queries, "query_id", "text"))
    return in_memory(folder, source.documents, texts, relevant(source.qrels), split, beir_digest(folder, split))


def beir_digest(folder: Path, split: str) -> str:
    """What decides a task of a BEIR folder, as a digest."""
    ends = ("corpus.jsonl", "corpus.jsonl.gz", "queries.jsonl", "queries.jsonl.gz", f"qrels/{split}.tsv")
    return tree_digest({end: file_digest(folder / end) for end in ends if (folder / end).is_file()})


def in_memory(
    folder: Path,
    documents: pa.Table,
    queries: Mapping[str, str],
    known: Mapping[str, Mapping[str, int]],
    split: str,
    revision: str = "local",
) -> AbsTaskRetrieval:
    """A task of data that is read already.

    Args:
        folder: What it is called after.
        documents: A `corpus` table.
        queries: Query id to text.
        known: Query id to relevant documents with their relevance; other queries are not asked.
        split: What its one split is called.
        revision: What results name as its version.

    Raises:
        InputError: When mteb is not installed, or nothing is relevant to any query.
    """
    check_installed()
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    if not known:
        raise InputError(
            f"split {split!r} of {folder} has no query with a relevant document; label some with 1 or more"
        )
    corpus = [
        {"id": doc_id, "title": title or "", "text": text}
        for doc_id, title, text in each(documents, "doc_id", "title", "text")
    ]
    asked = [{"id": query_id, "text": queries[query_id]} for query_id in known]

    class Task(AbsTaskRetrieval):
        """The data, in memory already."""

        metadata = TaskMetadata(
            name=_task_name(folder),
            description=f"Retrieval on {folder.resolve().name}.",
            dataset={"path": "local", "revision": revision},
            type="Retrieval",
            category="t2t",
            eval_splits=[split],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )
        k_values = (1, 3, 5, 10, 100)

        def load_data(self, num_proc: int | None = None, **settings: Any) -> None:
            """Nothing is fetched."""
            data: Any = {"corpus": Dataset.from_list(corpus), "queries": Dataset.from_list(asked), "top_ranked": None}
            self.dataset = {"default": {split: data | {"relevant_docs": {key: dict(of) for key, of in known.items()}}}}
            self.data_loaded = True

    return Task()


def check_installed() -> None:
    """Makes sure that mteb is there.

    Raises:
        InputError: When it is not.
    """
    try:
        import mteb  # noqa: F401
    except ImportError:
        raise InputError("tasks of mteb need mteb: pip install 'denizen[mteb]'") from None


def _beir(folder: Path, split: str) -> Path:
    if not is_beir_folder(folder):
        raise InputError(f"{folder} is no BEIR folder (it has no corpus.jsonl or corpus.jsonl.gz)")
    if not (folder / "qrels" / f"{split}.tsv").is_file():
        names = sorted(path.stem for path in (folder / "qrels").glob("*.tsv"))
        raise InputError(f"{folder} has no qrels/{split}.tsv; {f'give one of {names} as split' if names else 'add it'}")
    return folder


def _task_name(folder: Path) -> str:
    """What a folder's task is called in results of mteb."""
    return f"Denizen{re.sub(r'[^0-9A-Za-z]', '', folder.resolve().name).title()}"


def _of_mteb(name: str, split: str) -> AbsTaskRetrieval | Path:
    """The task of a name, or where there is none, the folder."""
    check_installed()
    import mteb
    from mteb.abstasks import AbsTaskRetrieval

    try:
        task = mteb.get_task(name, hf_subsets=_ENGLISH.get(name))
    except KeyError as error:
        if Path(name).is_dir():
            return _beir(Path(name), split)
        told = str(error.args[0]).removeprefix("KeyError: ")
        raise InputError(f"no task of mteb, and no folder: {told} A BEIR folder is a task, too") from None
    if not isinstance(task, AbsTaskRetrieval) or task.metadata.type != "Retrieval" or task.modalities != ["text"]:
        raise InputError(f"{name} is a task of the kind {task.metadata.type}; give one that retrieves texts")
    return task
