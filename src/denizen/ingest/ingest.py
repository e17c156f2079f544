"""`ingest`: files of any kind in, a clean corpus of passages out.

    paths -> files -> parts (one a file, read by fenced-off processes) -> documents (cleaned) -> passages -> corpus

Run again after files were added, changed or removed, it reads the difference; the ids of unchanged passages stay.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from denizen import __version__
from denizen.data.tables import read_table
from denizen.engine.errors import InputError
from denizen.engine.files import file_digest, write_json
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import held
from denizen.ingest.collection import ReadCollection
from denizen.ingest.corpus_tables import write_corpus
from denizen.ingest.document import Failure, Limits
from denizen.ingest.document_cleaning import CleaningSettings
from denizen.ingest.files import FoundFile, found_files, printable
from denizen.ingest.layout import layout_is_installed
from denizen.ingest.libraries import check_libraries
from denizen.ingest.parts import READING_VERSION, Parts, part_key
from denizen.ingest.passages import Cutter, character_cutter, token_cutter
from denizen.ingest.personal_data import PersonalData
from denizen.ingest.repeated_lines import RepeatedLines
from denizen.ingest.sandbox import Request, Sandbox
from denizen.ingest.settings import WITHOUT_EFFECT, IngestConfig
from denizen.ingest.text import shortened
from denizen.ingest.tokenizer import load_tokenizer

_REPORT = "ingest.json"
_PARTS = ".parts"
_SECRET = ".secret"
# lines of a list that are printed
_SHOWN = 10
# characters of a text that was left out
_LONGEST_DROP = 200
# raised when a key of ingest.json changes its meaning
_SCHEMA = 1
_READING = ("personal_data", "person_names", "country", "docling")


def ingest(
    config: IngestConfig,
    out: Path,
    *,
    leave_out: Sequence[Path] = (),
    again: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Reads files into a corpus, or brings a corpus up to date with its files.

    Args:
        config: The settings.
        out: The corpus's folder: `corpus.jsonl` (BEIR) and the tables that docs/ingest.md describes.
        leave_out: Folders within the paths that do not count, beside `out`.
        again: Whether files are read again whose reading was stopped (by time, a crash); otherwise what was read of
            them stands as long as no file has changed.
        progress: Receives what a person should see.

    Returns:
        The contents of `ingest.json`.

    Raises:
        InputError: On wrong settings, without the libraries that read files, or when no document could be read.
    """
    progress = progress or Silent()
    check_libraries()
    cutter = _cutter(config)
    if config.docling and not layout_is_installed():
        raise InputError("docling is not installed: pip install 'denizen[docling]', or leave --docling out")
    with held(out, begun=(_PARTS,)):
        began = time.monotonic()
        found = _without_personal_data(list(found_files(config.paths, (out, *leave_out))), config, out)
        files = [item for item in found if isinstance(item, FoundFile)]
        unseen = [item for item in found if isinstance(item, Failure)]
        if not files:
            raise InputError(f"{', '.join(config.paths)} holds no file that can be read")
        limits = Limits(seconds=config.timeout, memory_mb=config.memory_mb)
        parts = Parts(out / _PARTS, limits)
        reading = _reading(config, out)
        keyed, unread = _keyed(files, out, reading)
        unseen += unread
        waiting = again and any(parts.waits(key) for _, key in keyed)
        report = None if waiting else _up_to_date(config, out, keyed, unseen)
        if report is not None:
            progress.skipped("ingest")
            return report
        read = _read(keyed, parts, limits, config, progress)
        with progress.working("passages"):
            report = _write(config, out, keyed, unseen, parts, cutter)
            progress.note(f"{report['passages']:,} passages of {report['documents']:,} documents")
            if report["failures"]:
                progress.note(f"{report['failures']:,} could not be read")
        parts.forget({key for _, key in keyed})
        report |= {"reading_state": reading, "reading": read, "seconds": round(time.monotonic() - began, 2)}
        write_json(out / _REPORT, report)
    return report


def _cutter(config: IngestConfig) -> Cutter:
    if not config.passage_tokens:
        return character_cutter(config.passage_chars)
    return token_cutter(config.passage_tokens, load_tokenizer(config.tokenizer))


