"""`export`: what a run ships in another form, which is measured on the run's test before it is called done.

Beside the export's folder one with a dot in front holds what is not finished: what was written and what was measured.
An export that was stopped goes on there, and one that was refused is taken from there with `force`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from denizen.engine.errors import DenizenError, GateError, InputError, reason
from denizen.engine.files import file_digest, files_below, json_digest, locked, read_json, replace_folder, write_json
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import writing
from denizen.engine.versions import installed
from denizen.exports import semantic_router
from denizen.exports.exported_encoder import in_place_of
from denizen.exports.kinds import KINDS, NAMES, Kind
from denizen.exports.language import LANGUAGE_KINDS
from denizen.exports.measured import bytes_in, measure, searching_by, vectors_alike
from denizen.exports.readme import readme
from denizen.exports.subject import Subject, subject_of
from denizen.measuring.provenance import SCHEMA, machine, versions
from denizen.retrievers.loading import quiet_libraries
from denizen.serve.live_encoder import LiveEncoders, VectorCache

MANIFEST = "export.json"
# of mean nDCG@10: what a gate of forgetting lets go, too
LIMIT = 0.005
_STATE, _BUILT, _SCRATCH = "state.json", "export", "encoders"
# raised when this package writes something else from the same
_VERSION = 1


def export(
    source: str,
    kind: str,
    out: Path,
    *,
    data: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Exports what a run ships, or a model.

    Args:
        source: A finished run, a saved retriever, or a model's folder or id.
        kind: One of `NAMES`.
        out: The export's folder; it must be new, or hold the same export.
        data: A BEIR folder whose passages are exported and whose test is measured on, instead of the run's; for
            semantic-router one whose queries are of none of the run's domains.
        force: Take an export that loses more than .005 of nDCG@10.
        progress: Receives what a person should see.

    Returns:
        The contents of export.json.

    Raises:
        InputError: On wrong input, or when `out` holds something else.
        GateError: When the export loses too much, and that is not forced.
    """
    if kind not in NAMES:
        raise InputError(f"there is no export to {kind!r}; there are {', '.join((*NAMES, *LANGUAGE_KINDS))}")
    progress, work = progress or Silent(), out.parent / f".{out.name}.partial"
    quiet_libraries()
    with _working_in(work, out, progress):
        encoders = LiveEncoders(work / _SCRATCH, VectorCache(0))
        if kind in KINDS:
            KINDS[kind].check()
            with progress.working("read"):
                subject = subject_of(source, data, encoders, progress)
            of_libraries = {name: installed(name) for name in _LIBRARIES}
            identity = json_digest([kind, _VERSION, subject.identity(), of_libraries, KINDS[kind].place()])
            return _there(out, identity) or _Exporting(subject, kind, work, out, identity, progress).done(force)
        with progress.working("read"):
            router = semantic_router.router_of(source, data, encoders, progress)
        identity = json_digest([kind, _VERSION, asdict(router)])
        if found := _there(out, identity):
            return found
        semantic_router.write(router, _emptied(work / _BUILT))
        return _take(work / _BUILT, out, kind, identity, router.report())


@contextmanager
def _working_in(work: Path, out: Path, progress: Progress) -> Iterator[None]:
    """Holds the folder of what is not finished; it is gone afterwards, unless there is something to go on with."""
    work.parent.mkdir(parents=True, exist_ok=True)
    keep = False
    with locked(work, waits=lambda: progress.say(f"another process exports to {out}; waiting for it")), writing(work):
        try:
            yield
        except GateError:
            keep = True
            raise
        except DenizenError:
            keep = (work / _STATE).is_file()
            raise
        except BaseException:
            keep = True
            raise
        finally:
            if not keep:
                # who has waited for another one finds it gone
                shutil.rmtree(work, ignore_errors=True)


# what decides what is written
_LIBRARIES = ("torch", "transformers", "sentence-transformers", "onnxruntime", "openvino")


