"""`ingest`: files of any kind in, a clean corpus of passages out.

    paths -> files -> parts (one a file, read by fenced-off processes) -> documents (cleaned) -> passages -> corpus

Run again after files were added, changed or removed, it reads the difference; the ids of unchanged passages stay.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from denizen import __version__
from denizen.core.errors import InputError
from denizen.core.ingest_config import WITHOUT_EFFECT, IngestConfig
from denizen.core.progress import Progress, Silent
from denizen.core.stage import file_digest, write_json
from denizen.core.tables import read_table
from denizen.documents.collection import ReadCollection
from denizen.documents.document import Failure, Limits
from denizen.documents.document_cleaning import CleaningSettings
from denizen.documents.files import FoundFile, found_files
from denizen.documents.layout import layout_is_installed
from denizen.documents.parts import Parts, part_key
from denizen.documents.passages import Cutter, character_cutter, token_cutter
from denizen.documents.personal_data import PersonalData
from denizen.documents.repeated_lines import RepeatedLines
from denizen.documents.sandbox import Request, Sandbox
from denizen.recipes.corpus_tables import write_corpus
from denizen.recipes.run_folder import held

REPORT = "ingest.json"
_PARTS = ".parts"
_SECRET = ".secret"
# lines of a list that are printed
_SHOWN = 10
_READING = ("personal_data", "person_names", "country", "docling")


def ingest(config: IngestConfig, out: Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Reads files into a corpus, or brings a corpus up to date with its files.

    Args:
        config: The settings.
        out: The corpus's folder: `corpus.jsonl` (BEIR) and the tables that docs/ingest.md describes.
        progress: Receives what a person should see.

    Returns:
        The contents of `ingest.json`.

    Raises:
        InputError: On wrong settings, or when no document could be read.
    """
    progress = progress or Silent()
    cutter = _cutter(config)
    if config.docling and not layout_is_installed():
        raise InputError("docling is not installed: pip install 'denizen[docling]', or leave --docling out")
    with held(out, begun=(_PARTS,)):
        began = time.monotonic()
        found = _without_personal_data(list(found_files(config.paths, out)), config, out)
        files = [item for item in found if isinstance(item, FoundFile)]
        unseen = [item for item in found if isinstance(item, Failure)]
        if not files:
            raise InputError(f"{', '.join(config.paths)} holds no file that can be read")
        parts = Parts(out / _PARTS)
        keyed = _keyed(files, out, config)
        report = _up_to_date(config, out, keyed, unseen, parts)
        if report is not None:
            progress.skipped("ingest")
            return report
        read = _read(keyed, parts, config, out, progress)
        with progress.working("passages"):
            report = _write(config, out, keyed, unseen, parts, cutter)
            progress.note(f"{report['passages']:,} passages of {report['documents']:,} documents")
        parts.forget({key for _, key in keyed})
        if not report["documents"]:
            raise InputError(_nothing(report, out))
        report |= {"reading": read, "seconds": round(time.monotonic() - began, 2)}
        write_json(out / REPORT, report)
    return report


def _cutter(config: IngestConfig) -> Cutter:
    if not config.passage_tokens:
        return character_cutter(config.passage_chars)
    from tokenizers import Tokenizer

    from denizen.models.encoder import locate

    folder = locate(config.tokenizer)
    found = next((path for path in (folder / "tokenizer.json", folder / "bert/tokenizer.json") if path.is_file()), None)
    if found is None:
        raise InputError(f"{config.tokenizer} has no tokenizer.json; give another --tokenizer or use --passage-chars")
    return token_cutter(config.passage_tokens, Tokenizer.from_file(str(found)))


def _without_personal_data(
    found: Sequence[FoundFile | Failure], config: IngestConfig, out: Path
) -> list[FoundFile | Failure]:
    """What was found under names that name nobody; where it lies stays in `files.parquet`, since it is read there."""
    if not config.personal_data:
        return list(found)
    personal = PersonalData(_secret(out), config.country, config.person_names)
    named: list[FoundFile | Failure] = []
    for item in found:
        name = personal.replaced(item.name)
        if isinstance(item, FoundFile):
            named.append(replace(item, name=name, folder=personal.replaced(item.folder)))
        else:
            named.append(replace(item, name=name))
    return named


def _keyed(files: Sequence[FoundFile], out: Path, config: IngestConfig) -> list[tuple[FoundFile, str]]:
    """Each file with the key of what was read of it; a file of the same size and time as before is not opened."""
    settings = config.only(*_READING)
    known: dict[tuple[str, str, int, int], str] = {}
    before = read_report(out)
    if before and {name: before["settings"][name] for name in _READING} == settings:
        for row in read_table(out / "files.parquet", "files").to_pylist():
            known[row["name"], row["path"], row["size"], row["modified"]] = row["key"]
    keyed = []
    for file in files:
        key = known.get((file.name, str(file.path.absolute()), file.size, file.modified))
        keyed.append((file, key or part_key(file.path, file.path.name, settings)))
    return keyed


