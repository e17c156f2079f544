"""What a run says at its end, as tables of cells and as sentences; all of it from metrics.json."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from denizen.measuring.dims import MEASURES as DIM_MEASURES
from denizen.retrievers.windows import WHOLE
from denizen.supervision.negatives import counted

_SIGNIFICANT = 0.05
# what people call the systems of a test
SYSTEMS = {
    "base": "base",
    "base-windows": "base by windows",
    "base-hybrid": "base + BM25",
    "bm25": "BM25",
    "plain": "plain fine-tuning",
    "plain-hybrid": "plain fine-tuning + BM25",
    "average": "average with the base",
    "ungated": "before the gate",
    "further": "trained further",
    "anew": "trained anew",
    "adapted": "adapted",
    "hybrid": "adapted + BM25",
    "reranked": "with the reranker",
}
# what people call what is shipped; {} is the model of a hybrid
_SHIPPED = {"hybrid": "The hybrid of {} model and BM25", "adapted": "The adapted model", "base": "The base"}
# what to take, where a run goes on from another one
_TAKE = {
    "shipped": "Keep the model that {} ships, as it is",
    "further": "Take the model that was trained further from what {} ships",
    "anew": "Take the model that was trained anew from the base of {}",
}
# by what a test is measured where nobody has labelled its queries and no judge is good enough
WRITTEN_FOR = "the passages that its queries were written for"
# a header and rows; nothing where there is nothing to say
Table = list[list[str]]


def result_lines(report: dict[str, Any], *, alone: bool = False) -> Table:
    """The before/after table: a row a measure; with what is shipped where that is more than the model `alone`."""
    before = "shipped" if "take" in report else "base"
    name = report["shipped"]["name"]
    more = [] if alone or name in ("base", "adapted") else [name]
    after = SYSTEMS[name] if more else "adapted"
    differences = report["shipped"]["difference"] if more else report["difference"]
    shown = [SYSTEMS[system] for system in more]
    rows = [["measure", before, "BM25", "adapted", *shown, f"{after} - {before}", "95 % interval", "p"]]
    for measure, found in differences.items():
        values = [f"{report[system][measure]:.3f}" for system in ("base", "bm25", "adapted", *more)]
        interval = f"{found['low']:+.3f} to {found['high']:+.3f}"
        rows.append([measure, *values, f"{found['value']:+.3f}", interval, _p(found["p"])])
    return rows


def analyser_lines(report: dict[str, Any]) -> list[str]:
    """What BM25 took for the words of a text; nothing where it was not measured, or by a version that did not say."""
    if "analyser" not in report:
        return []
    beside = f"; beside a model: {report['hybrid_analyser']}" if "hybrid_analyser" in report else ""
    return [f"BM25: {report['analyser']}{beside}"]


def baseline_lines(report: dict[str, Any]) -> Table:
    """What else was measured on the same queries, and by how much adapted is better."""
    measures = [name for name in ("MRR@5", "nDCG@10") if name in report["difference"]]
    rows = [["beside it", *(text for name in measures for text in (name, "adapted is better by"))]]
    for system in (name for name in SYSTEMS if name in report and name not in ("base", "adapted")):
        better = report["advantages"][system]
        cells = [cell for name in measures for cell in (f"{report[system][name]:.3f}", change(better[name]))]
        rows.append([SYSTEMS[system], *cells])
    return rows if len(rows) > 1 else []


def seed_lines(report: dict[str, Any]) -> Table:
    """What every seed gives, and mean and standard deviation over them; nothing for one seed."""
    seeds = report["seeds"]
    if len(seeds) < 2:
        return []
    columns = {
        f"gain in {name}": [found["difference"][name]["value"] for found in seeds] for name in report["difference"]
    }
    columns |= {f"change of {role}": [found["change"][role] for found in seeds] for role in seeds[0]["change"]}
    rows = [["seed", *columns, "taken", "gate"]]
    for found, *values in zip(seeds, *columns.values(), strict=True):
        verdict = "met" if found["met"] else "NOT MET"
        rows.append([str(found["seed"]), *(f"{value:+.3f}" for value in values), found["chosen"], verdict])
    spread = [f"{statistics.mean(values):+.3f} ± {statistics.stdev(values):.3f}" for values in columns.values()]
    rows.append(["mean ± sd", *spread, "", ""])
    # without a gate there is no verdict
    return rows if seeds[0]["change"] else [row[:-1] for row in rows]


def gate_lines(gate: dict[str, Any] | None) -> Table:
    """The table of the forgetting gate: a row a set; nothing where it was not measured."""
    if gate is None:
        return []
    rows = [["forgetting", "role", "queries", f"base {gate['measure']}", "adapted", "change"]]
    for name, found in gate["sets"].items():
        measure = found.get("measure", gate["measure"])
        values = [f"{found['means'][system][measure]:.3f}" for system in ("base", "adapted")]
        apart = change(found["differences"]["adapted"][measure])
        rows.append([name, found["role"], f"{found['queries']:,}", *values, apart])
    return rows


def dim_lines(report: dict[str, Any]) -> Table:
    """Base and adapted with embeddings cut to their first dimensions, a row a number; nothing where none are."""
    if not (measured := report.get("dims", {}).get("measured")):
        return []
    gate = report["gate"] or {}
    roles = list(gate["change"]) if "dims" in gate else []
    rows = [["dimensions", *(cell for name in DIM_MEASURES for cell in (f"base {name}", "adapted")), "change in MRR@5"]]
    rows[0] += [*(f"change of {role}" for role in roles), *(["gate"] if roles else [])]
    for dim, found in {"all": {"means": report, "differences": report["differences"]}, **measured}.items():
        means = (found["means"][system][name] for name in DIM_MEASURES for system in ("base", "adapted"))
        row = [dim, *(f"{mean:.3f}" for mean in means), change(found["differences"]["adapted"]["MRR@5"])]
        if roles:
            lost = gate if dim == "all" else gate["dims"][dim]
            row += [*(f"{lost['change'][role]:+.4f}" for role in roles), "met" if lost["met"] else "NOT MET"]
        rows.append(row)
    return rows


def dim_comparison_lines(report: dict[str, Any]) -> Table:
    """The models of `evaluate` with embeddings cut to their first dimensions; nothing where none promises that."""
    rows = [["dimensions", "model", *DIM_MEASURES, "MRR@5 to the first"]]
    for dim, found in report.get("dims", {}).items():
        for system, means in found["means"].items():
            apart = found["differences"].get(system)
            cells = [f"{means[name]:.3f}" for name in DIM_MEASURES]
            rows.append([dim, system, *cells, change(apart["MRR@5"]) if apart else ""])
    return rows if len(rows) > 1 else []


def comparison_lines(report: dict[str, Any]) -> Table:
    """The table of `evaluate`: a row a system with its means, and the difference to the first where there is one."""
    first, *_ = report["means"]
    names = list(report["means"][first])
    rows = [["model", *names]]
    rows += [[system, *(f"{values[name]:.3f}" for name in names)] for system, values in report["means"].items()]
    for system, found in report["differences"].items():
        rows.append([f"{system} - {first}", *(change(found[name]) for name in names)])
        rows.append(["  p", *(f"{found[name]['p']:.4f}" for name in names)])
    return rows


def records(report: dict[str, Any]) -> list[dict[str, Any]]:
    """All figures of a run as rows: `pandas.read_json("RUN/results.json")` is a table of them.

    A row is a system's mean of a measure on a set, with its difference to the base, interval and p value.
    """
    tested = {name: report[name] for name in SYSTEMS if name in report}
    test = {"role": "domain", "queries": report["queries"], "means": tested, "differences": report["differences"]}
    rows = []
    for name, found in {"test": test, **(report["gate"]["sets"] if report["gate"] else {})}.items():
        for system, means in found["means"].items():
            for measure, value in means.items():
                row = {"set": name, "role": found["role"], "queries": found["queries"], "system": system}
                apart = found["differences"].get(system, {}).get(measure, {})
                numbers = {key: apart.get(key) for key in ("low", "high", "p")}
                rows.append({**row, "measure": measure, "value": value, "difference": apart.get("value"), **numbers})
    return rows


def spending_lines(report: dict[str, Any]) -> Table:
    """What an LLM was paid for, a row a stage; nothing for a run without one."""
    if not (spending := report.get("spending")):
        return []
    rows = [["spent by stage", "calls", "tokens", f"money at {_prices(report)}"]]
    for stage, of in {**spending["by_stage"], "in all": spending["total"]}.items():
        rows.append([stage, f"{of['calls']:,}", f"{of['tokens']:,}", f"{of['money']:.4f}"])
    return rows


def _prices(report: dict[str, Any]) -> str:
    known = report.get("llm", {}).get("prices")
    return f"{known['input']:g}/{known['output']:g}" if known else report["config"]["prices"] or "no price"


def coverage_lines(report: dict[str, Any]) -> Table:
    """What was asked of a teacher and not answered, a row a stage; nothing for a run with labels."""
    rows = [["stage", "asked for", "coverage", "failures", "cut off by the budget"]]
    for stage, of in report.get("coverage", {}).items():
        failures = ", ".join(f"{count:,} {kind}" for kind, count in of["failures"].items()) or "none"
        rows.append([stage, f"{of['asked']:,}", f"{of['coverage']:.1%}", failures, f"{of['cut_off_by_budget']:,}"])
    return rows if len(rows) > 1 else []


def teacher_lines(report: dict[str, Any]) -> list[str]:
    """Who graded the test; nothing for a run with labels."""
    if "judged_by" not in report:
        return []
    lines = [f"test measured by {report['judged_by']}"]
    if (trial := report.get("trial")) and not trial["passed"]:
        lines.append(trial["why"])
    if negatives := report["data"].get("negatives"):
        lines.append(counted(negatives))
    for reason, count in report["test_queries_left_out"].items():
        if count:
            lines.append(f"  {count:,} test queries {reason.replace('_', ' ')} are left out")
    if by_judge(report):
        lines.append("a teacher is kind to its own student: denizen pool RUN --judge ANOTHER-LLM asks another one")
    return lines


def by_judge(report: dict[str, Any]) -> bool:
    """Whether a judge has said what is right in the test."""
    return report.get("judged_by", "labels") not in ("labels", WRITTEN_FOR)


def gate_sentence(report: dict[str, Any]) -> str:
    """What the gate says, in one sentence."""
    gate = report["gate"]
    if gate is None:
        return "forgetting was not measured: give --general FOLDER and --neighbour FOLDER"
    verdict = "met" if gate["met"] else "NOT MET"
    merges = sum(point["merge"] is not None for point in gate["points"])
    searched = f" ({merges} merge{'s' if merges > 1 else ''} measured)" if merges else ""
    said = f"gate {verdict}: {report['chosen']} is taken{searched}; a mean may fall by {gate['limit']:g} at most"
    changes = {
        name: found["differences"]["adapted"][found.get("measure", gate["measure"])]
        for name, found in gate["sets"].items()
    }
    unsure = [name for name, found in changes.items() if found["low"] < -gate["limit"] <= found["high"]]
    if unsure and report["chosen"] != "base":
        said += f". Too few questions to be sure of it: the interval of {', '.join(unsure)} reaches beyond the limit"
    return said


def unchanged(report: dict[str, Any]) -> str:
    """Why the model is the base; empty where it is not."""
    if report["chosen"] != "base":
        return ""
    if "take" in report:
        # the path is that of the user's machine
        return f"Nothing beat what {Path(report['config']['from_run']).name} ships: this is that model, unchanged."
    if report["best_round"]:
        merges = "no merge that was tried kept it and gained"
        return f"The student broke the limit on forgetting, and {merges}: this is the base."
    return "No round beat the base: this is the unchanged base model."


def headline(report: dict[str, Any]) -> str:
    """The result in a sentence that somebody who does not code can repeat: what is shipped, what it gains, and why."""
    if "take" in report:
        return take_sentence(report)
    shipped = report["shipped"]
    found, mean = shipped["difference"]["MRR@5"], f"{shipped['means']['MRR@5']:.3f}"
    asked = f"on {report['queries']:,} held-out questions"
    read = "" if read_whole(report) else f", which reads by {shipped['reading']},"
    if shipped["name"] == "base" and not read:
        return f"The base is shipped as it was, with an MRR@5 of {mean} {asked}: {shipped['why']}."
    what = f"{_SHIPPED[shipped.get('first_stage', shipped['name'])].format(shipped['model'])}{read} is shipped"
    if shipped["name"] == "reranked":
        what += " with a reranker as second stage"
    sure = "that is more than chance" if found["p"] < _SIGNIFICANT else "that may be chance"
    verb = "rises" if found["value"] >= 0 else "falls"
    bm25, better = f"{report['bm25']['MRR@5']:.3f}", shipped["difference_bm25"]["MRR@5"]
    if better["p"] >= _SIGNIFICANT:
        beside = f"is as good, as far as these questions can tell: {bm25}"
    else:
        beside = f"is better: {bm25}" if better["value"] < 0 else f"has {bm25}"
    return (
        f"{what}: {asked} MRR@5 {verb} from {report['base']['MRR@5']:.3f} to {mean}: {found['value']:+.3f}, 95 % "
        f"interval {found['low']:+.3f} to {found['high']:+.3f}; {sure} (p {_p(found['p'])}). Plain keyword search "
        f"(BM25) {beside}. Why: {shipped['why']}."
    )


def take_sentence(report: dict[str, Any]) -> str:
    """Which model to take and why, for a run that goes on from an earlier one."""
    take, run = report["take"], Path(report["config"]["from_run"]).name
    aside = ""
    if take["model"] != take["branch"]:
        aside = f", and not the one trained {take['branch']} that lies here, since the gate is not met"
    return f"{_TAKE[take['model']].format(run)}{aside}: {take['why']}."


def take_lines(report: dict[str, Any]) -> Table:
    """What is shipped, trained further and trained anew, on the new test and on the earlier one; else nothing."""
    if "take" not in report:
        return []
    measure, gate = "MRR@5", report["gate"]["sets"]["earlier"]
    before = gate["queries"]
    rows = [["model", f"{measure} of {report['queries']:,}", "against shipped", "p"]]
    rows[0] += [f"{measure} of {before:,} earlier", "against shipped", "p"]
    for system, name in {"base": "shipped", "further": "trained further", "anew": "trained anew"}.items():
        if system not in report:
            continue
        cells = [name]
        for means, differences in ((report, report["differences"]), (gate["means"], gate["differences"])):
            apart = differences[system][measure] if system != "base" else None
            cells += [f"{means[system][measure]:.3f}", change(apart) if apart else "", _p(apart["p"]) if apart else ""]
        rows.append(cells)
    return rows


def reading_lines(report: dict[str, Any]) -> Table:
    """How the base fared by each way of reading passages, a row each; nothing where it was not asked."""
    measured = report.get("reading", {}).get("MRR@5", {})
    rows = [["the base reads", "alone", "with BM25", "rows a passage"]]
    shares = {WHOLE.name: 1.0, **report.get("reading", {}).get("rows_a_passage", {})}
    for name, found in measured.items():
        rows.append([name, f"{found['alone']:.3f}", f"{found['fused']:.3f}", f"{shares[name]:.1f}"])
    return rows if measured else []


def reading_sentence(report: dict[str, Any]) -> str:
    """How passages are read, and why; empty for a result of a version that only knew whole ones."""
    if "reading" not in report:
        return ""
    found, name = report["reading"], report["shipped"]["reading"]
    if found["by"] == "setting":
        return f"passages are read by {name}, as was asked for" if not read_whole(report) else ""
    if "gain" not in found:
        return "passages are read whole: none is longer than a window, or too few queries can tell"
    gain = found["gain"]
    return (
        f"passages are read by {name}: on {found['queries']:,} queries of train and dev, which the base has not seen, "
        f"windows gain {gain['value']:+.3f} (90 % interval {gain['low']:+.3f} to {gain['high']:+.3f}), chosen on other "
        "queries"
    )


def length_sentence(report: dict[str, Any]) -> str:
    """Which share of passages and queries is longer than what is read of them; empty where none is, or nobody knows."""
    found = report.get("reading", {})
    longer, trained = found.get("longer", {"share": 0.0}), found.get("trained_on_longer", 0.0)
    said = []
    if longer["share"]:
        end = "whose ends are not read" if read_whole(report) else "which windows read to the end"
        said.append(
            f"{longer['share']:.0%} of the passages are longer than the {longer['tokens']} tokens that the model reads "
            f"at once, {end}"
        )
    # a result of an earlier version does not know
    if of_queries := longer.get("queries", 0.0):
        said.append(
            f"{of_queries:.0%} of the queries are longer than {longer['tokens']} tokens: their ends are not read"
        )
    if trained:
        said.append(
            f"{trained:.0%} of those it was trained on are longer than training reads: it saw their best window"
        )
    return "; ".join(said)


def reranker_sentence(report: dict[str, Any]) -> str:
    """Whether to deploy the reranker, by figures; empty for a run without one."""
    if "reranker" not in report:
        return ""
    found = report["reranker"]
    decided, took = found["decided"], found["milliseconds"]
    gain, deploy = decided["gain"], found["deploy"]
    said = (
        "deploy the reranker after what finds passages" if deploy else "deploy what finds passages without the reranker"
    )
    # a version that does not say took the reranker's order alone
    counts, chosen = "", ""
    if (share := decided.get("share", 1.0)) < 1:
        counts = f"(its score counts {share:.0%}, that before {1 - share:.0%}, both spread over those) "
        chosen = ", by shares chosen on other queries"
    which = "of dev" if decided["by"] == "dev" else "of train and dev, by five-fold cross-fitting,"
    said += (
        f": on {decided['queries']:,} queries {which} rescoring the best {decided['rescored']} {counts}changes "
        f"MRR@5 by {gain['value']:+.3f} (90 % interval {gain['low']:+.3f} to {gain['high']:+.3f}{chosen})"
    )
    if "means" in found:
        names = [name for name in ("MRR@5", "nDCG@10") if name in found["difference"]]
        before, after = (found["means"][name] for name in ("alone", "reranked"))
        told = [
            f"{name} from {before[name]:.3f} to {after[name]:.3f} {_interval(found['difference'][name])}"
            for name in names
        ]
        said += f"; on the test {' and '.join(told)}"
        if "Recall@100" in before:
            said += f", where Recall@100 of the first stage is {before['Recall@100']:.3f}"
    return f"{said}; a query takes {took['reranked']:.0f} ms on this machine, without it {took['alone']:.0f} ms"


def read_whole(report: dict[str, Any]) -> bool:
    """Whether passages are read whole, as all versions did that do not say."""
    return bool(report["shipped"].get("reading", WHOLE.name) == WHOLE.name)


def decided_by(report: dict[str, Any]) -> str:
    """By how many queries round and fusion were decided, in a sentence."""
    found = report["decided"]["round"]
    how = "dev" if found["by"] == "dev" else "train and dev, by five-fold cross-fitting,"
    proven = "the best with a proven gain (90 % interval above zero) is taken, without one the base"
    rule = proven if found["must_prove"] else "the best is taken"
    return f"{found['queries']:,} queries of {how} decide: {rule}"


def drawn_by(report: dict[str, Any]) -> str:
    """What intervals and p values draw."""
    by = report["grouped"]["by"]
    return "queries" if by == "query" else f"{by}s, since questions about one depend on each other"


def change(found: dict[str, float], *, enough: bool = True) -> str:
    """A difference, with its interval where there is enough to trust that."""
    return f"{found['value']:+.3f} {_interval(found)}" if enough else f"{found['value']:+.3f}"


def _interval(found: dict[str, float]) -> str:
    return f"[{found['low']:+.3f}, {found['high']:+.3f}]"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "< 0.0001"