def _there(out: Path, identity: str) -> dict[str, Any] | None:
    """The manifest of the same export, where it is done already.

    Raises:
        InputError: When something else is there.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give a new folder")
    found = read_json(out / MANIFEST)
    if isinstance(found, dict) and found.get("identity") == identity:
        return found
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"--out {out} is not empty and holds no export of the same; give a new folder")
    return None


@dataclass(frozen=True)
class _Exporting:
    """An export that is written, measured and taken, from wherever an earlier process has left it."""

    subject: Subject
    kind: str
    work: Path
    out: Path
    identity: str
    progress: Progress

    @property
    def of(self) -> Kind:
        """Its kind."""
        return KINDS[self.kind]

    @property
    def built(self) -> Path:
        """Where it is written."""
        return self.work / _BUILT

    def done(self, force: bool) -> dict[str, Any]:
        """All that is left to do; the contents of export.json."""
        state = read_json(self.work / _STATE)
        if not isinstance(state, dict) or state.get("identity") != self.identity:
            with self.progress.working("write"):
                self._write()
            state = {"identity": self.identity}
            write_json(self.work / _STATE, state)
        if "measured" not in state:
            with self.progress.working("measure"):
                state["measured"] = self._measured()
            write_json(self.work / _STATE, state)
        measured: dict[str, Any] = state["measured"]
        lost = -measured["difference"]["nDCG@10"]["value"] if "difference" in measured else 0.0
        if lost > LIMIT and not force:
            raise GateError(self._refusal(measured))
        self.of.finish(self.subject)
        (self.built / "README.md").write_text(readme(self.subject, self.kind, measured), encoding="utf-8")
        report = {"name": self.subject.name, "model": self.subject.described(), **measured}
        report |= {} if self.subject.corpus is None else {"passages": len(self.subject.corpus)}
        report |= {"limit": LIMIT, "forced": lost > LIMIT}
        return _take(self.built, self.out, self.kind, self.identity, report)

    def _write(self) -> None:
        try:
            self.of.write(self.subject, _emptied(self.built))
        except (DenizenError, OSError):
            raise
        except Exception as error:
            # an exporter that does not know an architecture says so by an error of any type
            raise InputError(
                f"{self.subject.name} cannot be written as {self.of.title} ({type(error).__name__}: {reason(error)}); "
                "export it to another kind"
            ) from error

    def _measured(self) -> dict[str, Any]:
        subject, test = self.subject, self.subject.test
        if self.of.is_model:
            sizes = {"evaluated": bytes_in(subject.model.folder), "export": bytes_in(self.built)}
            encoder = self.of.encoder(subject, self.built)
            if test is None:
                return {"bytes": sizes, "cosines": vectors_alike(encoder, subject.model.encoder)}
            ours = in_place_of(subject, encoder)
            search = searching_by(ours, ours.index(subject.passages, self.progress), self.progress)
            return {"bytes": sizes, **measure(subject, test, search, self.progress)}
        sizes = {"evaluated": 4 * subject.dim * len(subject.rows.owners), "export": bytes_in(self.built)}
        if test is None:
            raise InputError(f"{subject.name} has no test to measure on; give --data and a BEIR folder")
        with self.of.opened(subject, self.built) as search:
            return {"bytes": sizes, "rows": len(subject.rows.owners), **measure(subject, test, search, self.progress)}

    def _refusal(self, measured: dict[str, Any]) -> str:
        lost, before = measured["difference"]["nDCG@10"], measured["means"]["evaluated"]["nDCG@10"]
        return (
            f"{self.of.title}: nDCG@10 changes by {lost['value']:+.4f} [{lost['low']:+.4f}, {lost['high']:+.4f}] from "
            f"{before:.4f} on {measured['queries']:,} test queries, and {LIMIT:g} at most may be lost; take another "
            "kind, or give --force, which takes this one without doing it again"
        )


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _take(built: Path, out: Path, kind: str, identity: str, report: dict[str, Any]) -> dict[str, Any]:
    """Writes the manifest, and gives what was written its place."""
    files = {name: file_digest(built / name) for name in files_below(built)}
    manifest = {"schema": SCHEMA, "kind": kind, **report, "versions": versions(), "machine": machine()}
    manifest |= {"identity": identity, "files": files}
    write_json(built / MANIFEST, manifest)
    replace_folder(built, out)
    return manifest
