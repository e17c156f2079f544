"""What a run is going to do and how long that takes, read from the calls that it is going to make."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa

from denizen.data.artifacts import Model
from denizen.data.prepare import Labelled, Unlabelled
from denizen.data.tables import texts
from denizen.engine.artifact import Artifact
from denizen.engine.step import Context
from denizen.llm.budget import Prices
from denizen.llm.local import slots
from denizen.llm.prompts import prompt_text
from denizen.measuring.crossfit import FOLDS
from denizen.measuring.probes import Probes, RetrievalProbe
from denizen.measuring.students import ENOUGH
from denizen.recipes.config import AdaptConfig
from denizen.recipes.run_folder import read_config
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.encoder import encode
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.matryoshka import promised
from denizen.supervision import synthesis, trial
from denizen.supervision.asking import GRADE_TOKENS, QUESTION_TOKENS, TOKEN_CHARS
from denizen.supervision.grading import DEV_TOP, TEST_TOP, Sampling
from denizen.supervision.taught import Taught
from denizen.supervision.write_queries import KEPT, read_query_log
from denizen.training.train import Training

_SAMPLE = 48
_STEP_TEXTS = 64


def plan_lines(
    config: AdaptConfig,
    source: Labelled | Unlabelled,
    base: Model,
    planned: Sequence[Artifact],
    ctx: Context,
    origin: Model | None = None,
) -> list[str]:
    """The plan as people read it, from the corpus, which is there already, and what every step is going to make."""
    if isinstance(source, Unlabelled):
        lines = _teacher_lines(config, cast("Taught", config.supervision), source)
    else:
        lines = _training_lines(config, source, base, [each for each in planned if each.pending], ctx)
        lines += _reused(config, texts(source.corpus.table), base, origin, ctx) if origin else []
    return [*lines, *_dim_lines(config, base)]


def _training_lines(
    config: AdaptConfig, source: Labelled, base: Model, planned: Sequence[Artifact], ctx: Context
) -> list[str]:
    """Steps and minutes: encoding and training are timed on a sample of the corpus on this machine.

    Mined triplets are counted at their upper limit, since how many there are is known only after mining.
    """
    passages, counts = texts(source.corpus.table), source.facts["queries"]
    seconds, training_seconds, backend = speed(config.encoding, config.training, passages, base, ctx)
    asked = list(source.queries.texts("train", "dev", "test").values())
    cut = _cut(config, passages, asked, base, ctx)

    def total(name: str, part: str) -> float:
        return float(sum(each.facts.get(name, 0) for each in planned if _part(each.place) == part))

    def work(part: str) -> float:
        return total("encoded_texts", part) * seconds + total("trained_texts", part) * training_seconds

    probes = [probe for probe in ctx[Probes].test if isinstance(probe, RetrievalProbe)]
    in_sets = sum(len(probe.data.corpus) for probe in probes)
    encoding = total("encoded_texts", "rounds") * seconds
    training = total("trained_texts", "rounds") * training_seconds
    crossfit, besides = work("crossfit"), work("besides")
    size = _size_lines(config, base, sum(total("trained_texts", part) for part in ("rounds", "crossfit", "besides")))
    besides += sum(2 * in_sets * seconds for each in planned if "measured_sets" in each.facts)
    # where the limit is broken, a merge embeds the sets, and what is ranked high for the queries that decide; two are
    # usually enough
    pool = min(20 * counts["dev"], len(passages))
    merging = sum(min(2, each.facts.get("merges", 0)) for each in planned) * (pool + in_sets) * seconds
    steps = [each.facts["steps"] for each in planned if each.place.startswith("round-") and "steps" in each.facts]
    mined = f"{config.negatives} mined + {(config.batch_size - 1) * (1 + config.negatives)} in batch"
    minutes = max(1, round((encoding + training + crossfit + besides) / 60))
    lines = [
        f"plan  {len(passages):,} passages of {source.facts['documents']:,} documents",
        f"      queries: {counts['train']:,} train, {counts['dev']:,} dev, {counts['test']:,} test",
        *cut,
        f"      {config.rounds} round(s) of {config.loss}, batch {config.batch_size}, negatives a query: "
        f"{'1 mined' if config.training.triplets else mined}",
        f"      at most {' + '.join(f'{count:,}' for count in steps) or 'no'} steps, encoding by {backend}",
        f"      about {minutes} minute{'s' if minutes > 1 else ''}: {encoding / 60:.0f} encoding "
        f"({1 / seconds:.0f} passages/s), {training / 60:.0f} training, {besides / 60:.0f} baselines, sets and seeds",
    ]
    if crossfit:
        lines[-1] += f", {crossfit / 60:.0f} cross-fitting"
        lines.append(
            f"      {counts['dev']:,} dev queries are few, so train decides, too: the rounds {FOLDS} times more"
        )
    lines += size
    if merging:
        lines.append(
            f"      some {merging / 60:.0f} more where a merge has to be found that keeps the limit on forgetting"
        )
    return lines


def _size_lines(config: AdaptConfig, base: Model, texts: float) -> list[str]:
    """What training a decoder-only LLM takes here and on a GPU; nothing for another model."""
    from denizen.retrievers.model_folder import is_decoder
    from denizen.training.footprint import footprint_of, size_lines

    return size_lines(footprint_of(base.path, config.training), config.training, texts) if is_decoder(base.path) else []


def _dim_lines(config: AdaptConfig, base: Model) -> list[str]:
    """To how many dimensions embeddings may be cut, and how that is known; nothing where nobody says that they may."""
    promise, asked = promised(base.path), config.training.cut_dims
    lines = []
    if dims := asked or promise.dims:
        why = "as was asked for" if asked else "as the base's folder says"
        lines.append(f"      trained to be cut to {', '.join(map(str, dims))} dimensions, too, {why}")
    elif promise.losses:
        lines.append(
            f"      the base's card names {', '.join(promise.losses)} and no dimensions: give --dims, or it may not be "
            "cut after this"
        )
    if promise.layers:
        lines.append("      the base may be used by its first layers, as its card says: that is not kept")
    return lines


def _reused(config: AdaptConfig, passages: Sequence[str], base: Model, origin: Model, ctx: Context) -> list[str]:
    """How many passages the store has nothing of, by the models that an earlier run has embedded its own with."""
    counts = [
        BiEncoder(model.path, config.encoding, ctx[Encoders], model.digest).encoder.lacking(passages, "document")
        for model in (base, origin)
    ]
    known = []
    if before := read_config(Path(config.from_run)).from_run:
        known = [f"      what {before} had learnt, from which that went on, is known only where it stands here, too"]
    return [
        *known,
        f"      goes on from {config.from_run}: of {len(passages):,} passages {counts[0]:,} are encoded anew by the "
        f"model that it ships, {counts[1]:,} by its base; the minutes above count all",
    ]


def _cut(config: AdaptConfig, passages: Sequence[str], queries: Sequence[str], base: Model, ctx: Context) -> list[str]:
    """Which share of passages and queries is longer than what is read of them; nothing where none is."""
    from denizen.retrievers.windows import shares_longer
    from denizen.training.train import seen_at_once

    model = BiEncoder(base.path, config.encoding, ctx[Encoders], base.digest)
    whole, trained = (seen_at_once(model, limit) for limit in (0, config.max_tokens))
    if not whole:
        return []
    tokenizer = model.encoder.model.tokenizer
    of_whole, of_trained = shares_longer(tokenizer, passages, (whole, trained))
    (of_queries,) = shares_longer(tokenizer, queries, (whole,))
    lines = [
        f"      passages longer than the {whole} tokens that the model reads at once: {of_whole:.0%}; "
        f"than the {trained} of training, which sees the best window: {of_trained:.0%}"
    ]
    cut = (
        f"      queries longer than the {whole} tokens that the model reads: {of_queries:.0%}; their ends are not read"
    )
    return (lines if of_trained else []) + ([cut] if of_queries else [])


def _part(place: str) -> str:
    return "rounds" if place.startswith("round-") else "crossfit" if "crossfit/" in place else "besides"


def speed(
    encoding: Encoding, training: Training, passages: Sequence[str], base: Model, ctx: Context
) -> tuple[float, float, str]:
    """Seconds to encode a passage and to train on one, and what encodes."""
    from denizen.training.bi_encoder import seconds_of_a_step

    sample = passages[:: max(1, len(passages) // _SAMPLE)][:_SAMPLE]
    encoder = BiEncoder(base.path, encoding, ctx[Encoders], base.digest).encoder
    model, backend = encoder.loaded(passages)
    encode(model, sample[:4], "document", backend)
    began = time.perf_counter()
    encode(model, sample, "document", backend)
    seconds = (time.perf_counter() - began) / len(sample)
    batch = passages[:: max(1, len(passages) // _STEP_TEXTS)][:_STEP_TEXTS]
    return seconds, seconds_of_a_step(base.path, batch, training) / len(batch), backend.name


def _teacher_lines(config: AdaptConfig, taught: Taught, source: Unlabelled) -> list[str]:
    """What a teacher will be asked for and what that costs, likely and at most, before the first call.

    At most: every query is asked for twice, and then kept. Likely: half of them are. Tokens are estimated at four
    characters each; grades that earlier rounds or runs have stored cost nothing.
    """
    corpus, documents, labelled = source.corpus.table, source.documents.table, source.has_labels
    domains = len(documents["domain"].unique())
    wanted = sum(taught.synthesis.counts(labelled).values()) * domains
    written = min(wanted, len(config.styles.split(",")) * len(corpus)) if config.llm else 0
    likely, most = (_asked(config, taught, corpus, labelled, written, keep) for keep in (KEPT, 1.0))
    lines = [
        f"plan  {len(corpus):,} passages of {source.facts['documents']:,} documents in {domains} domain(s)",
        f"      about {likely.writing:,}, at most {most.writing:,} calls write about {likely.queries:,} queries"
        + (f" and {likely.negatives:,} to {most.negatives:,} hard negatives" if most.negatives else ""),
        f"      about {likely.grades:,}, at most {most.grades:,} grades in {config.rounds} round(s) and the test by "
        f"{config.teacher}, {likely.calls:,} to {most.calls:,} calls",
        f"      about {likely.into / 1e6:.2f} million tokens in, {likely.out / 1e6:.2f} million out"
        f"{_price(taught.asking.of_llm(config.llm).prices, likely, most)}",
        *_served_lines(taught),
    ]
    if config.cross_fitting and likely.dev < ENOUGH:
        lines.append(
            f"      about {likely.dev:,} dev queries are few, so train decides, too: the rounds are trained "
            f"{FOLDS} times more, each on {FOLDS - 1} of {FOLDS} parts of the queries; that asks for no grades"
        )
    return lines


@dataclass(frozen=True)
class _Asked:
    """What a run asks for: queries, of which dev's, and grades, calls that write and that grade, tokens in and out.

    Of the calls that write and that grade, `negatives` each are for passages that are written as negatives.
    """

    queries: int
    dev: int
    grades: int
    writing: int
    calls: int
    into: float
    out: float
    negatives: int


def _asked(config: AdaptConfig, taught: Taught, corpus: pa.Table, labelled: bool, written: int, keep: float) -> _Asked:
    counts = taught.synthesis.counts(labelled)
    kept = {split: written * count * keep / sum(counts.values()) for split, count in counts.items()}
    in_persona = kept["train"] * config.persona_queries if config.llm else 0.0
    log = Path(config.query_log).expanduser() if config.query_log else None
    for query in read_query_log(log, taught.synthesis, labelled) if log else ():
        kept[query.split] = kept.get(query.split, 0) + 1
    # a persona that repeats itself is asked again a few times
    writing = round(written * (1 + keep)) + synthesis.persona_calls(math.ceil(in_persona)) * (3 if keep == 1 else 1)
    grades = (kept["train"] + in_persona) * _graded_of_query(taught.sampling, corpus) * config.rounds
    grades += kept["dev"] * DEV_TOP * (config.rounds + 1) + kept.get("test", 0) * TEST_TOP
    tried = 2 * min(trial.QUERIES, kept["train"] + kept["dev"]) if config.teacher == "llm" and config.least_kappa else 0
    shown = math.ceil(grades) if config.teacher == "llm" else 0
    together = config.grades_per_call if config.teacher == "llm" else 1
    calls = math.ceil(shown / together)
    if together > 1:
        # the last call of a query may be for less
        calls += math.ceil((sum(kept.values()) + in_persona) * config.rounds)
    # the judge's trial, and what is written as a negative, one a call
    negatives = math.ceil(min(config.synthetic_negatives, kept["train"])) if config.teacher == "llm" else 0
    tried, writing = tried + negatives, writing + negatives
    calls, shown, grades = calls + math.ceil(tried), shown + math.ceil(tried), grades + tried
    lengths = [len(text) for text in texts(corpus)]
    passage = sum(lengths) / len(lengths) / TOKEN_CHARS
    words = {name: len(prompt_text(name)) / TOKEN_CHARS for name in ("question", "grade")}
    into = writing * (words["question"] + passage) + calls * words["grade"] + shown * passage
    out = writing * QUESTION_TOKENS + negatives * passage + shown * GRADE_TOKENS
    queries = math.ceil(sum(kept.values()) + in_persona)
    return _Asked(queries, round(kept["dev"]), math.ceil(grades), writing, calls, into, out, negatives)


def _graded_of_query(config: Sampling, corpus: pa.Table) -> int:
    """How many passages a query has graded in a round at most: the best and twice as many below, of each document."""
    wanted = 3 * config.graded_top
    if config.within(corpus) == "corpus":
        return wanted
    documents = len(corpus["parent_id"].unique())
    return min(config.found_by, documents) * min(wanted, -(-len(corpus) // documents))


def _price(told: str, likely: _Asked, most: _Asked) -> str:
    prices = Prices.read(told)
    if prices is None:
        return "; price unknown"
    if prices == Prices(0, 0):
        return "; no money"
    about, limit = ((found.into * prices.input + found.out * prices.output) / 1e6 for found in (likely, most))
    return f"; about {about:.2f}, at most {limit:.2f} at {told} a million"


def _served_lines(taught: Taught) -> list[str]:
    """Who serves a file; nothing for an endpoint."""
    if (called := taught.llm_called) == taught.llm:
        return []
    return [f"      {called} is served here by llama.cpp, {min(taught.asking.concurrency, slots())} call(s) at a time"]
