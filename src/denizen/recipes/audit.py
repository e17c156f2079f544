"""`audit`: can the judge of a run be trusted? Kappa says it, since a judge that always says no agrees with anybody."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import held
from denizen.measuring.agreement import compare
from denizen.recipes.run_folder import is_own_llm, judge_of, llm_of, read_config
from denizen.supervision import audit as questions
from denizen.supervision.asking import spending


def audit(  # noqa: PLR0913
    run: Path,
    *,
    sample: int = 200,
    second_llm: str = "",
    second_endpoint: str = "",
    second_prices: str = "",
    export: Path | None = None,
    people: Path | None = None,
    seed: int = 42,
    progress: Progress | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """Measures the agreement of a run's LLM judge, and writes RUN/audit.json.

    Args:
        run: The folder of a run with teacher llm.
        sample: How many judged pairs are looked at, drawn at random; as many planted ones and 120 decoys come on top.
        second_llm: Another LLM that grades the same pairs: a GGUF file, or its name at its endpoint.
        second_endpoint: Its endpoint, whose key is in JUDGE_API_KEY; empty: that of the run, and none for a file.
        second_prices: Its prices; empty: as free as those of the run.
        export: Write the sample as a sheet for people to grade (.csv or .xlsx) and stop there.
        people: A sheet that people have graded.
        seed: Seed of the drawing. Another one draws other pairs, and a sheet fits only its own.
        progress: Receives what a person should see.
        changed: Settings of the run that do not decide results: endpoint, prices, budgets.

    Returns:
        The contents of audit.json: kappas with intervals, rates, the headline; or how many pairs were exported.

    Raises:
        InputError: When the run has no judgments of an LLM, a sheet does not fit it, or the budget ends.
    """
    progress, config = progress or Silent(), read_config(run, **changed)
    if config.teacher != "llm":
        raise InputError(f"{run} has no judgments by an LLM; audit needs a run with --teacher llm")
    if second_llm and is_own_llm(config, run, second_llm, second_endpoint):
        raise InputError(f"second_llm is {second_llm!r}, the run's own judge; name another one")
    with held(run), progress.working(questions.STAGE):
        pairs = questions.graded_pairs(run)
        if not pairs:
            raise InputError(f"{run} has no judgments by an LLM; audit needs a run with --teacher llm")
        drawn = questions.draw(pairs, sample, seed)
        chosen, given = list(drawn), list(drawn.values())
        if export is not None:
            return questions.export(export, chosen)
        # what is wrong with a sheet, or with a second judge, is said before anything is paid
        by_people = {"people": questions.people_agreement(pairs, people)} if people else {}
        llm = llm_of(config, run)
        second = judge_of(config, run, second_llm, second_endpoint, second_prices) if second_llm else None
        asked = len({pair.query_id for pair in chosen})
        calls = len(chosen) * (2 if second else 1) + 3 * sample + 2 * asked + questions.decoy_calls(asked)
        progress.say(f"at most {calls:,} calls; those that were made before cost nothing")
        ask = partial(questions.grades, llm, progress)
        found: dict[str, Any] = {"llm": llm.model, "pairs": len(chosen), "seed": seed}
        found["again"] = compare(given, ask(chosen, together=config.grades_per_call, repeat=1))
        found |= questions.together(pairs, sample, config.grades_per_call, seed, ask)
        apart = questions.with_strangers(run, chosen, seed)
        read = questions.reading(ask, questions.answer_line(run))
        found |= {"planted": questions.planted(apart, read), "decoys": questions.decoys(apart, read)}
        if second:
            found["second_llm"] = {"llm": second.model, **compare(given, questions.grades(second, progress, chosen))}
        found |= by_people
        found |= {"headline": questions.headline(found), "spending": spending(llm)["by_stage"].get("audit", {})}
        write_json(run / "audit.json", found)
    return found
