"""`export` of a language run, or of a causal language model: as one model, for vLLM, llama.cpp and Ollama.

What was written is read again, and must find held-out text as probable as the model does that the run has measured.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.answering.speaker import RESIDUAL, SpeakerFolders, is_language_run, speaker_folders
from denizen.data.artifacts import Corpus, Documents
from denizen.engine.errors import GateError, InputError
from denizen.engine.files import file_digest, files_below, json_digest, locked, read_json, replace_folder, write_json
from denizen.engine.progress import Progress, Silent
from denizen.exports.chat_template import Turns, turns_of
from denizen.language_models.attached import folded
from denizen.language_models.language_model import LanguageModel, load_causal_lm, load_tokenizer
from denizen.language_models.locating import locate_language_model
from denizen.language_models.token_rows import token_rows
from denizen.measuring.perplexity import held_out
from denizen.measuring.provenance import SCHEMA, machine, versions
from denizen.retrievers.model_ref import model_digest

MANIFEST = "export.json"
# natural log-likelihood of a token that an export may lose or win: a tenth of a per cent of perplexity
LIMIT = 0.001
# what llama.cpp calls its converter, in its repository and in packages of distributions
_CONVERTERS = ("convert_hf_to_gguf.py", "convert-hf-to-gguf", "convert_hf_to_gguf")
# texts, and tokens of each, that are read before and after
_TEXTS, _TOKENS = 32, 256
_VERSION = 1
_PIPELINE = """```python
from transformers import pipeline

answer = pipeline("text-generation", "path/to/this/folder")
answer([{"role": "user", "content": "how is gout treated"}], do_sample=False)
```"""
# where no run has held anything out
_SAMPLES = tuple(f"Paragraph {number} says what is to be done, by whom, and until when." for number in range(8))


@dataclass(frozen=True)
class LanguageSubject:
    """What is exported.

    Attributes:
        name: What people call it.
        folders: Its parts.
        expert: The one that is folded in or read with; None: the model without experts.
        texts: What is read before and after.
        held_out: Whether a run has held these out; else they are made up.
    """

    name: str
    folders: SpeakerFolders
    expert: str | None
    texts: tuple[str, ...]
    held_out: bool

    def identity(self) -> str:
        """A digest of all that is exported and measured."""
        return json_digest([self.name, self.expert, self.texts, *map(model_digest, self.folders.parts)])


Write = Callable[[LanguageSubject, Path], str]


def export_language(
    source: str,
    kind: str,
    out: Path,
    *,
    expert: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Exports a language model.

    Args:
        source: A run of `language`, or a causal language model.
        kind: One of `LANGUAGE_KINDS`.
        out: The export's folder; it must be new, or hold the same export.
        expert: The expert that is folded in; None: none. For vllm all of them lie beside the model.
        force: Take an export that finds held-out text more or less probable than the model does.
        progress: Receives what a person should see.

    Returns:
        The contents of export.json.

    Raises:
        InputError: On wrong input, when something is missing that writes it, or when `out` holds something else.
        GateError: When it is not what the run has measured, and that is not forced.
    """
    progress, subject = progress or Silent(), _subject(source, kind, expert)
    identity = json_digest([kind, _VERSION, subject.identity()])
    found = read_json(out / MANIFEST)
    if isinstance(found, dict) and found.get("identity") == identity:
        return found
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out} is there and holds no export of the same; give a new folder")
    work = out.parent / f".{out.name}.partial"
    with locked(work, waits=lambda: progress.say(f"another process exports to {out}; waiting for it")):
        try:
            built = work / "export"
            shutil.rmtree(built, ignore_errors=True)
            built.mkdir()
            with progress.working("write"):
                usage = LANGUAGE_KINDS[kind](subject, built)
            with progress.working("measure"):
                measured = _measured(subject, kind, built)
            _check(measured, kind, force)
            _describe(subject, kind, usage, measured, built)
            files = {name: file_digest(built / name) for name in files_below(built)}
            manifest = {"schema": SCHEMA, "kind": kind, "name": subject.name, "expert": subject.expert, **measured}
            manifest |= {"versions": versions(), "machine": machine(), "identity": identity, "files": files}
            write_json(built / MANIFEST, manifest)
            replace_folder(built, out)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return manifest


