"""Finding a causal language model: a folder of transformers, an id, or a GGUF file, which becomes a folder once."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from denizen.engine.errors import InputError, reason
from denizen.engine.files import file_digest
from denizen.engine.user_cache import made_once
from denizen.retrievers.backbone import unpacked
from denizen.retrievers.loading import named_path, quiet_libraries
from denizen.retrievers.model_folder import check_backbone, is_llm

# raised by hand when what is made of a file changes
_VERSION = 1
_RECORD = "language_model.json"


def locate_language_model(name: str) -> Path:
    """The folder of a causal language model with its head, as `AutoModelForCausalLM.from_pretrained` loads it.

    Args:
        name: A folder of transformers, an id, or a GGUF file, whose weights are unpacked to 32-bit floats once and kept
            in the user's cache.

    Raises:
        InputError: When there is no such model, it is none that says the next token, or its files cannot be used.
    """
    path = named_path(name)
    if (path / "adapter_config.json").is_file():
        raise InputError(
            f"{name} is a PEFT adapter without its base; load both, call merge_and_unload on the PEFT model, save the "
            "whole and give that folder"
        )
    if not is_llm(path):
        raise InputError(
            f"{name} is no causal language model (its config.json names no architecture that ends in ForCausalLM); "
            "give a folder of transformers, an id, or a GGUF file"
        )
    if path.is_file():
        return _unpacked_once(path, name)
    check_backbone(path, name)
    return path


def _unpacked_once(path: Path, name: str) -> Path:
    made = {"source": file_digest(path), "version": _VERSION}
    return made_once("language_models", _RECORD, made, lambda folder: _unpack(path, name, folder))


def _unpack(path: Path, name: str, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_libraries()
    options = {"local_files_only": True, "gguf_file": path.name}
    weights = unpacked(path, name)
    try:
        # the bar of a file that is unpacked is drawn whatever the library is told
        with contextlib.redirect_stderr(io.StringIO()):
            model = AutoModelForCausalLM.from_pretrained(path.parent, **options, **weights)
            tokenizer = AutoTokenizer.from_pretrained(path.parent, **options)
    except Exception as error:
        # each part of the libraries has its own errors for a file that is not what it should be
        raise InputError(
            f"{name} cannot be read as a causal language model: {reason(error)}; give a whole GGUF file of an "
            "architecture that transformers knows"
        ) from error
    if hasattr(model.config, "quantization_config"):
        # what is saved is unpacked, and nothing is to be done about it when it is loaded
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
