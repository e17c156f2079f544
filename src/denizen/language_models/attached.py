"""Low-rank adapters that lie in folders, put on one model in memory, so that they take turns over its weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.engine.errors import InputError, reason

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_WEIGHTS = "adapter_model.safetensors"
_FILES = ("adapter_config.json", _WEIGHTS)
_HOW = "give the folder of adapters that were trained on this model"


def attached(model: PreTrainedModel, adapters: Mapping[str, Path], *, learn: bool = False) -> PeftModel:
    """Puts adapters on a model, none of them in use.

    Args:
        model: What they are of; its layers are changed in place, its weights are not.
        adapters: Name to folder, as PEFT writes it; at least one.
        learn: Whether the first of them is in use and goes on learning.

    Raises:
        InputError: When PEFT is missing, or a folder holds no adapters of this model.
    """
    try:
        from peft import PeftModel
    except ImportError:
        raise InputError("adapters need PEFT: pip install 'denizen[language]'") from None
    found: PeftModel | None = None
    for name, folder in adapters.items():
        # else PEFT would ask the hub for it, or unpickle
        if missing := [file for file in _FILES if not (folder / file).is_file()]:
            raise InputError(f"{folder} holds no adapters as PEFT writes them: there is no {missing[0]}; {_HOW}")
        try:
            with warnings.catch_warnings():
                # what is missing is an error here, and PEFT asks transformers by names that are on their way out there
                warnings.filterwarnings("ignore", "Found missing adapter keys")
                warnings.simplefilter("ignore", FutureWarning)
                if found is None:
                    found = PeftModel.from_pretrained(model, str(folder), adapter_name=name, is_trainable=learn)
                else:
                    found.load_adapter(str(folder), name)
        except Exception as error:
            # each part of the libraries has its own errors for what does not fit
            raise InputError(f"the adapters in {folder} do not fit the model: {reason(error)}; {_HOW}") from error
        _check_whole(found, name, folder)
    if found is None:
        raise ValueError("there are no adapters to put on a model")
    if not learn:
        found.train(False)
        use(found, None)
    return found


def folded(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """A model with what adapters have learnt added to its weights, which are changed in place.

    Args:
        model: What they are of.
        adapter: Their folder.

    Raises:
        InputError: As of `attached`.
    """
    adapted = attached(model, {"default": adapter})
    adapted.set_adapter("default")
    found: PreTrainedModel = adapted.merge_and_unload()
    return found


def use(adapted: PeftModel, name: str | None) -> None:
    """Makes a model compute with one of its adapters; None: as it is without any."""
    layers: Any = adapted.base_model
    if name is None:
        layers.disable_adapter_layers()
        return
    layers.set_adapter(name, inference_mode=True)
    layers.enable_adapter_layers()


def _check_whole(adapted: PeftModel, name: str, folder: Path) -> None:
    """That a file holds what the model has places for, no more and no less; PEFT leaves the rest as it is."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(folder / _WEIGHTS, framework="pt") as file:
        held = set[str](file.keys())
    wanted = set(get_peft_model_state_dict(adapted, adapter_name=name))
    if apart := sorted(held ^ wanted):
        which = "more" if apart[0] in held else "less"
        raise InputError(f"{folder / _WEIGHTS} holds {which} than the model has places for, {apart[0]}; {_HOW}")