def _up_to_date(
    config: IngestConfig,
    out: Path,
    keyed: Sequence[tuple[FoundFile, str]],
    unseen: Sequence[Failure],
    parts: Parts,
) -> dict[str, Any] | None:
    """The report of the corpus that is there, where nothing has changed since."""
    before = read_report(out)
    if before is None or before["state"] != _state(config, keyed, unseen) or any(parts.waits(key) for _, key in keyed):
        return None
    intact = all((out / name).is_file() and file_digest(out / name) == own for name, own in before["digests"].items())
    return before if intact else None


def read_report(out: Path) -> dict[str, Any] | None:
    """The contents of a corpus's `ingest.json`; None where there is none."""
    path = out / REPORT
    if not path.is_file() or not (out / "files.parquet").is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _state(config: IngestConfig, keyed: Sequence[tuple[FoundFile, str]], unseen: Sequence[Failure]) -> str:
    """The digest of all that decides what the corpus holds."""
    settings = {name: value for name, value in config.as_dict().items() if name not in ("paths", *WITHOUT_EFFECT)}
    facts = [settings, [[file.name, file.folder, key] for file, key in keyed], [asdict(item) for item in unseen]]
    return hashlib.sha256(json.dumps([__version__, *facts], sort_keys=True).encode()).hexdigest()


def _read(
    keyed: Sequence[tuple[FoundFile, str]], parts: Parts, config: IngestConfig, out: Path, progress: Progress
) -> dict[str, Any]:
    """Reads what was not read before; returns how much that was and how long it took."""
    wanted = {key: file for file, key in keyed if parts.waits(key)}
    size = sum(file.size for file in wanted.values())
    facts: dict[str, Any] = {"files": len(wanted), "megabytes": round(size / 1e6, 2), "seconds": 0.0}
    if not wanted:
        return facts
    limits = Limits(seconds=config.timeout, memory_mb=config.memory_mb)
    cleaning = CleaningSettings(config.personal_data, config.person_names, config.languages, config.country)
    settings = {"docling": config.docling, "cleaning": asdict(cleaning), "secret": _secret(out).hex()}
    # the largest first, so that none of them is left over at the end
    order = sorted(wanted.items(), key=lambda item: (-item[1].size, item[1].name))
    requests = [Request(file.path, file.path.name, key, parts.being_read(key)) for key, file in order]
    began = time.monotonic()
    workers = min(config.workers or os.cpu_count() or 1, len(requests))
    with progress.working("reading"), progress.bar(max(1, round(size / 1e6)), "MB") as advance:
        done = shown = 0
        with Sandbox(workers, limits, settings, out / ".unpacked") as sandbox:
            for result in sandbox.read_all(requests):
                parts.keep(result.request.key, result.failure)
                done += wanted[result.request.key].size
                advance(round(done / 1e6) - shown)
                shown = round(done / 1e6)
        seconds = time.monotonic() - began
        progress.note(f"{len(wanted):,} files, {size / 1e6 / seconds:.1f} MB/s")
    return {**facts, "seconds": round(seconds, 2)}


def _write(
    config: IngestConfig,
    out: Path,
    keyed: Sequence[tuple[FoundFile, str]],
    unseen: Sequence[Failure],
    parts: Parts,
    cutter: Cutter,
) -> dict[str, Any]:
    before = read_report(out) or {}
    repeated = RepeatedLines(before.get("repeated_lines", ())) if config.repeated_lines else None
    kept = set(read_table(out / "texts.parquet", "texts")["doc_id"].to_pylist()) if before else ()
    collection = ReadCollection(keyed, parts, config.languages, config.min_letters, repeated, kept)
    facts = write_corpus(collection, out, cutter, unseen, config.near_duplicate)
    return {
        "denizen": __version__,
        "settings": config.as_dict(),
        "state": _state(config, keyed, unseen),
        **facts,
        "repeated_lines": list(repeated.decided) if repeated else [],
    }


def ingest_lines(report: Mapping[str, Any], out: Path) -> list[str]:
    """What became of the files, for people."""
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
    lines.append(f"corpus: {out.as_posix()}")
    return [line for line in lines if line]


def _counted(what: str, counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:_SHOWN])
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return f"{what}: {shown}{more}" if counts else ""


def _nothing(report: Mapping[str, Any], out: Path) -> str:
    """What to say where no document is left."""
    failures = read_table(out / "failures.parquet", "failures").to_pylist()
    reasons = [f"{row['key']}: {row['error']}" for row in failures]
    reasons += [f"{count:,} dropped: {reason}" for reason, count in report["dropped"].items()]
    shown = "\n".join(f"  {line}" for line in reasons[:5])
    return f"no document could be read of {report['files']:,} file(s):\n{shown}"


def _secret(out: Path) -> bytes:
    """What the labels of personal data are made with; without it nobody can try out who stands behind a label."""
    path = out / _SECRET
    if not path.is_file():
        temporary = out / f"{_SECRET}.partial"
        temporary.touch(mode=0o600)
        temporary.write_bytes(secrets.token_bytes(32))
        temporary.replace(path)
    return path.read_bytes()
