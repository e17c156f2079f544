"""`language`: documents, a base and its instruct model in; a model that knows the domain and follows instructions out.

corpus -> the base trained further on it -> plus what instruction tuning has made of the base (arXiv 2410.10739)
all of them are measured: how well they foresee held-out documents, how well they follow instructions
beside them, when asked for, what people do: the instruct model itself trained further
where there are rows of tasks, or an LLM that writes them, experts over what came out (language_experts.py)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from denizen.data.artifacts import Adapter, Evaluation, Model
from denizen.data.prepare import Given, Unlabelled, divide
from denizen.data.task_rows import TASKS
from denizen.engine.artifact import Artifact, Value
from denizen.engine.pipeline import Pipeline
from denizen.measuring.instructions import instructions
from denizen.measuring.language_models import compare_models
from denizen.measuring.perplexity import perplexity
from denizen.merging.residual import Residual, add_residual
from denizen.merging.scale_search import chosen_scale, search_scale
from denizen.recipes.language_config import LanguageConfig
from denizen.recipes.language_experts import BroughtTasks, Experts, experts
from denizen.tasks.collect import collect_tasks
from denizen.training.fine_tune import fine_tune
from denizen.training.instruct import fold, with_turns
from denizen.training.pretrain import pretrain


@dataclass(frozen=True)
class BroughtModels:
    """What a run is given besides its settings.

    Attributes:
        base: The base.
        instruct: What its maker has tuned from it; None: it is made of rows.
        given: How the documents are read.
        tasks: What experts learn from; None: there are none.
        instruct_rows: Files of instructions with answers.
    """

    base: Model
    instruct: Model | None
    given: Given
    tasks: BroughtTasks | None = None
    instruct_rows: Sequence[Artifact] = ()


@dataclass(frozen=True)
class Language:
    """What a run has come to.

    Attributes:
        corpus: Passages and the side of each document.
        models: Name to model, in the order of the table.
        tuned: Adapters that make the base the instruct model; None: that was given.
        scale: How that of the residual was chosen; None: it was given.
        perplexity: Name to how well it foresees held-out documents.
        instructions: Name to how well it follows instructions.
        comparison: Of them with one another.
        experts: Over the residual model; None: there are no tasks.
    """

    corpus: Unlabelled
    models: Mapping[str, Model]
    tuned: Adapter | None
    scale: Evaluation | None
    perplexity: Mapping[str, Evaluation]
    instructions: Mapping[str, Evaluation]
    comparison: Evaluation
    experts: Experts | None = None


def language(run: Pipeline, config: LanguageConfig, brought: BroughtModels) -> Language:
    """All steps."""
    corpus = divided(run, config, brought.given)
    instruct, tuned = instructed(run, config, brought, corpus)
    models, scale = trained(run, config, brought.base, instruct, corpus)
    foreseen, followed = dict[str, Evaluation](), dict[str, Evaluation]()
    held = {"corpus": corpus.corpus, "documents": corpus.documents}
    for name, model in models.items():
        with run.scope("perplexity"):
            foreseen[name] = run(perplexity.named(name), config.reading.on_this_machine(), model=model, **held)
        with run.scope("instructions"):
            followed[name] = run(instructions.named(name), config.answering.on_this_machine(), model=model)
    comparison = run(compare_models, perplexity=foreseen, instructions=followed)
    made = experts(run, config, brought.tasks, corpus, models) if brought.tasks else None
    return Language(corpus, models, tuned, scale, foreseen, followed, comparison, made)


def divided(run: Pipeline, config: LanguageConfig, given: Given) -> Unlabelled:
    """Step corpus: passages, and which documents are held out, by near-duplicate cluster."""
    with run.using(given):
        return run(divide, config.dividing, source=given.source)


def instructed(
    run: Pipeline, config: LanguageConfig, brought: BroughtModels, corpus: Unlabelled
) -> tuple[Model, Adapter | None]:
    """The instruct model as it was given, or the base tuned on rows of instructions, with the adapters of that."""
    if brought.instruct is not None:
        return brought.instruct, None
    with run.scope("instructing"):
        # nothing is written: what follows instructions is to be told from what knows the domain
        given = replace(config.writing, llm="", written_questions=0, written_summaries=0, written_labels=0)
        tables = {"corpus": corpus.corpus, "documents": corpus.documents}
        rows = run(collect_tasks, given, **tables, given=list(brought.instruct_rows), prompts=Value(""))
        start = run(with_turns, base=brought.base)
        tuned = run(fine_tune, config.fine_tuning.on_this_machine(), start=start, rows=rows, tasks=Value(list(TASKS)))
    return run(fold, start=start, adapter=tuned), tuned


def trained(
    run: Pipeline, config: LanguageConfig, base: Model, instruct: Model, corpus: Unlabelled
) -> tuple[dict[str, Model], Evaluation | None]:
    """Steps pretrained and residual, with scale between them where it is searched, and what they start from."""
    texts = {"corpus": corpus.corpus, "documents": corpus.documents}
    pretraining = config.pretraining.on_this_machine()
    pretrained = run(pretrain, pretraining, start=base, **texts)
    found = {"base": base, "pretrained": pretrained, "instruct": instruct}
    if config.also_pretrain_instruct:
        name = "pretrained-instruct"
        found[name] = run(pretrain.named(name), pretraining, start=instruct, **texts)
    pair = {"base": base, "instruct": instruct, "pretrained": pretrained}
    if not config.search_scale:
        return {**found, "residual": run(add_residual, config.residual, **pair)}, None
    searched = run(search_scale, config.measuring.on_this_machine(), **pair, **texts)
    residual = run(add_residual, Residual(), **pair, scale=chosen_scale(searched))
    return {**found, "residual": residual}, searched
