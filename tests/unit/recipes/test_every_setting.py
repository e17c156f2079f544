"""Each setting and each input from outside is changed by itself: its own steps and those after them differ, no other.

Whole runs are planned, never done: what is compared are the fingerprints of the calls that they would make.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from denizen.data.artifacts import Model
from denizen.data.prepare import Given, Unlabelled
from denizen.engine.artifact import Artifact, Value, leaves
from denizen.engine.pipeline import Pipeline
from denizen.engine.step import Call
from denizen.recipes.adapt import adapt
from denizen.recipes.adapted import Brought
from denizen.recipes.config import SETTINGS, SUPERVISIONS, AdaptConfig
from denizen.reports.package import ship
from denizen.supervision.synthesis import STYLES

Calls = Mapping[str, Call[Any]]

# what plain fine-tuning takes from a run; all else of it has a value of its own, whatever the run trains with
OF_PLAIN = {"seed", "precision", "max_tokens", "lora_rank"}
# what has no values that a step could read: what a run works on, and which steps it calls at all
FROM_OUTSIDE = {
    "source",
    "model",
    "pooling",
    "attention",
    "instruction",
    "from_run",
    "grades",
    "guide",
    "general",
    "neighbour",
    "cross_encoder",
    "reranker_model",
    "query_log",
}
WHICH_STEPS = {"preset", "teacher", "rounds", "seeds", "baselines", "cross_fitting", "reranker"}


@dataclass(frozen=True)
class World:
    """What a run is called with: its settings and what it is given besides."""

    config: AdaptConfig
    brought: Brought
    folder: Path

    def calls(self) -> Calls:
        """Place to call, as a run would make them."""
        run = Pipeline(self.folder / "run", planning=True)
        found = adapt(run, self.config, self.brought)
        ship(run, found[0], Value("", found[0].test.place))
        return run.calls

    def changed(self, **settings: Any) -> World:
        return replace(self, config=self.config.changed(**settings))

    def given(self, **brought: Any) -> World:
        return replace(self, brought=replace(self.brought, **brought))


def outside(folder: Path, name: str, text: str = "one") -> Model:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "config.json").write_text(f"{name} {text}")
    return Model.outside(folder / name)


def _nothing() -> Any:
    raise AssertionError("a plan reads no source")


NAMES = [
    "labels",
    "labels, gist",
    "labels, onward",
    "llm",
    "llm, labelled test",
    "cross-encoder",
    "cross-encoder, log alone",
]
SUPERVISED: dict[str, dict[str, Any]] = {
    "labels": {"seeds": 2},
    "labels, gist": {"loss": "gist", "reranker": True, "dims": "16", "generic_prompts": 3},
    # its folds are those of the others, twice
    "labels, onward": {"from_run": "earlier", "cross_fitting": False},
    "llm": {"teacher": "llm", "llm": "judge", "reranker": True, "synthetic_negatives": 5},
    "llm, labelled test": {"teacher": "llm", "llm": "judge", "synthetic_negatives": 5},
    "cross-encoder": {"teacher": "cross-encoder", "llm": "writer"},
    "cross-encoder, log alone": {"teacher": "cross-encoder"},
}


@pytest.fixture(params=NAMES)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return world_of(request.param, tmp_path, monkeypatch)


def world_of(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A run with general and neighbour sets, so that the gate and what is kept near the base are in it."""
    monkeypatch.setattr("denizen.recipes.baselines.is_available", lambda: True)
    if "labelled test" in name:
        monkeypatch.setattr(Unlabelled, "has_labels", True)
    given = {"precision": "fp32", **SUPERVISED[name]}
    if given.get("teacher") == "cross-encoder":
        outside(tmp_path, "judge")
        given["cross_encoder"] = str(tmp_path / "judge")
    if "teacher" in given:
        (tmp_path / "log.txt").write_text("what is asked\n")
        given["query_log"] = str(tmp_path / "log.txt")
    brought = Brought(
        base=outside(tmp_path, "base"),
        guide=outside(tmp_path, "guide") if given.get("loss") == "gist" else None,
        source=Given(_nothing, {"corpus.jsonl": "c0", "queries.jsonl": "q0"}),
        sets={"near": Value(["neighbour", "0"]), "far": Value(["general", "0"])},
        kept=Value({"query": ["a"], "document": ["b"]}),
        reranker=outside(tmp_path, "start") if given.get("reranker") else None,
    )
    if "from_run" in given:
        tables = {table: Artifact(tmp_path / table, f"{table} 0") for table in ("corpus", "queries", "qrels")}
        brought = replace(brought, source=replace(brought.source, earlier=tables), origin=outside(tmp_path, "origin"))
    return World(AdaptConfig("source", **given), brought, tmp_path)