def _subject(source: str, kind: str, expert: str | None) -> LanguageSubject:
    folders, place = speaker_folders(source), Path(source).expanduser()
    if expert is not None and expert != RESIDUAL and expert not in folders.adapters:
        raise InputError(f"{source} has no expert {expert!r}; there are {', '.join((RESIDUAL, *folders.adapters))}")
    if kind == "vllm" and expert is not None:
        raise InputError("for vllm all experts lie beside the model; leave --expert out")
    texts = _held_out(place) if is_language_run(place) else ()
    named = None if expert == RESIDUAL else expert
    name = place.resolve().name if place.exists() else source
    return LanguageSubject(name, folders, named, texts or _SAMPLES, bool(texts))


def _held_out(run: Path) -> tuple[str, ...]:
    """Texts that the run has measured on."""
    tables = (run / "corpus/corpus.parquet", run / "corpus/documents.parquet")
    if not all(path.is_file() for path in tables):
        return ()
    found = held_out(Corpus.outside(tables[0]), Documents.outside(tables[1]))
    return tuple(found.texts.values())[:_TEXTS]


def _merged(subject: LanguageSubject, folder: Path) -> str:
    """One model, the expert's adapters folded in, in 32-bit floats."""
    model = load_causal_lm(subject.folders.model)
    if subject.expert is not None:
        model = folded(model, subject.folders.adapters[subject.expert])
    model.save_pretrained(folder)
    load_tokenizer(subject.folders.model).save_pretrained(folder)
    return _PIPELINE


def _vllm(subject: LanguageSubject, folder: Path) -> str:
    """The model, its adapters beside it, and the command that serves them together."""
    _merged(LanguageSubject(subject.name, subject.folders, None, (), False), folder / "model")
    command = ["vllm", "serve", "./model", "--served-model-name", subject.name]
    ranks = list[int]()
    for name, adapter in subject.folders.adapters.items():
        own = folder / "adapters" / name
        own.mkdir(parents=True)
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(adapter / file, own / file)
        ranks.append(int(read_json(own / "adapter_config.json")["r"]))
    if ranks:
        modules = [f"{subject.name}:{name}=./adapters/{name}" for name in subject.folders.adapters]
        # vLLM takes these ranks, and refuses an adapter of a higher one
        most = next((rank for rank in (8, 16, 32, 64, 128, 256, 320, 512) if rank >= max(ranks)), max(ranks))
        command += ["--enable-lora", "--max-lora-rank", str(most), "--lora-modules", *modules]
    (folder / "serve.txt").write_text(f"{shlex.join(command)}\n", encoding="utf-8")
    return (
        f"In this folder:\n\n```bash\n{shlex.join(command)}\n```\n\nWhich expert a request is for is said by `model`."
    )


def _gguf(subject: LanguageSubject, folder: Path) -> str:
    """One file for llama.cpp, in 16-bit floats, by llama.cpp's own converter."""
    converter = next((found for name in _CONVERTERS if (found := shutil.which(name))), None)
    if converter is None:
        raise InputError(
            f"llama.cpp's converter {_CONVERTERS[0]} is not on the PATH; install llama.cpp's Python tools (its "
            "repository's requirements.txt, and its folder on the PATH), or export to merged and convert that there"
        )
    model, file = folder / "model", folder / f"{subject.name}.gguf"
    _merged(subject, model)
    done = subprocess.run(
        [converter, str(model), "--outfile", str(file), "--outtype", "f16"], capture_output=True, text=True, check=False
    )
    shutil.rmtree(model)
    if done.returncode or not file.is_file():
        said = (done.stderr or done.stdout).strip().splitlines()
        raise InputError(
            f"{Path(converter).name} cannot convert {subject.name}: {said[-1] if said else f'exit {done.returncode}'}"
        )
    return f"```bash\nllama-server --model {shlex.quote(file.name)}\n```"


def _ollama(subject: LanguageSubject, folder: Path) -> str:
    """One model and a Modelfile: the chat template as Ollama writes it, and what ends an answer."""
    tokenizer = load_tokenizer(subject.folders.model)
    turns = turns_of(tokenizer, subject.name)
    _merged(subject, folder / "model")
    (folder / "Modelfile").write_text(modelfile(turns, _ends(subject)), encoding="utf-8")
    told = f"In this folder:\n\n```bash\nollama create {shlex.quote(subject.name.lower())} --file Modelfile\n```"
    return (
        told if "system" in turns.around else f"{told}\n\nA system's turn is left out: the model has none of its own."
    )


