"""`prompt-search`: a better instruction before queries for a model that stays as it is, searched on dev, read on test.

corpus -> search (half of dev) -> taken or not (the other half) -> the model with it -> test, before and after
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from denizen.data.formats import read_source
from denizen.data.prepare import Labelled, Splitting, given_by, prepare
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.engine.files import read_json, write_json
from denizen.engine.pipeline import RECORD, Pipeline
from denizen.engine.progress import Progress, Silent
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
from denizen.supervision.asking import Asking, named, spending

# one call is made at a time, and what an LLM does not answer is counted
SETTINGS: dict[str, Setting] = {
    name: each
    for name, each in settings_of(PromptSearch, Splitting, Backbone, Asking).items()
    if name not in ("concurrency", "min_coverage")
}


def prompt_search(
    model: str, data: str, llm: str, out: Path, *, store: str = "", progress: Progress | None = None, **settings: Any
) -> dict[str, Any]:
    """Searches for a better instruction before a model's queries, and writes the model with it.

    Args:
        model: A model whose query prompt has an instruction, or a decoder-only LLM.
        data: A labelled source as `adapt` takes it, or the folder of a run with labels, whose sides are kept.
        llm: Who writes instructions: a GGUF file, or its name at the endpoint.
        out: A new folder; the same command again goes on.
        store: Folder of embeddings to share; empty: in `out`.
        progress: Receives what a person should see.
        settings: Those of `PromptSearch`, `Splitting`, `Backbone` and `Asking`.

    Returns:
        The contents of prompt-search.json: what was tried and taken, why, and test before and after.

    Raises:
        InputError: When gepa is missing, the model has no instruction, the source cannot be used, or nothing came of
            the LLM.
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
    with held(out, begun=("corpus", "search")):
        client = asking.client(llm, out)
        resources = {Encoders: Encoders(Path(store).expanduser() if store else out / "embeddings"), LLM: client}
        run = Pipeline(out, None, Context(progress, resources=resources), asking.limits(client))
        made, base = _labelled(run, data, Splitting.of(settings), out), outside_model(folder)
        shared = {"model": base, "corpus": made.corpus, "queries": made.queries, "qrels": made.qrels}
        progress.say(f"at most {most_calls(params.evaluations):,} calls of {client.model}")
        asked = Value([client.model, prompts_digest(PROMPT), installed("gepa")])
        found: Found = run(search, params, asked=asked, **shared)
        run(instructed, params, model=base, found=found)
        tested = run(measure_both, params, found=found, **shared)
        report = {"schema": SCHEMA, "model": model, "data": data, "settings": params.as_dict(), "llm": named(client)}
        report |= {"search": read_json(found.path / "search.json"), "test": dict(tested.facts)}
        report |= {"spending": spending(client)["by_stage"].get(STAGE, {})}
        write_json(out / "prompt-search.json", report)
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