def fingerprints(calls: Calls) -> dict[str, str]:
    return {place: call.fingerprint for place, call in calls.items()}


def after(calls: Calls, places: set[str]) -> set[str]:
    """Places with all that come after them, by what their inputs say they were made from."""
    reached = set(places)
    # calls are in the order of the recipe, so that what is read comes before what reads it
    for place, call in calls.items():
        made_from = {leaf.place for leaf in leaves(call.inputs, "").values() if isinstance(leaf, Artifact)}
        if made_from & reached:
            reached.add(place)
    return reached


def differing(before: Calls, now: Calls) -> set[str]:
    """The places where the two do not call the same; the scopes of further seeds are named after their seeds."""

    def named(calls: Calls) -> dict[str, str]:
        return {_without_seed(place): call.fingerprint for place, call in calls.items()}

    one, other = named(before), named(now)
    assert one.keys() == other.keys()
    return {place for place in one if one[place] != other[place]}


def _of_the_run(places: set[str]) -> set[str]:
    """Without what further seeds, cross-fitting, and what is trained anew repeat."""
    return {place for place in places if not place.startswith(("seed/", "crossfit/", "anew/"))}


def _without_seed(place: str) -> str:
    first, _, rest = place.partition("/")
    return f"seed/{rest}" if first.startswith("seed-") else place


def readers(calls: Calls, name: str) -> set[str]:
    """The places of the steps that have a setting."""
    return {
        place
        for place, call in calls.items()
        if name in call.params.as_dict() and (not place.startswith("baselines/plain") or name in OF_PLAIN)
    }


def other_value(name: str, value: Any) -> Any:
    """Another valid value of a setting, that goes together with all others."""
    spec = SETTINGS[name].spec
    chosen = {
        # the other losses ask for another number of negatives, or for another teacher
        "loss": "cached-infonce" if value != "margin-mse" else None,
        "precision": "bf16",
        "styles": "question,keyword",
        "llm": "another",
        "dev_share": 0.15,
        "test_share": 0.25,
        # it shows in nothing but what is trained on, and must leave the gist loss its 0 or 1
        "negatives": 0 if value else 1,
        "windows": "whole",
        "dims": "8",
    }
    if name in chosen:
        return chosen[name]
    hint = SETTINGS[name].hint
    if get_origin(hint) is Literal:
        return next(choice for choice in reversed(get_args(hint)) if choice != value)
    if hint is bool:
        return not value
    if hint is str:
        # a window of ranks; whatever else is a text has no effect, or is chosen above
        return f"{value.split('-')[0]}-99" if name.endswith("_ranks") else f"{value}x"
    least, most = spec.metadata["least"], spec.metadata["most"]
    up = value + (1 if hint is int else 0.01)
    return up if most is None or up <= most else max(least, value - (1 if hint is int else 0.01))


def idle(world: World) -> set[str]:
    """Settings of a teacher that do nothing in this run, and are refused."""
    return SUPERVISIONS[world.config.teacher].idle(world.config.as_dict())


def changes(world: World) -> Iterator[tuple[str, Any]]:
    """Every setting that has a say in this run, with another value."""
    for name, value in world.config.as_dict().items():
        if name in FROM_OUTSIDE | WHICH_STEPS | idle(world):
            continue
        other = other_value(name, value)
        if name == "loss" and world.config.teacher == "cross-encoder":
            # there is one loss only that goes with it
            continue
        if name == "negatives" and world.config.teacher == "cross-encoder":
            other = value + 1
        yield name, other


def test_a_changed_setting_changes_its_own_steps_and_those_after_them_and_no_other(world: World) -> None:
    before = world.calls()
    seen: Counter[str] = Counter()
    for name, value in changes(world):
        own = readers(before, name)
        expected = {_without_seed(place) for place in after(before, own)}
        assert differing(before, world.changed(**{name: value}).calls()) == expected, f"{name} -> {value!r}"
        seen[name] = len(own)
        # a setting that decides on results is read by some step, and one that does not by none
        assert bool(own) == SETTINGS[name].owner.effect, name
    assert len(seen) > 20


def test_every_setting_of_a_step_is_one_of_the_runs(world: World) -> None:
    known = world.config.as_dict()
    for place, call in world.calls().items():
        for name, value in call.params.as_dict().items():
            assert name in known, f"{place}: {name}"
            if not place.startswith("baselines/plain") or name in OF_PLAIN:
                # of a further seed, that is its own
                assert value == known[name] or (name == "seed" and place.startswith("seed-")), f"{place}: {name}"