def _without_personal_data(
    found: Sequence[FoundFile | Failure], config: IngestConfig, out: Path
) -> list[FoundFile | Failure]:
    """What was found under names that name nobody; where it lies stays in `files.parquet`, since it is read there."""
    if not config.personal_data:
        return list(found)
    personal = PersonalData(_secret(out), config.country, config.person_names)
    named: list[FoundFile | Failure] = []
    taken: set[str] = set()
    for item in found:
        name = personal.replaced(item.name)
        if name in taken:
            # two ways to write one number
            name = f"{name}~{hashlib.sha256(item.name.encode()).hexdigest()[:6]}"
        taken.add(name)
        if isinstance(item, FoundFile):
            named.append(replace(item, name=name, folder=personal.replaced(item.folder)))
        else:
            named.append(replace(item, name=name))
    return named


def _reading(config: IngestConfig, out: Path) -> str:
    """The digest of all but the file itself that decides what is read of it."""
    # what has been labelled with another secret is read again, so that a label stands for one person
    secret = hashlib.sha256(b"part" + _secret(out)).hexdigest() if config.personal_data else ""
    facts = [READING_VERSION, {name: getattr(config, name) for name in _READING}, secret]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _keyed(files: Sequence[FoundFile], out: Path, reading: str) -> tuple[list[tuple[FoundFile, str]], list[Failure]]:
    """Each file with the key of what is read of it, and the files that cannot be opened.

    A file of the same size and time as before is not opened.
    """
    known: dict[tuple[str, str, int, int], str] = {}
    before = _report(out)
    if before and before["reading_state"] == reading:
        with contextlib.suppress(InputError):
            for row in read_table(out / "files.parquet", "files").to_pylist():
                known[row["name"], row["path"], row["size"], row["modified"]] = row["key"]
    keyed, unread = [], []
    for file in files:
        key = known.get((file.name, printable(file.path.absolute()), file.size, file.modified))
        try:
            keyed.append((file, key or part_key(file.path, file.path.name, {"reading": reading})))
        except OSError as error:
            unread.append(Failure(file.name, f"cannot be opened ({error.strerror})"))
    return keyed, unread


def _up_to_date(
    config: IngestConfig, out: Path, keyed: Sequence[tuple[FoundFile, str]], unseen: Sequence[Failure]
) -> dict[str, Any] | None:
    """The report of the corpus that is there, where nothing has changed since."""
    before = _report(out)
    if before is None or before["state"] != _state(config, keyed, unseen):
        return None
    intact = all((out / name).is_file() and file_digest(out / name) == own for name, own in before["digests"].items())
    return before if intact else None


