"""`prompt-search`: a better instruction before queries for a model that stays as it is, searched on dev, read on test.

corpus -> search (half of dev) -> taken or not (the other half) -> the model with it -> test, before and after
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from denizen.data.artifacts import Evaluation
from denizen.data.formats import read_source
from denizen.data.prepare import Labelled, Splitting, given_by, prepare
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.engine.files import read_json, write_json
from denizen.engine.pipeline import RECORD, Pipeline, records
from denizen.engine.progress import Progress, Silent
from denizen.engine.redo import no_step, open_redo
from denizen.engine.run_folder import check_store, held
from denizen.engine.settings import Setting, check_names, settings_of
from denizen.engine.step import Context
from denizen.engine.versions import installed
from denizen.llm.client import LLM
from denizen.llm.prompts import prompts_digest
from denizen.measuring.provenance import SCHEMA
from denizen.prompting.proposals import PROMPT, STAGE
from denizen.prompting.search import Found, PromptSearch, check_installed, most_calls, search
from denizen.prompting.shipping import instructed, measure_both
from denizen.recipes.run_folder import read_config
from denizen.retrievers.backbone import Backbone
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.instruction import query_prompt
from denizen.retrievers.loading import load_encoder, locate
from denizen.retrievers.model_ref import outside_model
from denizen.supervision.asking import REPLIES, Asking, named, spending

# one call is made at a time, and what an LLM does not answer is counted
SETTINGS: dict[str, Setting] = {
    name: each
    for name, each in settings_of(PromptSearch, Splitting, Backbone, Asking).items()
    if name not in ("concurrency", "min_coverage")
}


def prompt_search(
    model: str,
    data: str,
    llm: str,
    out: Path,
    *,
    redo: str | None = None,
    store: str = "",
    progress: Progress | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Searches for a better instruction before a model's queries, and writes the model with it.

    Args:
        model: A model whose query prompt has an instruction, or a decoder-only LLM.
        data: A labelled source as `adapt` takes it, or the folder of a run with labels, whose sides are kept.
        llm: Who writes instructions: a GGUF file, or its name at the endpoint.
        out: A new folder; the same command again goes on.
        redo: A step from which to do everything anew: corpus, search, model or test.
        store: Folder of embeddings to share; empty: in `out`.
        progress: Receives what a person should see.
        settings: Those of `PromptSearch`, `Splitting`, `Backbone` and `Asking`.

    Returns:
        The contents of prompt-search.json: what was tried and taken, why, and test before and after.

    Raises:
        InputError: When gepa is missing, the model has no instruction, the source cannot be used, nothing came of the
            LLM, or `out` holds another search.
        LeakError: When the source's splits leak and neither drop_leaks nor allow_leak is set.
    """
    check_names(settings, SETTINGS)
    progress, params, asking = progress or Silent(), PromptSearch.of(settings), Asking.of(settings)
    check_installed()
    params.check()
    asking.check(llm)
    check_store(store)
    folder = locate(model, Backbone.of(settings))
    # before anything is read, embedded or paid
    query_prompt(load_encoder(folder), model)
    # what was paid for stays, whatever stops the rest
    with held(out, begun=(REPLIES,)):
        client = asking.client(llm, out)
        encoders = Encoders(Path(store).expanduser() if store else out / "embeddings")
        context, result = Context(progress, resources={Encoders: encoders, LLM: client}), out / "prompt-search.json"
        run = Pipeline(out, None, context, asking.limits(client), results=[result])
        base, asked = outside_model(folder), Value([client.model, prompts_digest(PROMPT), installed("gepa")])

        def steps(run: Pipeline) -> tuple[Found, Evaluation]:
            made = _labelled(run, data, Splitting.of(settings), out)
            shared = {"model": base, "corpus": made.corpus, "queries": made.queries, "qrels": made.qrels}
            found = run(search, params, asked=asked, **shared)
            run(instructed, params, model=base, found=found)
            return found, run(measure_both, params, found=found, **shared)

        if redo and (wrong := no_step(redo, run.plan(steps), {})):
            raise InputError(wrong)
        run.redo = open_redo(out, redo, records(out), params.as_dict())
        progress.say(f"at most {most_calls(params.evaluations):,} calls of {client.model}")
        found, tested = steps(run)
        report = {"schema": SCHEMA, "model": model, "data": data, "settings": params.as_dict(), "llm": named(client)}
        report |= {"search": read_json(found.path / "search.json"), "test": dict(tested.facts)}
        report |= {"spending": spending(client)["by_stage"].get(STAGE, {})}
        write_json(result, report)
        run.redo.end()
    return report


def _labelled(run: Pipeline, data: str, params: Splitting, out: Path) -> Labelled:
    """Passages, queries with their sides, and labels, of a source or of a run that has them."""
    folder = Path(data).expanduser()
    if not (folder / "corpus" / RECORD).is_file():
        given = given_by(lambda: read_source(data, params.skip_bad_rows), data, out)
        with run.using(given):
            return run(prepare, params, source=given.source)
    if (teacher := read_config(folder).teacher) != "gold":
        raise InputError(f"{data} is a run with teacher {teacher}; give one with labels, or a labelled source")
    return Labelled.outside(folder / "corpus", without=frozenset({RECORD}))
