"""Low-rank adapters on all linear layers of a model that is trained (LoRA, arXiv 2106.09685), by PEFT.

The weights of the model stay as they are, in bf16 where that is what is computed with; what is learnt is kept by itself
and folded into the model's own 32-bit weights at the end, so that what is saved is a model like any other.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from denizen.engine.errors import InputError, reason
from denizen.engine.files import read_json, write_json

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from sentence_transformers.base.model import BaseModel

_STATE = "adapter.safetensors"
# arXiv 2602.04731, as most of the field: twice the rank
_ALPHA = 2
_OWNER = "_denizen_adapted"


def attach(model: BaseModel, rank: int, learnt: Path | None = None, *, bf16: bool = False) -> PeftModel:
    """Puts adapters on all linear layers of a model's transformer, which are all that is trained from now on.

    Args:
        model: The model.
        rank: Of the adapters.
        learnt: The folder of adapters that go on learning; None: they begin with nothing.
        bf16: Whether the weights below them are rounded to bf16, as autocast would do in every step.

    Returns:
        The adapters, as `of` finds them again.

    Raises:
        InputError: When PEFT is missing or does not know the model's layers, or the adapters are of another model.
    """
    try:
        from peft import PeftModel, get_peft_model
    except ImportError:
        raise InputError("adapters need PEFT: pip install 'denizen[decoder]'; or set lora_rank to 0") from None
    for weights in model.parameters():
        weights.requires_grad_(False)
    transformer: Any = model[0].auto_model
    try:
        with warnings.catch_warnings():
            # PEFT asks transformers by names that are on their way out there
            warnings.simplefilter("ignore", FutureWarning)
            if learnt is None:
                adapted: PeftModel = get_peft_model(transformer, low_rank(rank))
            else:
                adapted = PeftModel.from_pretrained(transformer, str(learnt), is_trainable=True)
    except (ValueError, RuntimeError, OSError) as error:
        whose = f"those of {learnt}" if learnt else "new ones"
        raise InputError(
            f"adapters ({whose}) do not fit the model: {reason(error)}; give the model that they are of"
        ) from error
    if bf16:
        for name, module in transformer.named_modules():
            if type(module) is nn.Linear and name.endswith("base_layer"):
                module.to(torch.bfloat16)
    # beside the model's own modules: the model is saved and read as it was
    object.__setattr__(model, _OWNER, adapted)
    return adapted


def low_rank(rank: int) -> LoraConfig:
    """PEFT's settings of adapters of a rank on all linear layers."""
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=_ALPHA * rank, target_modules="all-linear", lora_dropout=0.0)


def of(model: BaseModel) -> PeftModel | None:
    """The adapters that `attach` has put on a model."""
    return getattr(model, _OWNER, None)


def save_adapters(adapted: PeftModel, folder: Path, name: str = "default") -> None:
    """Writes adapters by themselves, as PEFT reads them, without the paths of this machine.

    Args:
        adapted: What they are on.
        folder: Where to.
        name: Which of several.
    """
    with tempfile.TemporaryDirectory() as written:
        adapted.save_pretrained(written, selected_adapters=[name])
        # all but the first are written into a folder of their own
        origin = Path(written) if name == "default" else Path(written, name)
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("adapter_model.safetensors", "adapter_config.json"):
            shutil.copyfile(origin / file, folder / file)
    path = folder / "adapter_config.json"
    config = read_json(path)
    # a set of names, which another process would write in another order
    layers = sorted(config["target_modules"])
    write_json(path, {**config, "base_model_name_or_path": None, "target_modules": layers})


def fold(model: BaseModel, adapters: Path) -> None:
    """Adds what adapters have learnt to the weights of the model that they are of."""
    attach(model, 1, adapters).merge_and_unload()
    object.__delattr__(model, _OWNER)
    for weights in model.parameters():
        weights.requires_grad_(True)


def save_state(adapted: PeftModel, folder: Path) -> None:
    """Writes what is learnt so far into a checkpoint."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    learnt = {name: weights.detach().contiguous() for name, weights in _learning(adapted).items()}
    save_file(learnt, folder / _STATE)


def load_state(adapted: PeftModel, folder: Path) -> None:
    """Reads what a checkpoint holds."""
    from safetensors.torch import load_file

    kept, learning = load_file(folder / _STATE), _learning(adapted)
    with torch.no_grad():
        for name, weights in learning.items():
            weights.copy_(kept[name])


def _learning(adapted: PeftModel) -> dict[str, Any]:
    return {name: weights for name, weights in adapted.named_parameters() if weights.requires_grad}