def _report(out: Path) -> dict[str, Any] | None:
    """The contents of a corpus's `ingest.json`; None where there is none that can be read."""
    try:
        found = json.loads((out / _REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("schema") == _SCHEMA else None


def _state(config: IngestConfig, keyed: Sequence[tuple[FoundFile, str]], unseen: Sequence[Failure]) -> str:
    """The digest of all that decides what the corpus holds."""
    settings = {name: value for name, value in config.as_dict().items() if name not in ("paths", *WITHOUT_EFFECT)}
    facts = [settings, [[file.name, file.folder, key] for file, key in keyed], [asdict(item) for item in unseen]]
    return hashlib.sha256(json.dumps([__version__, *facts], sort_keys=True).encode()).hexdigest()


def _read(
    keyed: Sequence[tuple[FoundFile, str]], parts: Parts, limits: Limits, config: IngestConfig, progress: Progress
) -> dict[str, Any]:
    """Reads what was not read before; returns how much that was and how long it took."""
    wanted = {key: file for file, key in keyed if parts.waits(key)}
    size = sum(file.size for file in wanted.values())
    facts: dict[str, Any] = {"files": len(wanted), "megabytes": round(size / 1e6, 2), "seconds": 0.0}
    if not wanted:
        return facts
    out = parts.folder.parent
    cleaning = CleaningSettings(personal_data=config.personal_data, names=config.person_names, country=config.country)
    settings = {"docling": config.docling, "cleaning": asdict(cleaning), "secret": _secret(out).hex()}
    # the largest first, so that none of them is left over at the end
    order = sorted(wanted.items(), key=lambda item: (-item[1].size, item[1].name))
    requests = [Request(file.path, file.path.name, key, parts.being_read(key)) for key, file in order]
    began = time.monotonic()
    workers = min(config.workers or os.cpu_count() or 1, len(requests))
    unit, name = (1e6, "MB") if size > 1e7 else (1e3, "kB")
    with (
        progress.working("reading"),
        progress.bar(max(1, round(size / unit)), f"{name} of {len(wanted):,} files") as advance,
    ):
        done = shown = 0
        with Sandbox(workers, limits, settings, out / ".unpacked") as sandbox:
            for result in sandbox.read_all(requests):
                parts.keep(result.request.key, result.failure, result.limited)
                done += wanted[result.request.key].size
                advance(round(done / unit) - shown)
                shown = round(done / unit)
        seconds = time.monotonic() - began
        progress.note(f"{size / unit / seconds:.1f} {name}/s")
    return {**facts, "seconds": round(seconds, 2)}


def _write(
    config: IngestConfig,
    out: Path,
    keyed: Sequence[tuple[FoundFile, str]],
    unseen: Sequence[Failure],
    parts: Parts,
    cutter: Cutter,
) -> dict[str, Any]:
    before = _report(out) or {}
    repeated = RepeatedLines(before.get("repeated_lines", ())) if config.repeated_lines else None
    kept = _kept(out) if before else set()
    collection = ReadCollection(keyed, parts, config.languages, config.min_letters, repeated, kept)
    facts = write_corpus(collection, out, cutter, unseen, config.near_duplicate)
    return {
        "schema": _SCHEMA,
        "denizen": __version__,
        "settings": config.as_dict(),
        "state": _state(config, keyed, unseen),
        **facts,
        "repeated_lines": list(repeated.decided) if repeated else [],
    }


def ingest_lines(report: Mapping[str, Any], out: Path, explain_drops: bool = False) -> list[str]:
    """What became of the files, for people.

    Args:
        report: The contents of `ingest.json`.
        out: The corpus's folder.
        explain_drops: Whether each text that was left out is listed, by reason.
    """
    lines = [
        f"{report['passages']:,} passages of {report['documents']:,} documents from {report['files']:,} files "
        f"({report['characters'] / 1e6:,.1f} M characters)",
        _counted("domains", report["domains"]),
        _counted("languages", report["languages"]),
        _counted("dropped", report["dropped"]),
        _counted("personal data replaced", report["personal_data"]),
        f"encoding repaired in {report['repaired']:,} blocks" if report["repaired"] else "",
        f"{report['near_duplicate_passages']:,} passages are near-duplicates of another one; they stay, and never "
        "stand on two sides of a split"
        if report["near_duplicate_passages"]
        else "",
    ]
    if report["failures"]:
        failed = read_table(out / "failures.parquet", "failures").to_pylist()
        lines.append(f"{len(failed):,} could not be read (failures.parquet):")
        lines += [f"  {row['key']}: {row['error']}" for row in failed[:_SHOWN]]
        lines += [f"  and {len(failed) - _SHOWN:,} more"] if len(failed) > _SHOWN else []
    lines += _drops(out) if explain_drops else []
    lines.append(f"corpus: {out.as_posix()}")
    return [line for line in lines if line]


def _drops(out: Path) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for row in read_table(out / "dropped.parquet", "dropped_texts").to_pylist():
        by_reason.setdefault(row["reason"], []).append(f"  {row['doc_id']}: {shortened(row['text'], _LONGEST_DROP)}")
    return [line for reason, lines in by_reason.items() for line in (f"left out, {reason} ({len(lines):,}):", *lines)]


def _counted(what: str, counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:_SHOWN])
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return f"{what}: {shown}{more}" if counts else ""


def _kept(out: Path) -> set[str]:
    """The documents that the corpus has; none where its table cannot be read."""
    try:
        return set(pq.read_table(out / "texts.parquet", columns=["doc_id"])["doc_id"].to_pylist())
    except (OSError, pa.ArrowException):
        return set()


def _secret(out: Path) -> bytes:
    """What the labels of personal data are made with; without it nobody can try out who stands behind a label."""
    path = out / _SECRET
    if not path.is_file():
        temporary = out / f"{_SECRET}.partial"
        temporary.touch(mode=0o600)
        temporary.write_bytes(secrets.token_bytes(32))
        temporary.replace(path)
    return path.read_bytes()