def test_settings_without_effect_change_no_step(world: World) -> None:
    without = [name for name in world.config.as_dict() if not SETTINGS[name].owner.effect and name not in idle(world)]
    asks = world.config.teacher != "gold" and world.config.llm
    assert {"store", "memory_mb"} <= set(without) and len(without) == (13 if asks else 2)
    now = world.changed(**{name: other_value(name, getattr(world.config, name)) for name in without})
    assert now.config != world.config
    assert fingerprints(now.calls()) == fingerprints(world.calls())


# what comes from outside


def reading(calls: Calls, digest: str) -> set[str]:
    """The places of the steps that read an input from outside."""
    return {
        place
        for place, call in calls.items()
        if any(leaf.digest == digest and not leaf.place for leaf in leaves(call.inputs, "").values())
    }


def expect(world: World, now: Callable[[], World], digest: str) -> set[str]:
    """Checks that exactly what reads something, and what follows, changes with it; the places that read it."""
    before = world.calls()
    own = reading(before, digest)
    assert own and differing(before, now().calls()) == {_without_seed(place) for place in after(before, own)}
    return {_without_seed(place) for place in own}


def test_a_changed_source_changes_everything(world: World) -> None:
    for name in world.brought.source.digests:
        digests = {**world.brought.source.digests, name: "other"}
        now = world.given(source=replace(world.brought.source, digests=digests))
        assert expect(world, lambda now=now: now, world.brought.source.digests[name]) == {"corpus"}
        assert differing(world.calls(), now.calls()) == {_without_seed(place) for place in world.calls()}
    more = replace(world.brought.source, digests={**world.brought.source.digests, "new.jsonl": "n"})
    assert differing(world.calls(), world.given(source=more).calls()) == {
        _without_seed(place) for place in world.calls()
    }


def test_a_changed_base_changes_what_reads_it(world: World) -> None:
    own = expect(world, lambda: world.given(base=outside(world.folder, "base", "two")), world.brought.base.digest)
    rounds = {f"round-{number}/student" for number in range(2)}
    assert {"round-0/embeddings", "round-0/run", "choice", "gate", "test", "forgetting", *rounds} <= own
    assert "corpus" not in own and "round-1/embeddings" not in own
    # it finds passages back and embeds what a persona is shown
    assert ("synthesis" in own) == (world.config.teacher != "gold")
    # where it lies is nothing to a run
    (world.folder / "base").rename(world.folder / "moved")
    moved = replace(world.brought.base, path=world.folder / "moved")
    assert fingerprints(world.given(base=moved).calls()) == fingerprints(world.calls())


def test_a_changed_origin_changes_what_is_trained_anew_and_what_is_chosen_from_it(world: World) -> None:
    if world.brought.origin is None:
        assert not [place for place in world.calls() if place.startswith("anew/") or place == "taken"]
        return
    own = expect(world, lambda: world.given(origin=outside(world.folder, "origin", "two")), world.brought.origin.digest)
    assert own and all(place.startswith("anew/") for place in own)
    calls = world.calls()
    assert {"anew/gate", "taken", "test"} <= after(calls, own)
    assert not {"round-2/run", "reading/reading"} & after(calls, own)


def test_a_changed_earlier_run_changes_the_corpus(world: World) -> None:
    for name, made in (world.brought.source.earlier or {}).items():
        tables = {**(world.brought.source.earlier or {}), name: replace(made, digest="other")}
        now = world.given(source=replace(world.brought.source, earlier=tables))
        assert expect(world, lambda now=now: now, made.digest) == {"corpus"}


def test_a_changed_guide_changes_what_is_trained_with_it(world: World) -> None:
    if world.brought.guide is None:
        assert "guide" not in {name for call in world.calls().values() for name in call.described["inputs"]}
        return
    own = expect(world, lambda: world.given(guide=outside(world.folder, "guide", "two")), world.brought.guide.digest)
    assert _of_the_run(own) == {"round-0/student", "round-1/student"}


def test_a_changed_start_of_a_reranker_changes_what_is_trained_from_it(world: World) -> None:
    if world.brought.reranker is None:
        assert not {place for place in world.calls() if place.endswith(("reranker", "reranking", "latency"))}
        return
    now = world.given(reranker=outside(world.folder, "start", "two"))
    own = expect(world, lambda: now, world.brought.reranker.digest)
    assert own == {"reranker", *(f"crossfit/fold-{number}/reranker" for number in range(5))}
    # the model is the same without it
    without = world.changed(reranker=False).given(reranker=None).calls()
    assert (
        fingerprints(world.calls()).items()
        >= {
            place: call.fingerprint for place, call in without.items() if place not in ("test", "model", "retriever")
        }.items()
    )


