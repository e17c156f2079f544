"""The rounds of `adapt`: what each student has found, and what its successor has learnt from that."""

from __future__ import annotations

from dataclasses import replace

from denizen.data.artifacts import Examples, Model
from denizen.engine.artifact import Value
from denizen.engine.pipeline import Pipeline
from denizen.measuring.keywords import keywords
from denizen.measuring.reading import read
from denizen.measuring.students import look
from denizen.recipes.adapted import Brought
from denizen.recipes.config import AdaptConfig
from denizen.retrievers.index import Index, Read, embed
from denizen.supervision.supervision import Round, Seen, Texts
from denizen.training.generic_prompts import drawn_from
from denizen.training.train import train


def decide_reading(run: Pipeline, config: AdaptConfig, brought: Brought, texts: Texts) -> Read:
    """Step reading, after what the base finds by whole passages, and BM25, where that has to be asked."""
    about = {"corpus": texts.corpus, "queries": texts.deciding}
    with run.scope("reading"):
        index = run(embed, config.encoding, model=brought.base, **about)
        asked = {**about, "documents": texts.documents}
        found = run(look, config.searching, model=brought.base, index=index, splits=Value(["train", "dev"]), **asked)
        shared = {"found": found, "keywords": run(keywords, config.searching, **asked), "qrels": texts.pairs}
        return run(read, config.reading, model=brought.base, index=index, **shared, **asked)


def learn(run: Pipeline, config: AdaptConfig, brought: Brought, texts: Texts, reading: Read) -> list[Seen]:
    """Steps of all rounds; whoever supervises says what is searched for, what is known, and what is trained on."""
    rounds: list[Seen] = []
    model, supervision = brought.base, config.supervision
    for number in range(config.rounds + 1):
        left = config.rounds - number
        with run.scope("round", number):
            index = run(
                embed, config.encoding, model=model, corpus=texts.corpus, queries=texts.queries, reading=reading
            )
            found = run(
                look,
                config.searching,
                model=model,
                index=index,
                corpus=texts.corpus,
                queries=texts.queries,
                splits=Value(list(supervision.splits(not left))),
                documents=texts.documents,
                qrels=texts.dev_labels,
            )
            now = supervision.look(run, texts, Round(number, left, model, index, found), rounds)
            rounds.append(now)
            if left:
                model = teach(run, config, brought, texts, now, model, now.examples, rounds[0].index)
    return rounds


def dims_of(config: AdaptConfig, brought: Brought) -> tuple[int, ...]:
    """To how many first dimensions embeddings may be cut: as is asked for, else as the base was trained for."""
    return config.training.cut_dims or brought.dims


def learn_anew(run: Pipeline, config: AdaptConfig, brought: Brought, texts: Texts, reading: Read) -> list[Seen]:
    """The same from the base of the run that this one goes on from; nothing where what that ships is its base."""
    if brought.origin is None or brought.origin.digest == brought.base.digest:
        return []
    with run.scope("anew"):
        return learn(run, config, replace(brought, base=brought.origin), texts, reading)


def teach(  # noqa: PLR0913
    run: Pipeline,
    config: AdaptConfig,
    brought: Brought,
    texts: Texts,
    now: Seen,
    start: Model,
    examples: Examples | None,
    base_index: Index,
) -> Model:
    """Step student: a model trained on examples of a round."""
    dims = ",".join(map(str, dims_of(config, brought)))
    training = replace(config.training.on_this_machine(), dims=dims)
    if brought.kept is None:
        # without texts to keep there is nothing to weigh
        training = replace(training, near_base=0.0)
    return run(
        train,
        training,
        start=start,
        examples=examples,
        corpus=texts.corpus,
        queries=texts.queries,
        qrels=now.known.qrels,
        judgments=now.known.judgments,
        index=now.index,
        guide=brought.guide,
        # adapters of the round before go on from what they are of
        base=brought.base if brought.kept or brought.decoder or training.lora_rank > 0 else None,
        base_index=base_index if brought.kept else None,
        kept=brought.kept,
        negatives=texts.negatives,
        generic=drawn_from(training),
    )
