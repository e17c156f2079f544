"""What prevention and the gate keep of a gain, and what they save elsewhere.

default: the run of bench/domains.py, which knows nothing of other sets, beside a run that is given them, on whole data
sets. gold-triplet: a part of a set (as in bench/distill.py), since the recipe is slow; it has no prevention, so that
one run gives both figures, its last student and what dev and the gate make of it. All figures are from test questions.

    python bench/domains.py medquad && python bench/proof.py [default:medquad] [gold-triplet:medquad] ...
    python bench/proof.py job
    python bench/proof.py draw

Where the run of bench/domains.py is not there, default takes the ungated figures of the result that is, and says so.
The second is what the proof costs on a small job: a few hundred queries, 5,000 passages, one general set; without plain
fine-tuning and cross-fitting, as a multiple of embedding the corpus once and training, and whether the full search on
all passages of the general set says the same of the student. The third draws docs/tradeoff.svg (needs matplotlib).
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any

from denizen.engine.progress import Terminal
from denizen.measuring import forgetting, retrieval_sets
from denizen.measuring.probes import MEASURE, RetrievalProbe
from denizen.measuring.retrieval_sets import read_parts
from denizen.recipes.evaluate import evaluate
from denizen.recipes.gate import gate
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.loading import locate
from distill import part
from measuring import RESULTS, ROOT, RUNS, data, keep, shown, timed_adapt
from tables import PRESETS, proof_name, proof_results

NEIGHBOURS = {"obliqa": "policyqa", "financial_qa_10k": "tatqa", "medquad": "pubmedqa"}
_BASE = "all-MiniLM-L6-v2"
_DOMAIN = "MRR@5"
# settings that the reference of the default has otherwise, or that have nothing to do with what comes out
_OTHERWISE = {"source", "general", "neighbour", "near_base", "baselines", "store"}
_KEPT_SHARE = 0.85
_LIMIT = 0.005


def main(wanted: list[str]) -> None:
    for preset, name in (item.split(":") for item in wanted):
        result = with_default(name) if preset == "default" else with_gold_triplet(name)
        show(name, preset, result)
        keep(proof_name(preset, name), result)


def with_default(name: str) -> dict[str, Any]:
    """The run of bench/domains.py beside one with the sets, both on the whole of a set."""
    reference, earlier = RUNS / name, RESULTS / f"{proof_name('default', name)}.json"
    there = (reference / "metrics.json").is_file()
    if not there and not earlier.is_file():
        sys.exit(f"{reference} is not there; run `python bench/domains.py {name}` first")
    sets = given_sets(name)
    result = timed_adapt(f"proof-{name}", data(name), drop_leaks=True, baselines=name != "medquad", **sets)
    if not there:
        before = json.loads(earlier.read_text(encoding="utf-8"))
        return {
            **compared(result, before["ungated"]),
            "ungated_from": "the result that was there",
            **_times(result, before),
        }
    check_same(json.loads((reference / "config.json").read_text(encoding="utf-8")), result["settings"])
    before = json.loads((reference / "metrics.json").read_text(encoding="utf-8"))
    store = str(RUNS / f"proof-{name}/embeddings")
    lost = gate(str(reference / "model"), _BASE, **sets, store=store, progress=Terminal())
    ungated = {"domain": before["difference"][_DOMAIN], **elsewhere(lost["sets"], "adapted")}
    return compared(result, ungated)


def _times(result: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The seconds of an earlier version, and what is left of them at the speed that this machine had then.

    Embedding in the rounds and training are the same work in both, and say how fast the machine was.
    """
    now, then = result["seconds_by_stage"], before["seconds_by_stage"]
    same = [name for name in now if name in then and name.endswith(("/embeddings", "/student", "/plain"))]
    slower = sum(now[name] for name in same) / sum(then[name] for name in same)
    left = result["seconds"] / slower / before["seconds"]
    then_all, now_all = before["seconds"], result["seconds"]
    print(f"{then_all:.0f} s before, {now_all:.0f} s now on a machine {slower:.2f} times as slow: {left:.2f}")
    return {"seconds_before": before["seconds"], "machine_slower": slower, "of_the_time_before": left}


def small_job() -> None:
    """What the proof of a small job costs, and whether it says what a full one says."""
    settings = {"general": (str(data("nq_general")),), "drop_leaks": True, "baselines": False, "cross_fitting": False}
    result = timed_adapt("proof-job", data("cfpb_regs"), **settings)
    stages = result["seconds_by_stage"]
    once, training = stages["round-0/embeddings"], sum(of for name, of in stages.items() if name.endswith("/student"))
    told = {"embedding_once": once, "training": training, "allowed": 4 * (once + training)}
    result |= {**told, "times": result["seconds"] / (once + training), "full": _full_search(result["metrics"])}
    for name, seconds in stages.items():
        print(f"{name:<24}{seconds:>8.1f} s")
    print(
        f"{result['seconds']:.0f} s in all, {result['times']:.2f} times {once:.0f} s of embedding once and "
        f"{training:.0f} s of training (asked: 4); full search: {result['full']}"
    )
    keep("proof_job", result)


def _full_search(metrics: dict[str, Any]) -> dict[str, Any]:
    """What the gate measured again on all passages of the general set, by the same rule."""
    out = RUNS / "proof-job"
    retrieval_sets._PASSAGES = 1 << 30
    (part,) = read_parts((str(data("nq_general")),), (), metrics["config"]["seed"] if "config" in metrics else 42)
    encoders, probe = Encoders(out / "embeddings"), RetrievalProbe(part.search, progress=Terminal())
    base, student = (BiEncoder(folder, Encoding(), encoders) for folder in (locate(_BASE), out / "choice/model"))
    change = forgetting.change("general", probe.values(base), probe.values(student))
    inside = forgetting.slack([change], _LIMIT) >= 0
    gated = metrics["gate"]["points"][1]
    same = inside == gated["inside"]
    return {"change": change.value, "of_the_gate": gated["changes"]["nq_general"], "inside": inside, "agrees": same}