def test_a_changed_set_changes_the_gate_and_what_it_measures(world: World) -> None:
    for name in world.brought.sets:
        sets = {**world.brought.sets, name: Value(["general", "other"])}
        own = expect(world, lambda sets=sets: world.given(sets=sets), world.brought.sets[name].digest)
        assert _of_the_run(own) == {"gate", "forgetting"}


def test_changed_texts_that_are_kept_change_what_is_trained(world: World) -> None:
    assert world.brought.kept is not None
    own = expect(world, lambda: world.given(kept=Value({"query": []})), world.brought.kept.digest)
    assert _of_the_run(own) == {"round-0/student", "round-1/student"}


def test_a_changed_query_log_changes_what_is_written(world: World) -> None:
    if world.config.teacher == "gold":
        pytest.skip("labels need no query log")
    path = world.folder / "log.txt"

    def now() -> World:
        path.write_text("what else is asked\n")
        return world

    assert expect(world, now, Artifact.outside(path).digest) == {"synthesis"}
    without = world.changed(query_log="").calls()
    assert differing(world.calls(), without) == after(without, {"synthesis"})


def test_a_changed_cross_encoder_changes_what_is_judged(world: World) -> None:
    if world.config.teacher != "cross-encoder":
        pytest.skip("another teacher")
    digest = Model.outside(world.folder / "judge").digest

    def now() -> World:
        outside(world.folder, "judge", "two")
        # a run looks at it once
        return world.changed()

    assert expect(world, now, digest) == {f"round-{number}/judgments" for number in range(3)} | {"test"}


