"""What a run is going to do and how long that takes, said before the work begins."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from denizen.data.prepare import Data
from denizen.data.tables import texts
from denizen.llm.budget import Prices
from denizen.llm.prompts import prompt_text
from denizen.measuring.retrieval_sets import Parts
from denizen.recipes.config import AdaptConfig
from denizen.recipes.unlabelled_texts import mined_within
from denizen.retrievers.encoder import Encoder, encode
from denizen.supervision import synthesis
from denizen.supervision.teachers import GRADE_TOKENS, QUESTION_TOKENS, TOKEN_CHARS
from denizen.supervision.write_queries import query_counts, read_query_log

_SAMPLE = 48
_STEP_TEXTS = 64


def make_plan(config: AdaptConfig, data: Data, encoder: Encoder, sets: Sequence[Parts] = ()) -> str:
    """The plan as text: documents, queries, steps, negatives, minutes.

    The minutes come from encoding and training on a sample of the corpus on this machine; mined triplets are counted
    at their upper limit, since how many there are is known only after mining.
    """
    from denizen.training.bi_encoder import seconds_of_a_step, total_steps
    from denizen.training.losses import LOSSES

    triplets = LOSSES[config.loss].triplets
    train_ids = set(data.split("train")[0])
    train, dev, test = len(train_ids), len(data.split("dev")[0]), len(data.split("test")[0])
    passages = texts(data.corpus)
    sample = passages[:: max(1, len(passages) // _SAMPLE)][:_SAMPLE]
    model, backend = encoder.loaded(passages)
    encode(model, sample[:4], "document", backend)
    began = time.perf_counter()
    encode(model, sample, "document", backend)
    seconds = (time.perf_counter() - began) / len(sample)
    texts_a_row = 2 if triplets else 1 + config.negatives
    batch = passages[:: max(1, len(passages) // _STEP_TEXTS)][:_STEP_TEXTS]
    # a question is short: it counts as nothing
    training_seconds = seconds_of_a_step(encoder.folder, batch, config) / len(batch)
    # a query gives a hard and an easy triplet at most, or a row for each relevant passage that is taken
    if triplets or config.positives:
        rows = train * (2 if triplets else config.positives)
    else:
        rows = sum(query_id in train_ids for query_id in data.qrels["query_id"].to_pylist())
    # all rounds' examples are trained on again in each later round
    rows_of_rounds = [rows * number for number in range(1, config.rounds + 1)]
    steps = [total_steps(count, config) for count in rows_of_rounds]
    encoding = (config.rounds + 1) * len(passages) * seconds
    training = sum(rows_of_rounds) * config.epochs * texts_a_row * training_seconds
    # plain fine-tuning is an epoch of pairs; it and the average embed the corpus once more each
    comparing = (train * training_seconds + 2 * len(passages) * seconds) if config.baselines else 0.0
    comparing += (config.seeds - 1) * (encoding + training)
    for part in sets:
        comparing += 2 * len(part.test.corpus) * seconds
    # where the limit is broken, each merge embeds what is ranked high on dev and on the sets
    narrowed = 20 * (dev + sum(len(part.search.queries) for part in sets))
    searched = min(narrowed, len(passages) + sum(len(part.search.corpus) for part in sets))
    merging = config.merge_evaluations * searched * seconds if sets else 0.0
    negatives = (
        "1 mined"
        if triplets
        else f"{config.negatives} mined + {(config.batch_size - 1) * (1 + config.negatives)} in batch"
    )
    documents = len(data.corpus["parent_id"].unique())
    minutes = max(1, round((encoding + training + comparing) / 60))
    about = f"{minutes} minute{'s' if minutes > 1 else ''}"
    lines = [
        f"plan  {len(data.corpus):,} passages of {documents:,} documents",
        f"      queries: {train:,} train, {dev:,} dev, {test:,} test",
        f"      {config.rounds} round(s) of {config.loss}, batch {config.batch_size}, negatives a query: {negatives}",
        f"      at most {' + '.join(f'{count:,}' for count in steps)} steps, encoding by {backend.name}",
        f"      about {about}: {encoding / 60:.0f} encoding ({1 / seconds:.0f} passages/s), "
        f"{training / 60:.0f} training, {comparing / 60:.0f} baselines, sets and seeds",
    ]
    if merging:
        lines.append(
            f"      up to {merging / 60:.0f} more where a merge has to be found that keeps the limit on forgetting"
        )
    return "\n".join(lines)


def make_teacher_plan(config: AdaptConfig, corpus: pa.Table, documents: pa.Table, labelled: bool) -> str:
    """What a run with a teacher is going to ask for and what that costs, likely and at most, before the first call.

    At most: every query that is written is kept. Likely: `keep_share` of them, by the LLM's probabilities, or about as
    many that lead back to their passage. Tokens are estimated at four characters each; grades that earlier rounds or
    runs have stored cost nothing.
    """
    domains = len(documents["domain"].unique())
    counts = query_counts(config, labelled)
    written = min(sum(counts.values()) * domains, len(config.styles.split(",")) * len(corpus)) if config.llm else 0
    likely = _asked(config, corpus, labelled, written, config.keep_share)
    most = _asked(config, corpus, labelled, written, 1.0)
    lines = [
        f"plan  {len(corpus):,} passages of {len(documents):,} documents in {domains} domain(s)",
        f"      about {likely.writing:,}, at most {most.writing:,} calls write about {likely.queries:,} queries",
        f"      about {likely.grades:,}, at most {most.grades:,} grades in {config.rounds} round(s) and the test by "
        f"{config.teacher}, {likely.calls:,} to {most.calls:,} calls",
        f"      about {likely.into / 1e6:.2f} million tokens in, {likely.out / 1e6:.2f} million out"
        f"{_price(config, likely, most)}",
    ]
    return "\n".join(lines)


@dataclass(frozen=True)
class _Asked:
    """What a run asks for: queries and grades, calls that write and that grade, tokens in and out."""

    queries: int
    grades: int
    writing: int
    calls: int
    into: float
    out: float


def _asked(config: AdaptConfig, corpus: pa.Table, labelled: bool, written: int, keep: float) -> _Asked:
    counts = query_counts(config, labelled)
    kept = {split: written * count * keep / sum(counts.values()) for split, count in counts.items()}
    expert = kept["train"] * config.expert_queries if config.llm else 0.0
    for query in read_query_log(config, labelled):
        kept[query.split] = kept.get(query.split, 0) + 1
    # an expert that repeats itself is asked again a few times
    writing = written + synthesis.expert_calls(math.ceil(expert)) * (3 if keep == 1 else 1)
    grades = (kept["train"] + expert) * _graded_of_query(config, corpus) * config.rounds
    grades += kept["dev"] * 5 * (config.rounds + 1) + kept.get("test", 0) * 15
    shown = math.ceil(grades) if config.teacher == "llm" else 0
    calls = math.ceil(shown / config.grades_per_call)
    if config.grades_per_call > 1:
        # the last call of a query may be for less
        calls += math.ceil((sum(kept.values()) + expert) * config.rounds)
    lengths = [len(text) for text in texts(corpus)]
    passage = sum(lengths) / len(lengths) / TOKEN_CHARS
    words = {name: len(prompt_text(name)) / TOKEN_CHARS for name in ("question", "grade")}
    into = writing * (words["question"] + passage) + calls * words["grade"] + shown * passage
    out = writing * QUESTION_TOKENS + shown * GRADE_TOKENS
    return _Asked(math.ceil(sum(kept.values()) + expert), math.ceil(grades), writing, calls, into, out)


def _graded_of_query(config: AdaptConfig, corpus: pa.Table) -> int:
    """How many passages a query has graded in a round at most: the best and twice as many below, of each document."""
    wanted = 3 * config.graded_top
    if mined_within(config, corpus) == "corpus":
        return wanted
    documents = len(corpus["parent_id"].unique())
    return min(config.found_by, documents) * min(wanted, -(-len(corpus) // documents))


def _price(config: AdaptConfig, likely: _Asked, most: _Asked) -> str:
    prices = Prices.read(config.prices)
    if prices is None:
        return "; price unknown"
    about, limit = ((found.into * prices.input + found.out * prices.output) / 1e6 for found in (likely, most))
    return f"; about {about:.2f}, at most {limit:.2f} at {config.prices} a million"
