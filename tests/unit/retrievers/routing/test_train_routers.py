"""The step that trains routers, on a tiny encoder: what it keeps, what it says, and that it is the same twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from denizen.data.artifacts import Queries
from denizen.data.tables import rows_table, write_table
from denizen.engine.errors import InputError
from denizen.engine.step import Context
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.model_ref import outside_model
from denizen.retrievers.routing.decision import decide
from denizen.retrievers.routing.labelled import unit
from denizen.retrievers.routing.saved import load_router
from denizen.retrievers.routing.train_routers import Routers, Routing, router_of, train_routers

WORDS_OF = {"law": ["court", "tort", "clause"], "medicine": ["gout", "fever", "pain"], "": ["rain", "moon", "song"]}


def queries(folder: Path, domains: tuple[str, ...]) -> Queries:
    """Thirty training, twenty dev and ten test queries a domain, of its own words."""
    random, rows = np.random.default_rng(0), []
    for domain in domains:
        for split, count in (("train", 30), ("dev", 20), ("test", 10)):
            for at in range(count):
                text = f"{at} {' '.join(random.choice(WORDS_OF[domain], 4))}"
                rows.append({"query_id": f"{domain}-{split}-{at}", "text": text, "domain": domain, "split": split})
    folder.mkdir()
    write_table(folder / "queries.parquet", rows_table("queries", rows))
    return Queries.outside(folder)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(resources={Encoders: Encoders(tmp_path / "store")})


def test_it_keeps_the_best_of_each_kind_and_one_to_take(tiny_encoder: Path, context: Context, tmp_path: Path) -> None:
    asked, base = queries(tmp_path / "q", ("law", "medicine", "")), outside_model(tiny_encoder)
    facts = train_routers(tmp_path / "out", Routing(), context, queries=asked, base=base)
    assert facts["domains"] == ["law", "medicine"]
    assert facts["queries"] == {name: {"train": 30, "dev": 20} for name in ("law", "medicine", "")}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["centroids", "chosen", "knn", "logistic"]
    assert facts["chosen"] == min(facts["log_loss"], key=facts["log_loss"].get)
    router = router_of(Routers.outside(tmp_path / "out"))
    _, thresholds = load_router(tmp_path / "out" / "chosen")
    texts = asked.texts("test")
    encoder = context[Encoders].of(tiny_encoder, Routing().encoding)
    routes = decide(
        router.probabilities(texts, unit(np.asarray(encoder.encode(list(texts.values()), "query")))),
        router.domains,
        thresholds,
    )
    true = [(name.split("-")[0],) if name.split("-")[0] else () for name in texts]
    right = [route.domains == domains for route, domains in zip(routes, true, strict=True)]
    assert np.mean(right) > 0.8
    # the same call makes the same bytes
    train_routers(tmp_path / "again", Routing(), context, queries=asked, base=base)
    assert Routers.outside(tmp_path / "again").digest == Routers.outside(tmp_path / "out").digest


def test_the_kind_can_be_given(tiny_encoder: Path, context: Context, tmp_path: Path) -> None:
    asked = queries(tmp_path / "q", ("law", "medicine"))
    base = outside_model(tiny_encoder)
    facts = train_routers(tmp_path / "out", Routing(router="knn"), context, queries=asked, base=base)
    assert facts["chosen"].startswith("knn ")
    assert router_of(Routers.outside(tmp_path / "out")).name == "knn"


def test_one_domain_is_refused(tiny_encoder: Path, context: Context, tmp_path: Path) -> None:
    asked, base = queries(tmp_path / "q", ("law", "")), outside_model(tiny_encoder)
    with pytest.raises(InputError, match="two domains or more"):
        train_routers(tmp_path / "out", Routing(), context, queries=asked, base=base)
    assert not (tmp_path / "out").exists()