def test_other_judgments_change_what_is_trained_with_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a retry that has brought a grade 3, which makes no answer and no example, and masks a negative."""
    before, original = world.calls(), Artifact.part

    def part(self: Artifact, name: str, kind: Any) -> Any:
        found = original(self, name, kind)
        changed = self.place == "round-0/answers" and name == "judgments.parquet"
        return replace(found, digest=f"{found.digest}x") if changed else found

    monkeypatch.setattr(Artifact, "part", part)
    own = {"round-0/examples", "round-0/student"} if world.config.teacher != "gold" else set()
    assert differing(before, world.calls()) == {_without_seed(place) for place in after(before, own)}
    if own:
        one, other = (calls["round-0/student"].described["inputs"] for calls in (before, world.calls()))
        assert one["qrels"] == other["qrels"] and one["judgments"] != other["judgments"]


def test_a_changed_style_changes_what_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """How styles are asked for are words of a prompt."""
    before = world.calls()
    monkeypatch.setitem(STYLES, "keyword", "Write one word.")
    own = {"synthesis"} & set(before)
    assert bool(own) == (world.config.teacher != "gold")
    assert differing(before, world.calls()) == after(before, own)


@pytest.mark.parametrize("prompt", ["question", "multi_hop", "persona", "negative", "grade", "grade_several"])
def test_a_changed_prompt_changes_what_is_asked_with_it(
    prompt: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from denizen.supervision import taught

    before, original = world.calls(), taught.prompts_digest
    writes = {"synthesis"} if prompt in ("question", "multi_hop", "persona") else set()
    grades = {f"round-{number}/judgments" for number in range(3)} | ({"trial", "test"} & set(before))
    # what is written as a negative is graded alone
    grades = grades - {"negatives"} if prompt == "grade_several" else grades | ({"negatives"} & set(before))
    if prompt == "negative":
        writes, grades = {"negatives"} & set(before), set()
    if world.config.teacher == "gold":
        own: set[str] = set()
    else:
        own = writes or (grades if world.config.teacher == "llm" else set())
        own = {place for place in own if "prompts" in before[place].described["inputs"]}
        assert own or (world.config.teacher == "cross-encoder" and not writes)
    monkeypatch.setattr(taught, "prompts_digest", lambda *names: original(*names) + "x" * (prompt in names))
    assert differing(before, world.calls()) == after(before, own)


# the inputs and parameters of which one says what a resource comes from; without any, it decides nothing: where vectors
# lie, how is asked, and what is set aside for later (what a budget cuts off is recorded with its limits)
STAND_FOR: dict[str, set[str]] = {
    "Given": {"source"},
    "Probes": {"sets"},
    "LLM": {"prompts", "cross_encoder"},
    "Encoders": set(),
    "Asking": set(),
    "Allotment": set(),
}


def test_what_a_step_takes_from_its_context_is_in_its_call(world: World) -> None:
    for place, call in world.calls().items():
        for resource in resources_of(call.step.function):
            wanted = STAND_FOR[resource]
            assert not wanted or wanted & set(call.described["inputs"]), f"{place} reads {resource}"


def resources_of(function: Callable[..., Any]) -> set[str]:
    """The types of the resources that a step reads, by itself or in what it hands its context to."""
    read, seen, left = set(), set(), [function]
    while left:
        part = left.pop()
        seen.add(part)
        text = inspect.getsource(part)
        read |= set(re.findall(r"ctx(?:\[|\.get\()(\w+)", text))
        given = [part.__globals__.get(name) for name in re.findall(r"(\w+)\([^()]*\bctx\b(?!\.|\[)", text)]
        left += [each for each in given if inspect.isfunction(each) and each not in seen]
    return read


def test_every_input_that_a_step_can_take_is_given_in_some_run(tmp_path: Path) -> None:
    """One that no recipe passes would be missing from the fingerprint, as what it says is from the result."""
    passed: dict[Any, set[str]] = {}
    for name in NAMES:
        with pytest.MonkeyPatch.context() as patch:
            (tmp_path / name).mkdir()
            for call in world_of(name, tmp_path / name, patch).calls().values():
                step = call.step.origin or call.step
                passed.setdefault(step, set()).update(call.described["inputs"])
    assert len(passed) > 15
    for step, inputs in passed.items():
        known = inspect.signature(step.function).parameters.values()
        assert {each.name for each in known if each.kind is each.KEYWORD_ONLY} == inputs, step.__qualname__


# which steps there are


def test_more_rounds_leave_those_before_as_they_are(world: World) -> None:
    before, now = fingerprints(world.calls()), fingerprints(world.changed(rounds=3).calls())
    assert {place for place in before if place not in now} == set()
    more = set(now) - set(before)
    assert {next(part for part in place.split("/") if part.startswith("round-")) for place in more} == {
        "round-2",
        "round-3",
    }
    first = [place for place in before if place.startswith(("round-0/", "round-1/"))]
    assert len(first) > 8 and {place: now[place] for place in first} == {place: before[place] for place in first}
    for place in ("choice", "gate", "test", "forgetting", "model"):
        assert now[place] != before[place]


def test_more_seeds_are_done_beside_what_is_there(world: World) -> None:
    if world.config.teacher != "gold":
        pytest.skip("only runs with labels are repeated")
    before, now = fingerprints(world.calls()), fingerprints(world.changed(seeds=3).calls())
    assert before.items() <= now.items()
    assert {place.partition("/")[0] for place in set(now) - set(before)} <= {"seed-43", "seed-44"}
    # what draws nothing is the same call for every seed, and is done once
    own = [place for place in now if place.startswith("seed-44/")]
    assert {place for place in own if now[place] == now[place.removeprefix("seed-44/")]} == {
        "seed-44/keywords",
        "seed-44/base",
        *(f"seed-44/round-0/{name}" for name in ("embeddings", "run", "candidates")),
        *(["seed-44/anew/keywords"] if world.brought.origin else []),
        *(f"seed-44/anew/round-0/{name}" for name in ("embeddings", "run", "candidates") if world.brought.origin),
    }
    assert not any("baselines" in place for place in own)


def test_without_baselines_nothing_but_the_test_changes(world: World) -> None:
    before, now = fingerprints(world.calls()), fingerprints(world.changed(baselines=False).calls())
    gone = set(before) - set(now)
    if any(place.startswith("baselines/") for place in before):
        assert gone == {"baselines/pairs", "baselines/plain", "baselines/average"}
        assert {place for place in now if now[place] != before[place]} == {"test"}
    else:
        assert world.config.teacher != "gold" and now == before


def test_without_sets_there_is_no_gate(world: World) -> None:
    before, now = world.calls(), world.given(sets={}, kept=None).calls()
    assert _of_the_run({_without_seed(place) for place in set(before) - set(now)}) == {"gate", "forgetting"}
    trained = {place for place in now if place.endswith("/student")}
    described = [now[place].described for place in trained]
    assert not any({"kept", "base", "base_index"} & set(call["inputs"]) for call in described)
    # a weight of nothing decides nothing
    assert {call["params"]["near_base"] for call in described} == {0.0}
    chosen = "soup" if "soup" in now else "choice"
    assert now["model"].derived == {"inputs.chosen": chosen, "inputs.card": "test"}


def test_every_supervision_is_among_these_runs() -> None:
    used = {SUPERVISED[name].get("teacher", "gold") for name in NAMES}
    assert used == set(SUPERVISIONS)