def modelfile(turns: Turns, ends: Sequence[str]) -> str:
    """A Modelfile.

    Args:
        turns: What stands round turns; the token that texts begin with is written by Ollama itself.
        ends: The tokens that end an answer.

    Raises:
        InputError: When a text would be read as something else there.
    """
    texts = [text for pair in turns.around.values() for text in pair]
    if wrong := next((text for text in (*texts, turns.answer, *ends) if '"""' in text or "{{" in text), None):
        raise InputError(f"the chat template writes {wrong!r}, which a Modelfile would read as its own; export to gguf")
    branches, said = "", "if"
    for role, (before, after) in turns.around.items():
        branches += f'{{{{ {said} eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}'
        said = "else if"
    template = f"{{{{ range .Messages }}}}{branches}{{{{ end }}}}{{{{ end }}}}{turns.answer}"
    stops = "".join(f'PARAMETER stop """{end}"""\n' for end in ends)
    return f'FROM ./model\nTEMPLATE """{template}"""\nPARAMETER temperature 0\n{stops}'


def _ends(subject: LanguageSubject) -> list[str]:
    from denizen.language_models.language_model import end_tokens

    model = LanguageModel(subject.folders.model)
    return [str(model.tokenizer.convert_ids_to_tokens(token)) for token in end_tokens(model.model, model.tokenizer)]


# what can be written, and what writes it
LANGUAGE_KINDS: Mapping[str, Write] = {"merged": _merged, "vllm": _vllm, "gguf": _gguf, "ollama": _ollama}


def _measured(subject: LanguageSubject, kind: str, built: Path) -> dict[str, Any]:
    """The log-likelihood of a token, of each expert that was written, by the run's model and by the export."""
    adapters = subject.folders.adapters
    evaluated = LanguageModel(subject.folders.model, adapters=adapters)
    if kind == "vllm":
        exported = LanguageModel(built / "model", adapters={name: built / "adapters" / name for name in adapters})
        pairs = [(name, name) for name in (None, *adapters)]
    else:
        file = next(built.glob("*.gguf"), None)
        place = locate_language_model(str(file)) if file else built / ("model" if kind == "ollama" else "")
        exported, pairs = LanguageModel(place), [(subject.expert, None)]
    rows = [row[0] for row in token_rows(evaluated.tokenizer, subject.texts, _TOKENS, end=False) if row]
    count = sum(len(row) - 1 for row in rows)
    found = {}
    for before, after in pairs:
        with evaluated.using(before):
            own = sum(evaluated.log_likelihoods(rows)) / count
        with exported.using(after):
            other = sum(exported.log_likelihoods(rows)) / count
        found[before or RESIDUAL] = {"evaluated": own, "export": other, "difference": other - own}
    return {"log_likelihood": found, "tokens": count, "held_out": subject.held_out, "limit": LIMIT}


def _check(measured: dict[str, Any], kind: str, force: bool) -> None:
    worst, of = max(measured["log_likelihood"].items(), key=lambda item: abs(item[1]["difference"]))
    measured["forced"] = abs(of["difference"]) > LIMIT
    if measured["forced"] and not force:
        raise GateError(
            f"{kind} of {worst}: the log-likelihood of a token changes by {of['difference']:+.4f} from "
            f"{of['evaluated']:.4f} on {measured['tokens']:,} tokens, and {LIMIT:g} at most may; this is another model "
            "than the one that was measured. Take another kind, or give --force"
        )


def _describe(subject: LanguageSubject, kind: str, usage: str, measured: dict[str, Any], built: Path) -> None:
    what = "held-out text" if measured["held_out"] else "made-up text"
    lines = [f"# {subject.name} as {kind}", usage]
    lines.append(f"Log-likelihood of a token of {what} ({measured['tokens']:,} tokens):")
    for name, of in measured["log_likelihood"].items():
        lines.append(f"{name}: {of['export']:.4f}, {of['evaluated']:.4f} as evaluated.")
    (built / "README.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
