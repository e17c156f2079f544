"""Language runs as one model, for vLLM, llama.cpp and Ollama: what is written, and what is refused."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from denizen.data.tables import rows_table, write_table
from denizen.engine.errors import GateError, InputError
from denizen.exports.chat_template import turns_of
from denizen.exports.language import export_language, modelfile
from denizen.language_models.language_model import LanguageModel
from tests.language_run import language_run
from tests.tiny_pair import END, TEMPLATE

ROWS = [[5, 6, 7, 8, 9], [9, 8, 20]]
CHATML = (
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n{{ turn['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return language_run(tmp_path_factory.mktemp("language") / "weather")


def test_an_expert_is_folded_in_and_plain_transformers_loads_it(run: Path, tmp_path: Path) -> None:
    adapters = {name: run / "experts" / name for name in ("answering", "structured")}
    evaluated = LanguageModel(run / "residual", adapters=adapters)
    for expert in (None, "structured"):
        out = tmp_path / str(expert)
        report = export_language(str(run), "merged", out, expert=expert)
        with evaluated.using(expert):
            wanted = evaluated.log_likelihoods(ROWS)
        model = AutoModelForCausalLM.from_pretrained(out)
        for row, likelihood in zip(ROWS, wanted, strict=True):
            ids = torch.tensor([row])
            assert -model(input_ids=ids, labels=ids).loss.item() * (len(row) - 1) == pytest.approx(likelihood, rel=1e-4)
        assert AutoTokenizer.from_pretrained(out).chat_template == TEMPLATE
        (told,) = report["log_likelihood"].values()
        assert abs(told["difference"]) < 1e-4 and not report["held_out"] and not report["forced"]
        assert set(report["files"]) == {
            path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and path.name != "export.json"
        }
        assert not (tmp_path / f".{out.name}.partial").exists()
        # the same again does nothing
        assert export_language(str(run), "merged", out, expert=expert) == report
    with pytest.raises(InputError, match="is there and holds no export of the same; give a new folder"):
        export_language(str(run), "merged", out)


def test_vllm_gets_the_adapters_and_a_command_that_names_them(run: Path, tmp_path: Path) -> None:
    report = export_language(str(run), "vllm", tmp_path / "out")
    command = shlex.split((tmp_path / "out/serve.txt").read_text())
    assert command[:5] == ["vllm", "serve", "./model", "--served-model-name", "weather"]
    assert command[command.index("--max-lora-rank") + 1] == "8"
    modules = dict(each.split("=") for each in command[command.index("--lora-modules") + 1 :])
    assert modules == {f"weather:{name}": f"./adapters/{name}" for name in ("answering", "structured")}
    assert all((tmp_path / "out" / place / "adapter_model.safetensors").is_file() for place in modules.values())
    assert list(report["log_likelihood"]) == ["residual", "answering", "structured"]
    assert len({round(of["export"], 4) for of in report["log_likelihood"].values()}) == 3
    with pytest.raises(InputError, match="for vllm all experts lie beside the model; leave --expert out"):
        export_language(str(run), "vllm", tmp_path / "other", expert="answering")


def _by_ollama(text: str, turns: list[tuple[str, str]]) -> str:
    """What Ollama makes of a template of the one shape that is written here."""
    template = re.search(r'TEMPLATE """(.*?)"""', text, re.DOTALL)
    assert template
    inner = re.fullmatch(r"\{\{ range \.Messages \}\}(.*)\{\{ end \}\}\{\{ end \}\}(.*)", template[1], re.DOTALL)
    assert inner
    branches = dict(re.findall(r'\{\{ (?:else )?if eq \.Role "(\w+)" \}\}(.*?)(?=\{\{ else|\Z)', inner[1], re.DOTALL))
    return "".join(branches[role].replace("{{ .Content }}", said) for role, said in turns) + inner[2]


@pytest.mark.parametrize("template", [TEMPLATE, CHATML])
def test_ollama_writes_what_the_chat_template_writes(template: str, run: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(run / "residual")
    tokenizer.chat_template = template
    text = modelfile(turns_of(tokenizer, "weather"), [END])
    turns = [("system", "Be short."), ("user", "hello"), ("assistant", "so"), ("user", "and\nthen")]
    messages = [{"role": role, "content": said} for role, said in turns]
    wanted = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert _by_ollama(text, turns) == wanted
    assert f'PARAMETER stop """{END}"""' in text and text.startswith("FROM ./model\n")


def test_a_modelfile_comes_with_the_model(run: Path, tmp_path: Path) -> None:
    report = export_language(str(run), "ollama", tmp_path / "out", expert="answering")
    assert {"Modelfile", "model/model.safetensors", "README.md"} <= set(report["files"])
    assert "ollama create weather --file Modelfile" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize(
    "template, why",
    [
        (None, "has no chat template, so nothing says how it is asked"),
        ("{{ messages | length }}" + TEMPLATE, "does more than to write something before and after each turn"),
        (TEMPLATE.replace("{{ turn['content'] }}", "{{ turn['content'] | upper }}"), "does more than to write"),
        (TEMPLATE.replace("<|end|>", "{{ '{{' }}"), "which a Modelfile would read as its own"),
    ],
)
def test_a_template_that_cannot_be_said_is_refused(template: str | None, why: str, run: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(run / "residual")
    tokenizer.chat_template = template
    with pytest.raises(InputError, match=why):
        modelfile(turns_of(tokenizer, "weather"), [END])


def test_a_template_that_puts_the_system_into_the_users_turn_has_none_of_its_own(run: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(run / "residual")
    tokenizer.chat_template = (
        "{% set first = messages[0]['content'] + '\n\n' if messages[0]['role'] == 'system' else '' %}"
        "{% for turn in messages if turn['role'] != 'system' %}<{{ turn['role'] }}>{% if loop.first %}{{ first }}"
        "{% endif %}{{ turn['content'] }}<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    found = turns_of(tokenizer, "weather")
    assert found.around == {"user": ("<user>", "<end>"), "assistant": ("<assistant>", "<end>")}


def _converter(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for llama.cpp's converter, which is a program on the PATH."""
    folder.mkdir()
    program = folder / "convert_hf_to_gguf.py"
    program.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_without_the_converter_it_is_said_what_to_install(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"converter convert_hf_to_gguf\.py is not on the PATH; install llama"):
        export_language(str(run), "gguf", tmp_path / "out")
    _converter(tmp_path / "bin", "sys.exit('Model architecture is not supported')", monkeypatch)
    with pytest.raises(InputError, match="cannot convert weather: Model architecture is not supported"):
        export_language(str(run), "gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_a_file_with_other_weights_is_refused_and_taken_by_force(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[3]
    wrong = f"sys.path.insert(0, {str(root)!r})\nfrom pathlib import Path\nfrom tests.tiny_gguf import tiny_gguf\n"
    _converter(tmp_path / "bin", wrong + "tiny_gguf(Path(sys.argv[3]))", monkeypatch)
    with pytest.raises(GateError, match=r"gguf of residual: the log-likelihood of a token changes by .* another model"):
        export_language(str(run), "gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = export_language(str(run), "gguf", tmp_path / "out", force=True)
    assert report["forced"] and set(report["files"]) == {"weather.gguf", "README.md"}
    assert json.loads((tmp_path / "out/export.json").read_text()) == report


def test_held_out_documents_of_the_run_are_what_is_read(run: Path, tmp_path: Path) -> None:
    """Of the documents of a corpus step those on the test side, which no near-duplicate in training has."""
    whole = tmp_path / "run"
    shutil.copytree(run, whole)
    (whole / "corpus").mkdir()
    texts = {"d1": "Rain falls.", "d2": "Wind blows.", "d3": "Snow lies."}
    rows = [
        {"doc_id": doc_id, "text": text, "parent_id": doc_id, "start": 0, "end": 9, "cluster": at, "parent_cluster": at}
        for at, (doc_id, text) in enumerate(texts.items())
    ]
    sides = [
        {"parent_id": doc_id, "split": split} for doc_id, split in zip(texts, ("train", "test", "test"), strict=True)
    ]
    write_table(whole / "corpus/corpus.parquet", rows_table("corpus", rows))
    write_table(whole / "corpus/documents.parquet", rows_table("documents", sides))
    report = export_language(str(whole), "merged", tmp_path / "out")
    # the letters of two texts and no special token: the first of each is not foreseen, or follows one that begins texts
    assert report["held_out"] and report["tokens"] in (len("Wind blows.Snow lies."), len("Wind blows.Snow lies.") - 2)


def test_an_expert_that_is_not_there_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no expert 'poet'; there are residual, answering, structured"):
        export_language(str(run), "merged", tmp_path / "out", expert="poet")
