"""A run: calls steps, keeps what they make, and finds it again.

Each step has a place in the run's folder, such as round-0/run; its files lie there with `step.json`, written last: the
call with its fingerprint, and the digest of each file. A step works in `.<name>.partial` beside its place, which is
renamed when it is finished. The same call is not done twice, neither in this run nor, where runs share a store, in
another one. A call that differs in what the user decides (settings, what comes from outside, the version of the code)
stops the run and says what has changed; one that differs only because an earlier step was renewed is done anew.
"""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from denizen.engine.artifact import Artifact
from denizen.engine.errors import ChangedError
from denizen.engine.executor import Job, run_jobs
from denizen.engine.files import (
    file_digest,
    files_below,
    json_digest,
    link_file,
    locked,
    read_json,
    replace_folder,
    tree_digest,
    write_json,
)
from denizen.engine.progress import Silent
from denizen.engine.redo import Redo
from denizen.engine.settings import Params
from denizen.engine.step import Call, Context, Partial, Step

A = TypeVar("A", bound=Artifact)

RECORD = "step.json"
_MISSING = object()


@dataclass
class Pipeline:
    """One run, in one folder.

    Attributes:
        folder: The run's folder.
        store: A folder of finished steps that several runs share; None: the run keeps to itself.
        context: What steps work with.
        limits: What may cut a step off, as JSON: one that lacks something is entered again when this has changed.
        redo: What is to be done anew.
        planning: Whether steps are only listed; what is not finished is then pending.
        results: Files that say what came out of the whole; they go as soon as a step is done anew.
        calls: Place to call, in order.
    """

    folder: Path
    store: Path | None = None
    context: Context = field(default_factory=Context)
    limits: Mapping[str, Any] = field(default_factory=dict)
    redo: Redo = field(default_factory=Redo)
    planning: bool = False
    results: Sequence[Path] = ()
    calls: dict[str, Call[Any]] = field(default_factory=dict)
    _scope: tuple[str, ...] = ()

    def __call__(self, step: Step[A], params: Params | None = None, /, **inputs: Any) -> A:
        """What a step makes of this call: found, or done now.

        Args:
            step: The step.
            params: Its settings.
            inputs: Its artifacts.

        Raises:
            ChangedError: When something else was made at its place.
            ValueError: When this recipe has called another step there.
        """
        call = Call(step, params or Params(), inputs)
        place = self._place(step.name)
        again = place in self.calls
        self._list(call, place)
        if self.planning:
            return self._planned(call, place)
        record = self._known(call, place)
        if record is None:
            record = self._done(call, place)
        elif not again:
            self.context.progress.skipped(place)
        return self._artifact(call, place, record)

    def map(
        self, step: Step[A], params: Params, shards: Mapping[str, Mapping[str, Any]], *, workers: int = 1
    ) -> Mapping[str, A]:
        """One call a shard, several at a time in processes of their own.

        Each shard's result is an artifact of its own; neither the order nor the number of workers changes any of them.

        Args:
            step: The step.
            params: Its settings.
            shards: Key of a shard to the inputs of its call; the keys come from what is in it, not from where it stood.
            workers: Processes.
        """
        with self.scope(step.name):
            calls = {key: Call(step, params, inputs) for key, inputs in sorted(shards.items())}
            places = {key: self._place(key) for key in calls}
            for key, call in calls.items():
                self._list(call, places[key])
            if self.planning:
                return {key: self._planned(call, places[key]) for key, call in calls.items()}
            found = {key: self._known(call, places[key]) for key, call in calls.items()}
            wanted = {key: self._job(calls[key], places[key]) for key, record in found.items() if record is None}
            if wanted:
                with self.context.progress.working("/".join(self._scope)):
                    for key, outcome in run_jobs(wanted, self.context, workers):
                        found[key] = self._kept(calls[key], places[key], outcome)
            else:
                self.context.progress.skipped("/".join(self._scope))
            return {key: self._artifact(call, places[key], found[key] or {}) for key, call in calls.items()}

    @contextmanager
    def scope(self, *names: object) -> Iterator[None]:
        """Puts the steps that are called within into a folder, as `scope("round", 2)` into round-2."""
        before = self._scope
        self._scope = (*before, "-".join(map(str, names)))
        try:
            yield
        finally:
            self._scope = before

    @contextmanager
    def using(self, *resources: object) -> Iterator[None]:
        """Gives the steps that are called within further resources."""
        before = self.context
        more = {type(resource): resource for resource in resources}
        self.context = replace(before, resources={**before.resources, **more})
        try:
            yield
        finally:
            self.context = before

    def plan(self, recipe: Callable[[Pipeline], Any]) -> dict[str, Artifact]:
        """Place to what a recipe would make there; nothing is done, and what is finished is taken as it is."""
        planned = replace(self, planning=True, calls={}, context=replace(self.context, progress=Silent()))
        recipe(planned)
        return {place: planned._planned(call, place) for place, call in planned.calls.items()}

    def _place(self, name: str) -> str:
        return "/".join((*self._scope, name))

    def _list(self, call: Call[Any], place: str) -> None:
        if self.calls.setdefault(place, call).fingerprint != call.fingerprint:
            raise ValueError(f"step '{place}' is called twice, with other inputs; give one a scope or another name")

    def _artifact(self, call: Call[A], place: str, record: Mapping[str, Any]) -> A:
        files = record["files"]
        return call.step.makes(self.folder / place, record["digest"], record["facts"], files, place)

    def _planned(self, call: Call[A], place: str) -> A:
        own = self._record(place)
        if own and own["fingerprint"] == call.fingerprint and self._current(own, place):
            return self._artifact(call, place, own)
        for origin, record in self._elsewhere(call, place):
            return call.step.makes(origin, record["digest"], record["facts"], record["files"], place)
        facts = call.step.plan(call.params, **call.inputs) if call.step.plan else {}
        return call.step.makes(self.folder / place, json_digest(call.fingerprint), facts, {}, place, pending=True)

    def _record(self, place: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = read_json(self.folder / place / RECORD)
        return found

    def _known(self, call: Call[Any], place: str) -> dict[str, Any] | None:
        """The record of what is finished; None where the step has to be done."""
        partial = self._partial(place)
        left = read_json(partial / RECORD)
        same = left and left["fingerprint"] == call.fingerprint and self._current(left, place)
        if same and not _edited(partial, left):
            # an earlier run was stopped between the last file and the renaming
            self._publish(call, place)
        own = self._record(place)
        if own is not None and not self._renewing(own, place):
            self._check_untouched(own, place)
            changed = _changed(own, call)
            if changed:
                raise _changed_error(self.folder, place, changed)
            if own["fingerprint"] == call.fingerprint and self._current(own, place):
                self._settle(call, place, own, new=place in self.redo)
                return own
        return self._found(call, place)

    def _found(self, call: Call[Any], place: str) -> dict[str, Any] | None:
        """The record of what the same call has made elsewhere, which is put into its place; None where nothing is."""
        with self._held("publish", aloud=False):
            found = next(self._elsewhere(call, place), None)
            if found is None:
                return None
            origin, record = found
            # there, its inputs may have been made at other places
            _link(origin, {**record, **_lineage(call)}, self._partial(place))
        self._publish(call, place)
        return self._record(place)

    def _current(self, record: Mapping[str, Any], place: str) -> bool:
        """Whether a record may be taken: it lacks nothing that other limits could give, and is as new as is asked."""
        whole = not record["lacks"] or record["limits"] == self.limits
        return whole and (place not in self.redo or record["redo"] == self.redo.token)

    def _renewing(self, record: Mapping[str, Any], place: str) -> bool:
        return place in self.redo and record["redo"] != self.redo.token

    def _check_untouched(self, record: Mapping[str, Any], place: str) -> None:
        edited = _edited(self.folder / place, record)
        if edited:
            told = [f"{name}: its content is not what the step wrote" for name in edited]
            raise _changed_error(self.folder, place, told)

    def _elsewhere(self, call: Call[Any], place: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Where the same call was done before, at another place of this run or in the store, with the record."""
        folders = {self.folder / at: at for at in self._places.get(call.fingerprint, ())}
        if self.store and not call.step.local:
            folders[self.store / call.fingerprint] = ""
        for folder, at in folders.items():
            record = read_json(folder / RECORD)
            if not record or record["fingerprint"] != call.fingerprint or record["lacks"]:
                continue
            if not self._renewing(record, at) and self._current(record, place) and not _edited(folder, record):
                yield folder, record

    @cached_property
    def _places(self) -> dict[str, list[str]]:
        """Fingerprint to the places where such a call was done; read once and kept up."""
        found: dict[str, list[str]] = {}
        for place, record in records(self.folder).items():
            found.setdefault(record["fingerprint"], []).append(place)
        return found

    def _held(self, name: str, *, aloud: bool = True) -> AbstractContextManager[None]:
        """Keeps other runs with this store from doing the same at once; what takes long is waited for aloud."""
        if self.store is None:
            return nullcontext()

        def waits() -> None:
            if aloud:
                self.context.progress.say("waiting for another run")

        return locked(self.store, f".{name}.lock", waits)

    def _partial(self, place: str) -> Path:
        folder = self.folder / place
        return folder.with_name(f".{folder.name}.partial")

    def _job(self, call: Call[Any], place: str) -> Job:
        """Makes ready what a call works in; what it left behind in an earlier try is in its scratch folder."""
        self._outdate()
        self.redo.begins(place)
        partial, folder = self._partial(place), self.folder / place
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        token = self.redo.token if place in self.redo else ""
        scratch = folder.with_name(f".{folder.name}.{call.fingerprint[:16]}{token}.scratch")
        for other in self._scratches(place):
            if other != scratch:
                shutil.rmtree(other)
        resumed = scratch.is_dir() and any(scratch.iterdir())
        scratch.mkdir(exist_ok=True)
        return Job(call, place, partial, scratch, resumed)

    def _done(self, call: Call[Any], place: str) -> dict[str, Any]:
        with self._held(call.fingerprint):
            # another run may have done it meanwhile
            found = self._known(call, place) if self.store else None
            if found is not None:
                self.context.progress.skipped(place)
                return found
            job = self._job(call, place)
            with self.context.progress.working(place):
                outcome = job.done(self.context)
            return self._kept(call, place, outcome)

    def _kept(self, call: Call[Any], place: str, outcome: tuple[Job, Any, float]) -> dict[str, Any]:
        """Writes the record of a finished step and puts it into its place."""
        job, told, seconds = outcome
        names = files_below(job.out)
        files = {name: file_digest(job.out / name) for name in names}
        facts, lacks = (told.facts, told.lacks) if isinstance(told, Partial) else (told or {}, None)
        record = {
            **call.described,
            "function": _function(call),
            "fingerprint": call.fingerprint,
            **_lineage(call),
            "files": files,
            "digest": tree_digest(files),
            "stats": {name: _stat(job.out / name) for name in names},
            "facts": dict(facts),
            "lacks": dict(lacks) if lacks else None,
            "limits": dict(self.limits),
            "redo": self.redo.token if place in self.redo else "",
            # of the last session alone when the work was resumed
            "seconds": round(seconds, 2),
            "resumed": job.resumed,
        }
        write_json(job.out / RECORD, record)
        self._publish(call, place)
        return self._record(place) or record

    def _publish(self, call: Call[Any], place: str) -> None:
        self._outdate()
        replace_folder(self._partial(place), self.folder / place)
        record = self._record(place)
        if record:
            self._places.setdefault(call.fingerprint, []).append(place)
            self._settle(call, place, record, new=True)

    def _settle(self, call: Call[Any], place: str, record: Mapping[str, Any], *, new: bool) -> None:
        """What is left to do when a step is in its place; an earlier run may have been stopped before that."""
        for scratch in self._scratches(place):
            # what a limit has cut off goes on there
            if not record["lacks"] or not any(scratch.iterdir()):
                shutil.rmtree(scratch)
        if self.store and not record["lacks"] and not call.step.local:
            self._share(self.store / call.fingerprint, place, record, new)
        self.redo.finished(place)

    def _share(self, shared: Path, place: str, record: Mapping[str, Any], new: bool) -> None:
        if not new and (shared / RECORD).is_file():
            return
        with self._held("publish", aloud=False):
            there = read_json(shared / RECORD)
            if there is None or there["digest"] != record["digest"] or _edited(shared, there):
                partial = shared.with_name(f".{shared.name}.partial")
                _link(self.folder / place, record, partial)
                replace_folder(partial, shared)

    def _outdate(self) -> None:
        for path in self.results:
            # what follows will not be what the old result was made from
            path.unlink(missing_ok=True)

    def _scratches(self, place: str) -> list[Path]:
        folder = self.folder / place
        found = folder.parent.glob(f".{glob.escape(folder.name)}.*.scratch")
        # those of "a.b" are not those of "a"
        return [path for path in found if path.name.count(".") == folder.name.count(".") + 3]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two nested values, as lines `name: old -> new`."""

    def shown(value: Any) -> str:
        return "missing" if value is _MISSING else repr(value)

    def inner(value: Any) -> Mapping[str, Any] | None:
        if isinstance(value, list):
            return {str(at): part for at, part in enumerate(value)}
        return value if isinstance(value, Mapping) else None

    lines: list[str] = []
    for name in sorted({*old, *new}):
        before, after = old.get(name, _MISSING), new.get(name, _MISSING)
        parts, others = inner(before), inner(after)
        if before != after and parts is not None and others is not None and type(before) is type(after):
            lines += [f"{name}.{line}" for line in differences(parts, others)]
        elif before != after:
            lines.append(f"{name}: {shown(before)} -> {shown(after)}")
    return lines


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Place to `step.json` for every finished step of a run."""
    paths = sorted(path for path in folder.rglob(RECORD) if not path.parent.name.startswith("."))
    found = {path.parent.relative_to(folder).as_posix(): read_json(path) for path in paths}
    return {place: record for place, record in found.items() if record}


def _function(call: Call[Any]) -> str:
    return f"{call.step.__module__}.{call.step.__qualname__}"


def _lineage(call: Call[Any]) -> dict[str, list[str]]:
    return {"made_from": sorted(set(call.derived.values())), "derived": sorted(call.derived)}


def _link(origin: Path, record: Mapping[str, Any], target: Path) -> None:
    """Puts a finished step's files into a new folder, its record last."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in record["files"]:
        link_file(origin / name, target / name)
    write_json(target / RECORD, record)


def _changed(own: Mapping[str, Any], call: Call[Any]) -> list[str]:
    """What the user has changed since; not what earlier steps have renewed, or do not make any more."""
    if own.get("function", _function(call)) != _function(call):
        # which of two functions stands at a place follows from what earlier steps have found
        return []
    lines = differences({name: own[name] for name in ("step", "version", "params", "inputs")}, call.described)
    derived = {*own["derived"], *call.derived}
    return [line for line in lines if line.partition(":")[0] not in derived]


def _changed_error(folder: Path, place: str, changed: Sequence[str]) -> ChangedError:
    return ChangedError(
        f"step '{place}' in {folder} was made with something else: {'; '.join(changed)}. "
        f"Use another --out, or --redo {place} to replace it and what follows."
    )


def _stat(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _edited(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """The files that are not what the step wrote: by size and time, and by content where a copy has another time."""
    found = []
    for name, digest in record["files"].items():
        path = folder / name
        if not path.is_file() or (_stat(path) != record["stats"].get(name) and file_digest(path) != digest):
            found.append(name)
    return found
