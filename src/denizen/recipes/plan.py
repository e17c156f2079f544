"""What a run is going to do and how long that takes, said before the work begins."""

from __future__ import annotations

import time

from denizen.core.config import AdaptConfig
from denizen.core.tables import texts
from denizen.models.encoder import Encoder, encode
from denizen.recipes.prepare import Data

# A training step reads each text forward and backward, three times the work of encoding it, and its batches are padded
# and leave the caches: 43 ms a passage of 128 tokens against 9.5 ms (MedQuAD, bf16, two cores).
_TRAINING_FACTOR = 4.5
_SAMPLE = 48


def make_plan(config: AdaptConfig, data: Data, encoder: Encoder) -> str:
    """The plan as text: documents, queries, steps, negatives, minutes.

    The minutes come from encoding a sample of the corpus on this machine; mined triplets are counted at their upper
    limit, since how many there are is known only after mining.
    """
    from denizen.models.losses import LOSSES
    from denizen.stages.train_encoder import total_steps

    triplets = LOSSES[config.loss].triplets
    train_ids = set(data.split("train")[0])
    train, dev, test = len(train_ids), len(data.split("dev")[0]), len(data.split("test")[0])
    passages = texts(data.corpus)
    sample = passages[:: max(1, len(passages) // _SAMPLE)][:_SAMPLE]
    model, backend = encoder.loaded(passages)

    def seconds_a_text(characters: int | None) -> float:
        part = [text[:characters] for text in sample]
        encode(model, part[:4], "document", backend)
        began = time.perf_counter()
        encode(model, part, "document", backend)
        return (time.perf_counter() - began) / len(part)

    seconds = seconds_a_text(None)
    # 4 characters a token is the usual length of English
    training_seconds = seconds_a_text(4 * config.max_tokens) if config.max_tokens else seconds
    # a query gives a hard and an easy triplet at most, or a row for each relevant passage that is taken
    if triplets or config.positives:
        rows = train * (2 if triplets else config.positives)
    else:
        rows = sum(query_id in train_ids for query_id in data.qrels["query_id"].to_pylist())
    texts_a_row = 2 if triplets else 1 + config.negatives
    # all rounds' examples are trained on again in each later round
    rows_of_rounds = [rows * number for number in range(1, config.rounds + 1)]
    steps = [total_steps(count, config) for count in rows_of_rounds]
    encoding = (config.rounds + 1) * len(passages) * seconds
    training = sum(rows_of_rounds) * config.epochs * texts_a_row * training_seconds * _TRAINING_FACTOR
    negatives = (
        "1 mined"
        if triplets
        else f"{config.negatives} mined + {(config.batch_size - 1) * (1 + config.negatives)} in batch"
    )
    documents = len(data.corpus["parent_id"].unique())
    minutes = max(1, round((encoding + training) / 60))
    about = f"{minutes} minute{'s' if minutes > 1 else ''}"
    lines = [
        f"plan  {len(data.corpus):,} passages of {documents:,} documents",
        f"      queries: {train:,} train, {dev:,} dev, {test:,} test",
        f"      {config.rounds} round(s) of {config.loss}, batch {config.batch_size}, negatives a query: {negatives}",
        f"      at most {' + '.join(f'{count:,}' for count in steps)} steps, encoding by {backend.name}",
        f"      about {about}: {encoding / 60:.0f} encoding ({1 / seconds:.0f} passages/s), "
        f"{training / 60:.0f} training",
    ]
    return "\n".join(lines)
