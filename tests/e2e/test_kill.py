"""kill -9 in every step, then the same command again: the result is that of an uninterrupted run, byte for byte."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from denizen.api import adapt
from denizen.engine.pipeline import records
from denizen.recipes.config import AdaptConfig

from .conftest import SETTINGS, Heard, Killer, assert_same, gated_config, resumptions

Finished = tuple[Path, dict[str, Any]]
# at the end of every step: no record yet, not in its place yet, what it kept beside its place not gone yet
ENDS = ("record", "rename", "placed")


def within(place: str, draw: random.Random) -> list[str]:
    """Points while a step works, in the order in which a run comes to them; some are drawn."""
    # after some checkpoints, and once more after going on from there; before the first one, and inside one
    student = [f"step:{draw.randint(8, 10)}", "step:4", "open:2"]
    # how much a gate measures depends on the student, and so on the arithmetic of the machine
    gate = ["open:1"]
    if not place.startswith("seed-"):
        student = ["step:2", f"scratch:{draw.randint(3, 12)}", *student]
        gate = [f"scratch:{draw.randint(1, 5)}", f"scratch:{draw.randint(20, 40)}", "scratch:3", "open:1"]
    found = {
        "corpus": ["write:1", f"write:{draw.randint(2, 4)}"],
        # vectors before keys
        "embeddings": ["store:1", "store:2", f"store:{draw.randint(1, 2)}", "open:1"],
        "run": [f"write:{draw.randint(1, 2)}"],
        "candidates": ["write:1"],
        "examples": ["write:1"],
        "student": student,
        "choice": [f"open:{draw.randint(1, 2)}"],
        "gate": gate,
        "pairs": ["write:1"],
        "plain": ["step:1", "open:2"],
        "average": ["open:1"],
        "test": [f"write:{draw.randint(1, 3)}", "open:1"],
        "forgetting": [f"write:{draw.randint(1, 2)}"],
        "model": [f"open:{draw.randint(1, 8)}"],
        "keywords": ["write:1"],
        "fusion": ["open:1"],
        "reading": ["open:1"],
        "base": [f"open:{draw.randint(1, 2)}"],
        "base-fusion": ["open:1"],
        "retriever": ["write:1", f"open:{draw.randint(1, 8)}"],
    }
    if place == "round-0/embeddings":
        # all of it is in the store since it was asked how passages are to be read
        return ["open:1"]
    if place == "reading/run":
        # no measures beside it
        return ["write:1"]
    return found[place.rpartition("/")[2]]


def points(whole: Path, config: AdaptConfig, ends: int, most: int | None = None) -> list[str]:
    """Points in every step of a finished run, and in what is written when all steps are done.

    Args:
        whole: The run.
        config: Its settings.
        ends: How many points of the end of each step are drawn.
        most: How many points while a step works are drawn at most, but of training; None: all.
    """
    heard, known, draw = Heard(), records(whole), random.Random(20)
    adapt(config, whole, progress=heard)
    assert not heard.worked and set(heard.found) == set(known)
    found, done = [], set[str]()
    for place in heard.found:
        fingerprint = known[place]["fingerprint"]
        # what another place of the run has made is linked
        inside = ["link:1"] if fingerprint in done else within(place, draw)
        if most is not None and not place.endswith("student"):
            inside = [inside[at] for at in sorted(draw.sample(range(len(inside)), min(most, len(inside))))]
        found += [f"{place}@{what}" for what in (*inside, *sorted(draw.sample(ENDS, ends), key=ENDS.index))]
        done.add(fingerprint)
    # the lock, the settings, what programs read, what is measured, the page
    return [*found, *(f"@open:{at}" for at in range(1, 6)), "@move:4"]


@pytest.mark.parametrize(
    ("ends", "most"),
    [pytest.param(1, 1, id="somewhere"), pytest.param(len(ENDS), None, id="everywhere", marks=pytest.mark.slow)],
)
def test_a_run_with_gate_baselines_and_seeds_that_is_killed_in_every_step_ends_as_if_it_had_not_been(
    gated: Finished,
    pairs: Path,
    tiny_encoder: Path,
    forgettable: Path,
    tmp_path: Path,
    killer: Killer,
    ends: int,
    most: int | None,
) -> None:
    config = gated_config(pairs, tiny_encoder, forgettable)
    log = killer.run(config, tmp_path / "killed", *points(gated[0], config, ends, most))
    assert_same(gated[0], tmp_path / "killed")
    for place in ("round-0/student", "round-1/student", "seed-43/round-0/student", "seed-43/round-1/student"):
        assert resumptions(log, place) >= 2, place


def test_a_plain_run_that_is_killed_while_it_plans_and_in_every_step_ends_as_if_it_had_not_been(
    finished: Finished, pairs: Path, tiny_encoder: Path, tmp_path: Path, killer: Killer
) -> None:
    config = AdaptConfig(str(pairs), model=str(tiny_encoder), **SETTINGS)
    log = killer.run(config, tmp_path / "killed", *points(finished[0], config, 1, 1), plan=True)
    assert_same(finished[0], tmp_path / "killed")
    assert resumptions(log, "round-0/student") >= 2 and resumptions(log, "round-1/student") >= 2


def test_a_training_that_stays_near_its_base_goes_on_where_it_was_killed(
    pairs: Path, tiny_encoder: Path, forgettable: Path, tmp_path: Path, killer: Killer
) -> None:
    """Each step draws the texts that it keeps: a resumed training must draw those of the uninterrupted one."""
    settings = {**SETTINGS, "rounds": 1, "epochs": 1.0, "general": (str(forgettable),), "merge_evaluations": 0}
    config, student = AdaptConfig(str(pairs), model=str(tiny_encoder), **settings), "round-0/student"
    killer.run(config, tmp_path / "whole", f"{student}@placed", finish=False)
    killed = [f"{student}@{what}" for what in ("step:7", "step:2", "placed")]
    log = killer.run(config, tmp_path / "killed", *killed, finish=False)
    assert resumptions(log, student) == 2
    trained, again = ((tmp_path / run / student / "model.safetensors").read_bytes() for run in ("whole", "killed"))
    assert trained == again
