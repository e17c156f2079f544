"""Tasks of mteb one after the other, kept after each and found again: what was done, is missing, has failed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.engine.errors import InputError, reason
from denizen.engine.files import read_json, write_json
from denizen.engine.progress import Progress
from denizen.engine.versions import installed
from denizen.measuring.mteb_model import MtebModel, save_result
from denizen.measuring.mteb_tasks import DataCache, NotCachedError, averages, beir_digest, beir_task, loaded
from denizen.measuring.provenance import SCHEMA, versions

if TYPE_CHECKING:
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.results import TaskResult

METRICS = "metrics.json"


class Measuring:
    """The tasks of one command, one after the other; after each, metrics.json says all that is known.

    Args:
        model: What is measured.
        data: Where the data of tasks lies.
        split: Which qrels of a BEIR folder.
        settings: What decides results beside model, task and versions.
        out: Where to write; None: nowhere.
        progress: Receives what a person should see.
    """

    def __init__(
        self,
        model: MtebModel,
        data: DataCache,
        split: str,
        settings: Mapping[str, Any],
        out: Path | None,
        progress: Progress,
    ) -> None:
        self._model, self._data, self._split, self._out, self._progress = model, data, split, out, progress
        self._of = {"model": str(model.mteb_model_meta.revision), **settings, "versions": _versions()}
        self._done: dict[str, Any] = {}
        self._missing: dict[str, str] = {}
        self._failed: dict[str, str] = {}

    def all(self, asked: Mapping[str, AbsTaskRetrieval | Path]) -> dict[str, Any]:
        """Runs what is not done yet."""
        made_by = {name: {**self._of, "task": self._described(task)} for name, task in asked.items()}
        for name, found in self._before().items():
            # what was asked for another time stays, too, where it is of the same making
            expected = made_by.get(name, {**self._of, "task": found["made_by"]["task"]})
            if found["made_by"] == expected and self._kept(found):
                self._done[name] = found
        for name, task in asked.items():
            if name in self._done:
                self._progress.skipped(name)
                continue
            with self._progress.working(name):
                self._try(name, task, made_by[name])
            self._write()
        if not set(asked) & set(self._done):
            raise InputError(self._nothing())
        return self._write()

    def _try(self, name: str, task: AbsTaskRetrieval | Path, made_by: Mapping[str, Any]) -> None:
        try:
            if isinstance(task, Path):
                task = beir_task(task, self._split)
                task.load_data()
                result = self._model.run(task)
            else:
                with loaded(task, self._data):
                    result = self._model.run(task)
        except NotCachedError as error:
            self._missing[name] = str(error)
            self._progress.note("missing")
            return
        except Exception as error:  # noqa: BLE001  (what one task comes to must not cost the others)
            self._failed[name] = f"{type(error).__name__}: {reason(error)}"
            self._progress.note("failed")
            return
        self._done[name] = {**_scores(result), "prompts": self._model.prompts(task.metadata), "made_by": dict(made_by)}
        if self._out is not None:
            file = save_result(result, self._model.mteb_model_meta, self._out)
            self._done[name]["file"] = file.relative_to(self._out).as_posix()

    def _described(self, task: AbsTaskRetrieval | Path) -> dict[str, Any]:
        """What a task is, in JSON."""
        if isinstance(task, Path):
            return {"digest": beir_digest(task, self._split), "split": self._split}
        return {"revision": task.metadata.revision, "splits": list(task.eval_splits), "subsets": list(task.hf_subsets)}

    def _before(self) -> dict[str, Any]:
        """The tasks of metrics.json.

        Raises:
            InputError: When they are of another model.
        """
        known = read_json(self._out / METRICS) if self._out else None
        if not known:
            return {}
        if not isinstance(known.get("model"), dict) or not isinstance(known.get("tasks"), dict):
            raise InputError(f"{self._out} holds the results of another command; use another --out")
        if known["model"]["digest"] != self._of["model"]:
            raise InputError(
                f"{self._out} holds results of {known['model']['name']}, whose files are others "
                f"({known['model']['digest'][:12]} and {self._of['model'][:12]}); use another --out"
            )
        return dict(known["tasks"])

    def _kept(self, earlier: Mapping[str, Any]) -> bool:
        return self._out is not None and (self._out / earlier["file"]).is_file()

    def _nothing(self) -> str:
        """That nothing could be run, why, and what helps."""
        told = "".join(f"\n  {name}: {why}" for name, why in {**self._missing, **self._failed}.items())
        remedy = (
            f" (looked for in {self._data.hub} and {self._data.tables}). Where there is a network: HF_HOME=FOLDER hf "
            "download --repo-type dataset NAME --revision REVISION; then give FOLDER as --cache. Or give BEIR folders "
            "as --tasks"
        )
        return f"no task could be run{remedy if self._missing else ''}:{told}"

    def _write(self) -> dict[str, Any]:
        """All that is known so far, also on disk."""
        meta = self._model.mteb_model_meta
        report: dict[str, Any] = {"schema": SCHEMA, "model": {"name": meta.name, "digest": meta.revision}}
        scores = {name: found["nDCG@10"] for name, found in self._done.items()}
        report |= {"tasks": self._done, "missing": self._missing, "failed": self._failed}
        report |= {"averages": averages(scores, [*scores, *self._missing, *self._failed]), "versions": _versions()}
        report |= {"backends": list(dict.fromkeys(self._model.backends))}
        if self._out is not None:
            write_json(self._out / METRICS, report)
        return report


def _scores(result: TaskResult) -> dict[str, Any]:
    """nDCG@10, the mean over splits and subsets as mteb takes it, and what mteb holds for the task's main score."""
    first = next(iter(result.scores.values()))[0]
    main = next((name for name, value in first.items() if name != "main_score" and value == first["main_score"]), None)
    return {
        "nDCG@10": float(result.get_score(getter=lambda scores: scores["ndcg_at_10"])),
        "main_score": {"name": main, "value": float(result.get_score())},
        "splits": list(result.scores),
        "subsets": sorted({scores["hf_subset"] for parts in result.scores.values() for scores in parts}),
        "seconds": round(result.evaluation_time or 0.0, 2),
    }


def _versions() -> dict[str, str]:
    return {**versions(), "mteb": installed("mteb"), "datasets": installed("datasets")}
