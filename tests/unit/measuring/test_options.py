"""What options are measured by: which queries of a domain depend on each other, and what is in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from denizen.data.tables import rows_table, write_table
from denizen.data.union import Union
from denizen.measuring.options import _groups, _numbers


def test_a_domain_is_grouped_by_itself(tmp_path: Path) -> None:
    """One long document of a domain: by passage, however many documents another domain has."""
    passages = [(f"law/d{at}", "law/whole", "law") for at in range(20)]
    passages += [(f"web/d{at}", f"web/d{at}", "web") for at in range(20)]
    corpus = [{"doc_id": doc, "text": doc, "parent_id": parent, "domain": of} for doc, parent, of in passages]
    home = {f"{domain}/q{at}": domain for domain in ("law", "web") for at in range(20)}
    write_table(tmp_path / "corpus.parquet", rows_table("corpus", corpus))
    links = [(name, name.replace("/q", "/d"), 1) for name in home]
    write_table(tmp_path / "qrels.parquet", rows_table("qrels", links))
    found = _groups(Union.outside(tmp_path), home)
    assert len({found[name] for name, domain in home.items() if domain == "law"}) == 20


def test_weights_are_counted_as_floats_whatever_they_are_saved_as(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    torch = pytest.importorskip("torch")
    whole = {"weight": np.ones((3, 4), np.float32), "position_ids": np.arange(512)}
    save_file(whole, tmp_path / "model.safetensors")
    save_file({"weight": np.ones((3, 4), np.float16)}, tmp_path / "half.safetensors")
    torch.save({name: torch.from_numpy(of) for name, of in whole.items()}, tmp_path / "pytorch_model.bin")
    names = ("model.safetensors", "half.safetensors", "pytorch_model.bin")
    assert [_numbers(tmp_path / name) for name in names] == [12, 12, 12]