def with_gold_triplet(name: str) -> dict[str, Any]:
    """One run on a part of a set: its student, and what the gate makes of it."""
    folder = RUNS / f"proof-gold-{name}"
    if not (folder / "labels").is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        part(data(name), folder / "labels", folder / "documents")
    sets = given_sets(name)
    place = f"proof-gold-{name}/run"
    result = timed_adapt(place, folder / "labels", preset="gold-triplet", drop_leaks=True, baselines=False, **sets)
    # the recipe by itself ends with the last student, whatever dev says of it
    student, store = str(RUNS / place / "round-1/student"), str(RUNS / place / "embeddings")
    found = evaluate([_BASE, student], folder / "labels", bm25=False, store=store, progress=Terminal())
    lost = gate(student, _BASE, **sets, store=store, progress=Terminal())
    (change,) = found["differences"].values()
    return compared(result, {"domain": change[_DOMAIN], **elsewhere(lost["sets"], "adapted")})


def given_sets(name: str) -> dict[str, tuple[str, ...]]:
    """nq_general and the neighbour of a set."""
    return {"general": (str(data("nq_general")),), "neighbour": (str(data(NEIGHBOURS[name])),)}


def check_same(reference: dict[str, Any], settings: dict[str, Any]) -> None:
    """Leaves unless both runs have the same settings otherwise."""
    other = {
        name: (value, settings[name])
        for name, value in reference.items()
        if name not in _OTHERWISE and settings[name] != value
    }
    if other:
        sys.exit(f"the run of bench/domains.py has other settings: {other}; run it again")


def elsewhere(sets: dict[str, Any], system: str) -> dict[str, Any]:
    """Role to the difference of a system to the base in nDCG@10."""
    return {found["role"]: found["differences"][system][MEASURE] for found in sets.values()}


def compared(result: dict[str, Any], ungated: dict[str, Any]) -> dict[str, Any]:
    """Both lines of a table, and what was asked for."""
    metrics = result["metrics"]
    gated = {"domain": metrics["difference"][_DOMAIN], **elsewhere(metrics["gate"]["sets"], "adapted")}
    gain = ungated["domain"]["value"]
    # of a loss nothing is to be kept
    share = gated["domain"]["value"] / gain if gain > 0 else None
    return {
        "chosen": metrics["chosen"],
        "base": metrics["base"][_DOMAIN],
        "ungated": ungated,
        "gated": gated,
        "share_of_gain_kept": share,
        "asked": {
            "85 % of the gain": share is None or share >= _KEPT_SHARE,
            "general within .005": gated["general"]["value"] >= -_LIMIT,
            "neighbour not below base": gated["neighbour"]["value"] >= 0,
        },
        "curve": metrics["gate"]["points"],
        **result,
    }


def show(name: str, preset: str, result: dict[str, Any]) -> None:
    """The table of one set."""
    print(f"\n{name}, {preset}: base {_DOMAIN} {result['base']:.3f}; taken: {result['chosen']}")
    for line in ("ungated", "gated"):
        print(f"  {line:<8}" + "".join(f"  {column} {shown(found)}" for column, found in result[line].items()))
    kept = ", ".join(f"{asked}: {'met' if met else 'MISSED'}" for asked, met in result["asked"].items())
    share = result["share_of_gain_kept"]
    print(f"  {'no gain to keep' if share is None else f'{share:.1%} of the gain kept'}; {kept}", flush=True)


def draw() -> None:
    """All models that the searches have measured: the domain's dev against what was lost where the gate decides."""
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "denizen"
    # where no student beats the base there was nothing to search
    searched = [found for found in proof_results() if found[2]["curve"]]
    figure, axes = pyplot.subplots(2, 3, figsize=(11, 6.5))
    for axis, (preset, title, result) in zip(axes.flat, searched, strict=False):
        axis.axvline(-100 * _LIMIT, color="tab:red", linestyle="--", linewidth=1)
        for point in result["curve"]:
            if point["domain"] is None:
                continue
            # the worse of the two roles, each of which has one set here
            place = 100 * min(point["changes"].values()), point["domain"]
            color = "tab:gray" if point["name"] == "base" else "tab:orange" if point["merge"] else "tab:blue"
            axis.plot(*place, "o", color=color, fillstyle="full" if point["inside"] else "none")
            if point["chosen"]:
                axis.plot(*place, "o", color="black", fillstyle="none", markersize=13)
        axis.set_title(f"{title}, {preset}", fontsize=9)
        axis.set_xlabel("points of nDCG@10 elsewhere")
        axis.set_ylabel("MRR@5 on dev")
        axis.grid(visible=True, alpha=0.3)
    for axis in list(axes.flat)[len(searched) :]:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "tradeoff.svg", metadata={"Date": None})


if __name__ == "__main__":
    if sys.argv[1:] == ["draw"]:
        draw()
        sys.exit()
    every = [f"{preset}:{name}" for preset in PRESETS for name in NEIGHBOURS]
    chosen = sys.argv[1:] or every
    if chosen == ["job"]:
        small_job()
        sys.exit()
    if set(chosen) - set(every):
        sys.exit(f"unknown in {chosen}; there are {every}")
    main(chosen)
