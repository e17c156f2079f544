"""The code on the pages about extending Denizen does what the pages say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs/extending").glob("*.md"))


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "README"], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    names: dict[str, object] = {"__name__": f"page_{page.stem}"}
    from denizen.retrievers.saved import KINDS
    from denizen.training.losses import LOSSES

    kinds, losses = dict(KINDS), dict(LOSSES)
    try:
        exec(compile("\n".join(blocks), str(page), "exec", dont_inherit=True), names)
    finally:
        for known, before in ((KINDS, kinds), (LOSSES, losses)):
            for name in set(known) - set(before):
                del known[name]
