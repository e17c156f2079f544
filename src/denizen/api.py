"""The Python API: what the commands do, as functions; each runs a recipe and writes what people and machines read."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from denizen.data.formats import read_source
from denizen.data.formats.grades import read_grades, with_grades
from denizen.data.formats.source import Source
from denizen.data.prepare import Given, Unlabelled, given_by
from denizen.engine.artifact import Artifact, Value
from denizen.engine.errors import InputError
from denizen.engine.files import file_digest, read_json, write_json
from denizen.engine.pipeline import Pipeline, records
from denizen.engine.progress import Progress, Silent
from denizen.engine.redo import no_step, open_redo, stopped_redo
from denizen.engine.run_folder import check_store, held
from denizen.engine.step import Context
from denizen.recipes.adapt import adapt as adapt_recipe
from denizen.recipes.adapted import Adapted, Brought
from denizen.recipes.config import WITHOUT_EFFECT, AdaptConfig, Config
from denizen.recipes.document_source import documents_of
from denizen.recipes.domains_config import DOMAINS_WITHOUT_EFFECT, DomainsConfig
from denizen.recipes.earlier_run import EarlierRun
from denizen.recipes.experts_config import EXPERTS_WITHOUT_EFFECT, ExpertsConfig
from denizen.recipes.language_config import LANGUAGE_WITHOUT_EFFECT, LanguageConfig
from denizen.recipes.learn import dims_of
from denizen.recipes.left_out import left_out
from denizen.recipes.run_folder import (
    check_config,
    is_of_language_models,
    llm_of,
    read_config,
    read_language_config,
    store_of,
)
from denizen.supervision.taught import Taught

if TYPE_CHECKING:
    from denizen.answering.from_passages import Grounded
    from denizen.answering.speaker import Speaker, SpeakerFolders
    from denizen.llm.client import LLM
    from denizen.measuring.retrieval_sets import Parts
    from denizen.recipes.domains import Domains
    from denizen.recipes.experts import BroughtSlices
    from denizen.recipes.language import BroughtModels
    from denizen.recipes.language_experts import BroughtTasks
    from denizen.reports.language_experts_plan import LanguageExpertsPlan
    from denizen.reports.language_plan import LanguagePlan

_RESULTS = ("metrics.json", "results.json", "report.html", "try.html")
C = TypeVar("C", bound=ExpertsConfig)


def adapt(
    config: AdaptConfig,
    out: Path,
    *,
    redo: str | None = None,
    progress: Progress | None = None,
    source: Source | None = None,
    sets: Sequence[Parts] | None = None,
) -> dict[str, Any]:
    """Adapts a bi-encoder to documents.

    Args:
        config: The settings.
        out: The run's folder; a run with the same settings that was stopped there goes on.
        redo: A step from which to do everything anew, such as "round-0/student", "student" or "round-0".
        progress: Receives what a person should see.
        source: Documents and queries that are read already (the demo's); `config.source` only names them then.
        sets: General and neighbour sets that are read already, instead of `config.general` and `config.neighbour`.

    Returns:
        The contents of `metrics.json`; the page that people read is `report.html` beside it.

    Raises:
        InputError: On wrong input or settings, or when `out` holds another run.
        LeakError: When the splits leak and neither drop_leaks nor allow_leak is set.
    """
    from denizen.measuring.retrieval_sets import read_parts

    progress = progress or Silent()
    config.supervision.check()
    config.encoding.check()
    check_store(config.store)
    sets = read_parts(config.general, config.neighbour, config.seed) if sets is None else sets
    earlier = EarlierRun.read(config, out)
    if earlier:
        config = config.changed(model=earlier.config.model)
        sets = [*sets, earlier.test(config.seed)]
    base, guide = _models(config, sets, earlier)
    with held(out, begun=("corpus", "documents")):
        check_config(out, config, redo)
        if not (out / "corpus").exists():
            # a model that cannot be used is better known before the corpus is read
            _check_models(config, base, guide, sets)
        if isinstance(config.supervision, Taught):
            given = documents_of(config, out, progress)
        else:
            given = given_by(
                lambda: source or read_source(config.source, config.skip_bad_rows), source or config.source, out
            )
            if config.grades:
                given = _graded(given, Path(config.grades).expanduser())
        brought = _brought(config, base, guide, given, sets)
        if earlier:
            earlier.hand_over(store_of(config, out), out)
            given = replace(given, earlier=earlier.tables)
            brought = replace(brought, source=given, origin=earlier.base)
        return _Adapting(config, out, progress, brought, sets).report(redo)


def experts(
    config: ExpertsConfig, out: Path, *, redo: str | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Trains an expert for each labelled slice, and merges them into one model.

    Args:
        config: The settings.
        out: The run's folder; a run with the same settings that was stopped there goes on, and with another slice it
            trains that expert alone.
        redo: A step from which to do everything anew, such as "experts/legal", "merge" or "test".
        progress: Receives what a person should see.

    Returns:
        The contents of `metrics.json`; the page that people read is `report.html` beside it.

    Raises:
        InputError: On wrong input or settings, fewer than two slices, a missing library, or when `out` holds another
            run.
        LeakError: When a split leaks, or slices into one another, and neither drop_leaks nor allow_leak is set.
    """
    with _of_slices(config, out, redo, EXPERTS_WITHOUT_EFFECT) as brought:
        return _Merging(config, out, progress or Silent(), brought).report(redo)


def domains(
    config: DomainsConfig,
    out: Path,
    *,
    redo: str | None = None,
    replace: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compares what can be done with several labelled domains, and recommends one option.

    One general base, joint training, routing to experts, ensembles and merged weights search one corpus of all domains.

    Args:
        config: The settings.
        out: The run's folder; a run with the same settings that was stopped there goes on, and with one domain more or
            less it leaves what belongs to the others as it is.
        redo: A step from which to do everything anew, such as "experts/legal", "routers" or "recommendation".
        replace: A domain whose source is another one now: what belongs to it is done anew, what is of others stays.
        progress: Receives what a person should see.

    Returns:
        The contents of `metrics.json`; the page that people read is `report.html` beside it.

    Raises:
        InputError: On wrong input or settings, fewer than two domains, a missing library, or when `out` holds another
            run.
        LeakError: When a split leaks, or domains into one another, and neither drop_leaks nor allow_leak is set.
    """
    if "sampling_temperature" not in (read_json(out / "config.json") or {"sampling_temperature": 0}):
        raise InputError(f"{out} holds a run of another command; use another --out, and the same --store for both")
    with _of_slices(config, out, redo, DOMAINS_WITHOUT_EFFECT) as brought:
        if replace is not None:
            if replace not in brought.slices:
                raise InputError(f"there is no domain {replace!r} to replace; there are {', '.join(brought.slices)}")
            # what was made from it is then made anew where it differs; redo would do anew all that was held against it
            shutil.rmtree(out / "slices" / replace / "corpus", ignore_errors=True)
        return _Comparing(config, out, progress or Silent(), brought).report(redo)


def language(
    config: LanguageConfig, out: Path, *, redo: str | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Trains a base language model further on documents, and gives it the abilities of its instruct model.

    Args:
        config: The settings.
        out: The run's folder; a run with the same settings that was stopped there goes on.
        redo: A step from which to do everything anew, such as "pretrained", "residual" or "instructions/residual".
        progress: Receives what a person should see.

    Returns:
        The contents of `metrics.json`; the page that people read is `report.html` beside it.

    Raises:
        InputError: On wrong input or settings, models that do not belong together, a missing library, too little memory
            or disk, or when `out` holds another run.
    """
    with _language_run(config, out, redo, progress or Silent()) as run:
        return run.report(redo)


def plan_language(config: LanguageConfig, out: Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Says what `language` is going to take: reads the documents, and times the base on a batch.

    Args:
        config: The settings.
        out: The run's folder, in which `language` with the same settings goes on from the documents.
        progress: Receives what a person should see.

    Returns:
        `lines` for people, and figures: tokens, operations, bytes of memory and disk, hours of each part on this
        machine (None where the model does not fit into it), and of `experts` their trainings and calls of LLMs at most.

    Raises:
        InputError: As of `language`, but for memory and disk.
    """
    with _language_run(config, out, None, progress or Silent()) as run:
        return run.planned()


def speaker_of(model: SpeakerFolders, progress: Progress | None = None) -> Speaker:
    """A language model in memory, with the experts of its run, ready to answer.

    Args:
        model: Where it lies, as `denizen.answering.speaker.speaker_folders` finds it.
        progress: Receives what a person should see.

    Raises:
        InputError: When it cannot be loaded.
    """
    from denizen.answering.speaker import Speaker
    from denizen.retrievers.backends import use_bf16

    with (progress or Silent()).working("load"):
        return Speaker(model, use_bf16("auto"))


def ask(
    model: SpeakerFolders,
    docs: Path,
    question: str,
    *,
    top_k: int = 4,
    expert: str | None = None,
    max_new_tokens: int = 256,
    progress: Progress | None = None,
) -> Grounded:
    """Answers a question from documents, with citations.

    Args:
        model: As of `speaker_of`.
        docs: What is searched: a run of adapt or language, a saved retriever with its corpus, what ingest made, a table
            or a BEIR folder; where no retriever is there, by BM25.
        question: The question.
        top_k: Passages that the model is shown at most.
        expert: Who is to answer; None: the answering one, where there is one.
        max_new_tokens: Tokens of the answer at most.
        progress: Receives what a person should see.

    Raises:
        InputError: When there is nothing to search or to answer by, or the question is blank.
    """
    from denizen.answering.from_passages import answer_from_passages, passages_to_search
    from denizen.language_models.streaming import Decoding

    progress = progress or Silent()
    # what cannot be searched is known before a model is loaded
    found = passages_to_search(docs, progress).search(question, top_k)
    speaker = speaker_of(model, progress)
    with progress.working("answer"):
        return answer_from_passages(speaker, found, question, Decoding(max_new_tokens), expert)


def retry(run: Path, *, progress: Progress | None = None, **changed: Any) -> dict[str, Any]:
    """Asks the failed calls of a run again, and those that its budget cut off, then goes on as `adapt` or `language`.

    Failed replies stay in the store beside their successors. A step whose calls failed is entered again, with all that
    was answered before at no cost; what follows is done anew where what it reads has changed.

    Args:
        run: The folder of a run with a teacher.
        progress: Receives what a person should see.
        changed: Settings that do not decide results, such as endpoint, prices, the budgets, concurrency, min_coverage.

    Returns:
        The contents of metrics.json.

    Raises:
        InputError: When the run has no LLM, nothing failed, or a setting is changed that decides results.
    """
    progress = progress or Silent()
    read = read_language_config if is_of_language_models(run) else read_config
    config = read(run, **changed)
    with held(run):
        llm = config.client(run) if isinstance(config, LanguageConfig) else llm_of(config, run)
        lacking = [place for place, record in records(run).items() if record["lacks"]]
        if not lacking and (run / "metrics.json").is_file():
            raise InputError(f"nothing failed in {run}, and no budget cut anything off")
        llm.replies.supersede_failures(config.thinking_tokens)
        llm.replies.close()
    progress.say(f"steps entered again: {', '.join(sorted(lacking)) or 'none that is done'}")
    if isinstance(config, LanguageConfig):
        return language(config, run, progress=progress)
    return adapt(config, run, progress=progress)


def demo(out: Path, *, full: bool = False, redo: str | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Runs `adapt` on the docstrings of installed packages with the default settings.

    Args:
        out: The run's folder.
        full: Use all docstrings.
        redo: The step from which to do everything anew.
        progress: Receives what a person should see.

    Returns:
        The contents of `metrics.json`.
    """
    from denizen.recipes.demo import demo_task

    config, source, sets = demo_task(full)
    return adapt(config, out, redo=redo, progress=progress, source=source, sets=sets)


def _graded(given: Given, path: Path) -> Given:
    """A source with what people have graded."""
    grades = read_grades(path)
    digests = {**given.digests, f"grades: {path.name}": file_digest(path)}
    return replace(given, load=lambda: with_grades(given.load(), grades), digests=digests)


def _models(config: AdaptConfig, sets: Sequence[Parts], earlier: EarlierRun | None) -> tuple[Path, Path | None]:
    from denizen.merging.methods import is_available
    from denizen.retrievers.loading import locate

    if earlier:
        config.backbone.check_unused(f"the model that {config.from_run} ships")
    base = earlier.shipped if earlier else locate(config.model, config.backbone)
    guide = locate(config.guide) if config.guide else base
    if sets and config.merge_evaluations and not is_available():
        raise InputError(
            "a merge that keeps the limit on forgetting needs mergekit: pip install 'denizen[merge]', or set "
            "merge_evaluations to 0"
        )
    return base, guide if config.loss == "gist" else None


def _reranker_start(config: AdaptConfig, base: Path) -> Path:
    from denizen.retrievers.cross_encoder import locate_cross_encoder

    return locate_cross_encoder(config.reranker_model) if config.reranker_model else base


def _check_models(config: AdaptConfig, base: Path, guide: Path | None, sets: Sequence[Parts]) -> None:
    from denizen.merging.methods import check_base
    from denizen.retrievers.cross_encoder import start_cross_encoder

    _check_base(config, base, guide)
    if config.reranker:
        start_cross_encoder(_reranker_start(config, base), config.seed)
    if sets and config.merge_evaluations:
        check_base(base)


def _check_base(config: AdaptConfig | ExpertsConfig, base: Path, guide: Path | None = None) -> None:
    """Makes sure that a model fits into this machine and can be trained as is asked for."""
    from denizen.retrievers.loading import check_trainable
    from denizen.retrievers.model_folder import is_decoder
    from denizen.training.footprint import check_room, footprint_of
    from denizen.training.generic_prompts import check_generic

    if is_decoder(base):
        # a large one would take all memory before anything could be said
        check_room(footprint_of(base, config.training), config.training, config.model)
    check_trainable(base, config.loss, guide, config.training.cut_dims)
    check_generic(base, config.model, config.training)


def _brought(config: AdaptConfig, base: Path, guide: Path | None, given: Given, sets: Sequence[Parts]) -> Brought:
    from denizen.measuring.retrieval_sets import kept_texts
    from denizen.retrievers.matryoshka import promised
    from denizen.retrievers.model_folder import is_decoder
    from denizen.retrievers.model_ref import outside_model

    kept = kept_texts(sets) if config.near_base else {}
    return Brought(
        outside_model(base),
        outside_model(guide) if guide else None,
        given,
        {part.name: Value([part.role, part.digest]) for part in sets},
        Value(kept) if any(kept.values()) else None,
        outside_model(_reranker_start(config, base)) if config.reranker else None,
        promised(base).dims,
        is_decoder(base),
    )


@contextlib.contextmanager
def _language_run(config: LanguageConfig, out: Path, redo: str | None, progress: Progress) -> Iterator[_Speaking]:
    """The folder of a run of language models, held as long as this context, with what the run is given."""
    from denizen.language_models.locating import locate_language_model
    from denizen.merging.residual import check_pair
    from denizen.recipes.language import BroughtModels
    from denizen.retrievers.model_ref import outside_model
    from denizen.training.causal_lm import check_libraries

    check_libraries(config.lora_rank)
    base, instruct = locate_language_model(config.base), None
    if config.instruct:
        instruct = locate_language_model(config.instruct)
        check_pair(base, instruct)
    rows = [Artifact.outside(Path(name).expanduser()) for name in config.instruct_rows]
    tasks = _brought_tasks(config) if config.makes_experts else None
    with held(out, begun=("corpus", "documents")):
        check_config(out, config, redo, LANGUAGE_WITHOUT_EFFECT, ("also_pretrain_instruct",))
        given = documents_of(config, out, progress)
        tuned = outside_model(instruct) if instruct else None
        brought = BroughtModels(outside_model(base), tuned, given, tasks, rows)
        yield _Speaking(config, out, progress, brought)


def _brought_tasks(config: LanguageConfig) -> BroughtTasks:
    """What the experts of a run are given.

    Raises:
        InputError: When a file is missing, or there is no such encoder.
    """
    from denizen.recipes.language_experts import BroughtTasks
    from denizen.retrievers.loading import locate
    from denizen.retrievers.model_ref import outside_model

    files = [Artifact.outside(Path(name).expanduser()) for name in config.tasks]
    labels = Artifact.outside(Path(config.labels).expanduser()) if config.labels else None
    encoder = outside_model(locate(config.bert_score_encoder)) if config.bert_score_encoder else None
    return BroughtTasks(files, labels, encoder)


@contextlib.contextmanager
def _of_slices(
    config: ExpertsConfig, out: Path, redo: str | None, without_effect: Sequence[str]
) -> Iterator[BroughtSlices]:
    """The folder of a run of slices, held as long as this context, and what the run is given."""
    from denizen.recipes.experts import BroughtSlices
    from denizen.recipes.slices import given_slices
    from denizen.retrievers.loading import locate
    from denizen.retrievers.matryoshka import promised
    from denizen.retrievers.model_ref import outside_model

    config.encoding.check()
    check_store(config.store)
    _check_merging(config)
    base = locate(config.model, config.backbone)
    with held(out, begun=("slices",)):
        check_config(out, config, redo, without_effect, ("seeds", "sources"))
        if not (out / "slices").exists():
            _check_expert_base(config, base)
        yield BroughtSlices(outside_model(base), given_slices(config, out), promised(base).dims)


def _check_merging(config: ExpertsConfig) -> None:
    """Makes sure that what merges and searches is installed."""
    from denizen.merging.methods import is_available

    if not is_available():
        raise InputError("experts are merged by mergekit, which is not installed: pip install 'denizen[merge]'")
    if config.search == "cma" and importlib.util.find_spec("cma") is None:
        raise InputError(
            "search is 'cma', and the package cma is not installed: pip install 'denizen[experts]', or --search grid"
        )


def _check_expert_base(config: ExpertsConfig, base: Path) -> None:
    """Makes sure that a model can be trained and merged before a slice is read."""
    from denizen.merging.methods import check_base

    _check_base(config, base)
    check_base(base)


def _write(out: Path, config: Config, metrics: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """What machines read of a run; metrics.json comes last, since with it a run is done."""
    write_json(out / "config.json", config.as_dict())
    write_json(out / "results.json", rows)
    write_json(out / "metrics.json", metrics)


class _OfSlices(Generic[C]):
    """A run of slices: the pipeline with what its steps work with, and the presentation of what comes out."""

    def __init__(self, config: C, out: Path, progress: Progress, brought: BroughtSlices) -> None:
        from denizen.retrievers.bi_encoder import Encoders

        store = store_of(config, out)
        self.config, self.out, self.progress, self.brought = config, out, progress, brought
        self.run = Pipeline(
            out,
            store / "steps" if config.store else None,
            Context(progress, resources={Encoders: Encoders(store, config.memory_mb)}),
            results=[out / name for name in _RESULTS],
        )

    def report(self, redo: str | None) -> dict[str, Any]:
        """Does what is left to do, and writes what is read of it: the contents of metrics.json."""
        if redo and (wrong := no_step(redo, self.run.plan(self.recipe), {})):
            raise InputError(wrong)
        self.run.redo = open_redo(self.out, redo, records(self.out), self.config.as_dict())
        self._say_plan()
        metrics = self.done(self.config.training.on_this_machine().precision)
        self.run.redo.end()
        return metrics

    def recipe(self, run: Pipeline) -> None:
        """All steps, for a plan."""
        raise NotImplementedError

    def done(self, arithmetic: str) -> dict[str, Any]:
        """All steps, and what is read of them: the contents of metrics.json."""
        raise NotImplementedError

    def _say_plan(self) -> None:
        from denizen.recipes.slices import guarded
        from denizen.reports.experts_plan import experts_plan_lines
        from denizen.reports.package import package

        # what leaks, or cannot be read, is known before anything is planned
        made, kept = guarded(self.run, self.config, self.brought.slices)
        planned = self.run.plan(self.recipe)
        if any(its.pending for place, its in planned.items() if place != package.name):
            lines = experts_plan_lines(self.config, made, kept, self.brought.base, planned, self.run.context)
            self.progress.say("\n".join(lines))


class _Merging(_OfSlices[ExpertsConfig]):
    """One `experts`."""

    def recipe(self, run: Pipeline) -> None:
        from denizen.recipes.experts import experts as experts_recipe
        from denizen.reports.package import package

        run(package, chosen=experts_recipe(run, self.config, self.brought)[0].choice, card=Value(""))

    def done(self, arithmetic: str) -> dict[str, Any]:
        from denizen.recipes.experts import experts as experts_recipe
        from denizen.reports.experts import experts_metrics, experts_records
        from denizen.reports.experts_page import experts_card, experts_page
        from denizen.reports.package import package

        found = experts_recipe(self.run, self.config, self.brought)
        metrics = experts_metrics(self.config.as_dict(), self.out, found, arithmetic)
        card = Value(experts_card(metrics, EXPERTS_WITHOUT_EFFECT), found[0].comparison.place)
        self.run(package, chosen=found[0].choice, card=card)
        _write(self.out, self.config, metrics, experts_records(metrics))
        experts_page(metrics, self.out / "report.html")
        return metrics


class _Comparing(_OfSlices[DomainsConfig]):
    """One `domains`."""

    def recipe(self, run: Pipeline) -> None:
        from denizen.recipes.domains import domains as domains_recipe

        self._ship(run, domains_recipe(run, self.config, self.brought))

    def done(self, arithmetic: str) -> dict[str, Any]:
        from denizen.recipes.domains import domains as domains_recipe
        from denizen.reports.domains import domains_metrics, domains_records
        from denizen.reports.domains_page import domains_page

        found = domains_recipe(self.run, self.config, self.brought)
        self._ship(self.run, found)
        metrics = domains_metrics(self.config.as_dict(), self.out, found, arithmetic, records(self.out))
        _write(self.out, self.config, metrics, domains_records(metrics))
        domains_page(metrics, self.out / "report.html")
        return metrics

    def _ship(self, run: Pipeline, found: Sequence[Domains]) -> None:
        from denizen.reports.package import assemble_option

        said = found[0].recommendation
        run(assemble_option, option=Value(said.taken, said.place), **found[0].made.inputs(said.taken))


class _Speaking:
    """One `language`: the pipeline, and the presentation of what comes out."""

    def __init__(self, config: LanguageConfig, out: Path, progress: Progress, brought: BroughtModels) -> None:
        self.config, self.out, self.progress, self.brought = config, out, progress, brought
        self.llm: LLM | None = None
        self.run = self._pipeline()

    def _pipeline(self) -> Pipeline:
        from denizen.answering.judge import Judge, check_judge
        from denizen.llm.client import LLM
        from denizen.supervision.asking import Asking

        config, limits = self.config, {}
        resources: dict[type, Any] = {Asking: config.asking}
        if config.llm:
            self.llm = resources[LLM] = config.client(self.out)
            limits = config.asking.limits(self.llm)
        if config.judge:
            asked = config.judge, config.judge_endpoint, config.judge_prices
            # before hours are spent on what it is to judge
            resources[Judge] = Judge(check_judge(config.asking.judge(config.llm, self.out, *asked), self.llm))
        context = Context(self.progress, resources=resources)
        return Pipeline(self.out, None, context, limits, results=[self.out / name for name in _RESULTS])

    def report(self, redo: str | None) -> dict[str, Any]:
        """Does what is left to do, and writes what is read of it: the contents of metrics.json."""
        from denizen.recipes.language import language as language_recipe
        from denizen.reports.language import language_metrics, language_records
        from denizen.reports.language_experts_plan import experts_plan_lines
        from denizen.reports.language_page import language_page
        from denizen.reports.language_plan import check_disk, check_memory, language_plan_lines, measured_speed
        from denizen.supervision.asking import named, spending

        if redo and (wrong := no_step(redo, self.run.plan(self._recipe), {})):
            raise InputError(wrong)
        self.run.redo = open_redo(self.out, redo, records(self.out), self.config.as_dict())
        corpus, plan, of_experts = self._plan()
        if plan.left or (of_experts and of_experts.trainings):
            if plan.left:
                check_memory(plan.memory, self.config.base)
            if of_experts:
                check_memory(of_experts.memory, "an expert", "lower expert_batch_size or expert_max_length")
            check_disk((plan.disk if plan.left else 0.0) + (of_experts.disk if of_experts else 0.0), self.out)
            speed = measured_speed(plan, self.brought.base.path)
            lines = [*language_plan_lines(plan, speed, corpus), *experts_plan_lines(of_experts)]
            self.progress.say("\n".join(lines))
        found = language_recipe(self.run, self.config, self.brought)
        metrics = language_metrics(self.config.as_dict(), self.out, found, plan.size.weights)
        if self.llm:
            metrics |= {"llm": named(self.llm), "spending": spending(self.llm)}
        _write(self.out, self.config, metrics, language_records(metrics))
        language_page(metrics, self.out / "report.html")
        self.run.redo.end()
        return metrics

    def planned(self) -> dict[str, Any]:
        """What is left to do, in figures and as lines."""
        from denizen.reports.language_experts_plan import experts_plan_lines
        from denizen.reports.language_plan import language_plan_lines, measured_speed

        corpus, plan, of_experts = self._plan()
        speed = measured_speed(plan, self.brought.base.path)
        lines = [*language_plan_lines(plan, speed, corpus), *experts_plan_lines(of_experts)]
        return {**plan.as_dict(speed), "experts": of_experts and of_experts.as_dict(), "lines": lines}

    def _plan(self) -> tuple[Unlabelled, LanguagePlan, LanguageExpertsPlan | None]:
        from denizen.recipes.language import divided
        from denizen.reports.language_experts_plan import language_experts_plan
        from denizen.reports.language_plan import language_plan

        # what cannot be read, or is too little, is known before anything is planned
        corpus = divided(self.run, self.config, self.brought.given)
        planned = self.run.plan(self._recipe)
        pending = [place for place, its in planned.items() if its.pending or place in self.run.redo]
        plan = language_plan(self.config, self.brought, corpus, pending)
        return corpus, plan, language_experts_plan(self.config, self.brought, corpus, planned, pending)

    def _recipe(self, run: Pipeline) -> None:
        from denizen.recipes.language import language as language_recipe

        language_recipe(run, self.config, self.brought)


class _Adapting:
    """One `adapt`: the pipeline with what its steps work with, and the presentation of what comes out."""

    def __init__(
        self, config: AdaptConfig, out: Path, progress: Progress, brought: Brought, sets: Sequence[Parts]
    ) -> None:
        self.config = config
        self.out = out
        self.progress = progress
        self.brought = brought
        self.llm: LLM | None = None
        self.run = self._pipeline(sets)

    def _pipeline(self, sets: Sequence[Parts]) -> Pipeline:
        from denizen.llm.client import LLM
        from denizen.measuring.probes import Probes
        from denizen.retrievers.bi_encoder import Encoders
        from denizen.supervision.asking import Asking

        config, limits = self.config, {}
        store = store_of(config, self.out)
        probes = Probes.of(sets, config.depth, self.progress)
        resources: dict[type, Any] = {Encoders: Encoders(store, config.memory_mb), Probes: probes}
        if isinstance(config.supervision, Taught):
            resources[Asking] = config.supervision.asking
            if config.supervision.llm:
                self.llm = resources[LLM] = llm_of(config, self.out)
                limits = config.supervision.asking.limits(self.llm)
        return Pipeline(
            self.out,
            store / "steps" if config.store else None,
            Context(self.progress, resources=resources),
            limits,
            results=[self.out / name for name in _RESULTS],
        )

    def report(self, redo: str | None) -> dict[str, Any]:
        """Does what is left to do, and writes what is read of it: the contents of metrics.json."""
        from denizen.reports import results
        from denizen.reports.card import model_card
        from denizen.reports.package import ship
        from denizen.reports.report import report

        self._check_redo(redo)
        if left := stopped_redo(self.out):
            self.progress.say(
                f"goes on with --redo {left['of']}, which was stopped: {len(left['waiting'])} step(s) left"
            )
        self.run.redo = open_redo(self.out, redo, records(self.out), self.config.as_dict())
        self._say_plan()
        found = adapt_recipe(self.run, self.config, self.brought)
        metrics = self._metrics(found)
        card = Value(model_card(metrics, WITHOUT_EFFECT), found[0].test.place)
        ship(self.run, found[0], card)
        _write(self.out, self.config, metrics, results.records(metrics))
        report(self.out)
        self.run.redo.end()
        choices = [each.choice for each in found]
        if redo and (wrong := no_step(redo, self.run.calls, left_out(self.config, self.brought, choices))):
            # what dev would choose was not known before
            raise InputError(f"{wrong}. All else is done, and the results are in {self.out}")
        return metrics

    def _recipe(self, run: Pipeline) -> None:
        from denizen.reports.package import ship

        ship(run, adapt_recipe(run, self.config, self.brought)[0], Value(""))

    def _check_redo(self, redo: str | None) -> None:
        if redo is None:
            return
        planned = self.run.plan(self._recipe)
        if wrong := no_step(redo, planned, left_out(self.config, self.brought, planned.values())):
            raise InputError(wrong)

    def _say_plan(self) -> None:
        if (self.out / "metrics.json").is_file():
            return
        from denizen.reports.plan import plan_lines

        texts = self.config.supervision.read(self.run, self.brought.source)
        planned = self.run.plan(self._recipe)
        brought, steps = self.brought, list(planned.values())
        lines = plan_lines(self.config, texts, brought.base, steps, self.run.context, brought.origin)
        self.progress.say("\n".join(lines))

    def _metrics(self, found: Sequence[Adapted]) -> dict[str, Any]:
        from denizen.reports.metrics import metrics_json, metrics_of_seed
        from denizen.reports.results import WRITTEN_FOR
        from denizen.supervision.asking import named, spending

        limit, taught = self.config.forgetting_limit, isinstance(self.config.supervision, Taught)
        arithmetic = self.config.training.on_this_machine().precision
        metrics = metrics_json(self.config.as_dict(), self.out, found[0], limit, arithmetic)
        if trained := dims_of(self.config, self.brought):
            measured = found[0].test.facts.get("dims", {})
            # a merge with a base that was not trained for that is no more than it was
            promise = trained if metrics["chosen"].startswith("round") else self.brought.dims
            metrics["dims"] = {"trained": list(trained), "promised": list(promise), "measured": measured}
        if not taught:
            seeds = range(self.config.seed, self.config.seed + len(found))
            return {**metrics, "seeds": [metrics_of_seed(*each, limit) for each in zip(seeds, found, strict=True)]}
        names = ("asked", "coverage", "failures", "cut_off_by_budget")
        facts = {place: record["facts"] for place, record in records(self.out).items()}
        asked = {
            place: {name: facts[place][name] for name in names}
            for place in self.run.calls
            if "coverage" in facts.get(place, {})
        }
        told, texts = found[0].test.facts, found[0].texts
        labelled = texts.labels is not None and texts.labels.digest != texts.pairs.digest
        judged = {
            "judged_by": told.get("judged_by", "labels" if labelled else WRITTEN_FOR),
            # what a run before this one has left behind is none of its steps
            "trial": facts.get("trial") if "trial" in self.run.calls else None,
            "test_queries_left_out": told.get("queries_left_out", {}),
        }
        asked_of = {"llm": named(self.llm)} if self.llm else {}
        return {**metrics, "seeds": [], **asked_of, "spending": spending(self.llm), "coverage": asked, **judged}
