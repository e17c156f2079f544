"""The mean of models by their weights, by hand."""

from __future__ import annotations

from pathlib import Path

import torch

from denizen.merging.soup import mean
from denizen.retrievers.loading import load_encoder


def test_every_weight_is_the_mean_of_all_and_the_first_model_is_what_it_was(tiny_encoder: Path, tmp_path: Path) -> None:
    before = load_encoder(tiny_encoder).state_dict()
    folders = [tiny_encoder]
    for number, shift in enumerate((0.3, 0.6)):
        model = load_encoder(tiny_encoder)
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(shift)
        folders.append(tmp_path / str(number))
        model.save_pretrained(str(folders[-1]), create_model_card=False)
    made = mean(folders)
    after = made.state_dict()
    assert after.keys() == before.keys()
    for name, weights in before.items():
        # buffers stay, parameters move by (0 + .3 + .6) / 3
        moved = 0.3 if name in dict(made.named_parameters()) else 0.0
        assert torch.allclose(after[name], weights + moved if moved else weights, atol=1e-6), name
    assert [*load_encoder(tiny_encoder).state_dict()] == [*before]
