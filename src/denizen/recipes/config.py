"""The settings of `adapt`: every one with its default, its bounds, and the reason or source of the default.

The command line and the Python API share these names; `config.json` of a run is this class, resolved.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass
from typing import Any, Literal

from denizen.engine.errors import InputError
from denizen.engine.settings import Settings, setting


@dataclass(frozen=True, init=False)
class AdaptConfig(Settings):
    """Settings of one adaptation run: the defaults, then the preset's values, then what is given."""

    source: str = setting(
        MISSING,
        "BEIR folder, file of pairs (.json, .jsonl[.gz], .csv, .parquet), saved dataset, or dataset id; with a teacher "
        "documents: files of any kind, a table, or a corpus that ingest made.",
    )
    model: str = setting("all-MiniLM-L6-v2", "Base model: a sentence-transformers folder or id.")
    preset: str = setting("default", "default, or gold-triplet: the published gold-label recipe.")

    split: Literal["auto", "document", "random"] = setting(
        "auto",
        "auto: the source's own, else document. document: by document and near-duplicate cluster. random: by row.",
    )
    # 70/10/20 as in the usual train/dev/test division
    dev_share: float = setting(0.1, "Share of the queries for dev.", least=0.01, most=0.4)
    test_share: float = setting(0.2, "Share of the queries for test.", least=0.01, most=0.5)
    seed: int = setting(42, "Seed of every random choice.", least=0, most=2**31)
    # .9 of the information content: calibrated on MedQuAD, where the template questions of two diseases
    # share 80 % of their words and are no duplicates
    near_duplicate: float = setting(
        0.9, "Similarity (idf-weighted Jaccard) from which two texts are near-duplicates.", least=0.8, most=1.0
    )
    # 500-1000 characters is what arXiv 2512.08088 (section III) uses for filings
    passage_chars: int = setting(1000, "Longest passage that an answer is cut into.", least=100, most=1_000_000)

    rounds: int = setting(2, "Rounds of mining and training.", least=1, most=10)
    # at least 100, so that Recall@100 is what its name says
    depth: int = setting(100, "How many passages are retrieved for a query.", least=100, most=1000)
    hard_positive_ranks: str = setting("6-100", "Ranks where a relevant passage makes a hard example.")
    hard_negative_ranks: str = setting("1-15", "Ranks from which hard negatives come.")
    easy_negative_ranks: str = setting("16-100", "Ranks from which the negatives of easy triplets come.")
    # NV-Retriever's TopK-PercPos (arXiv 2407.15831); what it gives and costs here is in docs/LOG.md
    positive_ceiling: float = setting(
        0.95, "Drop negatives scoring above this share of the positive's score; 0: off.", least=0, most=1
    )
    negatives: int = setting(1, "Mined negatives of an InfoNCE or GIST row.", least=0, most=64)
    positives: int = setting(1, "Relevant passages of a query that become InfoNCE or GIST rows; 0: all.", least=0)
    easy_per_hard: float = setting(2.0, "Triplets: at most this many easy ones for each hard one.", least=0, most=1000)

    loss: Literal["infonce", "cached-infonce", "gist", "triplet", "margin-mse"] = setting(
        "infonce", "Training loss; margin-mse (GPL) goes with a cross-encoder, whose default it is."
    )
    guide: str = setting("", "Guide model of the gist loss; empty: the base model.")
    learning_rate: float = setting(1e-4, "Peak learning rate of AdamW.", least=1e-9, most=1)
    # short rounds: half an epoch on fresh negatives, then as many steps again on all; see docs/LOG.md
    epochs: float = setting(0.5, "Epochs in each round.", least=0.001, most=1000)
    batch_size: int = setting(32, "Examples in a batch.", least=1, most=65536)
    # the other queries' documents then are hard negatives that cost nothing; see docs/LOG.md for what that gives
    batches: Literal["similar", "length"] = setting(
        "similar", "similar: similar queries share a batch. length: texts of similar length do (less padding)."
    )
    warmup_steps: float = setting(
        0.1, "Warm-up: a share of the steps (below 1) or a number of steps.", least=0, most=1e9
    )
    weight_decay: float = setting(0.01, "Weight decay of AdamW.", least=0, most=1)
    temperature: float = setting(0.05, "Temperature of InfoNCE and GIST.", least=0.001, most=10)
    # the library's default of 5 can never be met by a cosine distance
    margin: float = setting(0.1, "Margin of the triplet loss (arXiv 2512.08088).", least=0, most=2)
    # on ObliQA MRR@5 .692 on dev (.697 without) and PolicyQA -.004 (-.057 at weight 2): see docs/LOG.md
    near_base: float = setting(
        16.0,
        "Weight of the penalty for moving embeddings of the general and neighbour sets away from the base's; 0: off.",
        least=0,
        most=1000,
    )
    dropout: bool = setting(False, "Keep the model's dropout during training.")
    # half the cost of 256; what a passage is about stands in its first sentences (mining and search see all of it)
    max_tokens: int = setting(
        128, "Cut training texts to this many tokens; 0: the model's own limit.", least=0, most=1 << 20
    )

    teacher: Literal["gold", "llm", "cross-encoder"] = setting(
        "gold", "Who says what is relevant: the source's labels, an LLM, or a cross-encoder."
    )
    llm: str = setting("", "The LLM that writes queries and grades, as its endpoint calls it.")
    endpoint: str = setting("", "Base URL of an OpenAI-compatible endpoint, as http://localhost:8000/v1.")
    cross_encoder: str = setting("", "The cross-encoder teacher: a sentence-transformers folder.")
    prices: str = setting("", "Price of a million input and output tokens, as 0.15/0.60; 0/0: your own server.")
    allow_unpriced: bool = setting(False, "Call an LLM of unknown price.")
    budget_calls: int = setting(0, "Most LLM calls of the run; 0: no limit.", least=0)
    budget_tokens: int = setting(0, "Most LLM tokens of the run, input and output; 0: no limit.", least=0)
    budget_money: float = setting(0.0, "Most money for the LLM, in the unit of prices; 0: no limit.", least=0)
    concurrency: int = setting(8, "LLM calls at a time.", least=1, most=1024)
    timeout: float = setting(120.0, "Seconds after which a call that has not ended is tried again.", least=0.1)
    # what models spend on it is a few hundred tokens for a grade, and those that do not think stop by themselves
    thinking_tokens: int = setting(
        2000, "Tokens that a reply may take besides the answer, for models that think.", least=0, most=1 << 20
    )
    replies: str = setting("", "File of LLM replies that several runs share; empty: in the run's folder.")
    min_coverage: float = setting(0.9, "A stage fails when fewer of its calls were answered.", least=0, most=1)

    # 500 passages and 200 of their questions a filing type (arXiv 2512.08088, section 1.4 of its method)
    passages: int = setting(500, "Passages of each domain that queries are written for.", least=1, most=10_000_000)
    keep_share: float = setting(
        0.4, "Share of the written queries that is kept, by the LLM's own probability.", least=0.01, most=1
    )
    expert_queries: float = setting(
        1.0, "Queries in the voice of an expert, for each that is kept from a passage.", least=0, most=10
    )
    styles: str = setting(
        "question,keyword,long,conversational", "Styles of the queries, in equal parts; multi-hop is another one."
    )
    query_log: str = setting("", "File of real queries, one a line: used as they are and as the expert's examples.")
    round_trip: int = setting(
        20, "Without probabilities: drop queries whose passage the base ranks below this; 0: off.", least=0
    )

    mine_within: Literal["auto", "documents", "corpus"] = setting(
        "auto", "Candidates to grade: within each found document, or of the whole corpus; auto: by passages a document."
    )
    # 20 asks for four times as many grades and gives no more; see docs/LOG.md
    found_by: int = setting(5, "The best passages that name the documents to look into (K).", least=1, most=1000)
    # k = 5 and 2k below them (arXiv 2512.08088); the paper does not name the decay, and 0, .05 and .5 differ
    # by chance alone
    graded_top: int = setting(5, "Best passages that are graded (k); twice as many are drawn below.", least=1, most=500)
    decay: float = setting(0.05, "Decay of the drawing by rank (omega).", least=0, most=100)
    grades_per_call: int = setting(1, "Passages that are graded in one call.", least=1, most=50)
    same_document: bool = setting(False, "Both passages of an example come from one document (arXiv 2512.08088).")

    baselines: bool = setting(True, "Measure plain fine-tuning and the average of base and adapted, too.")
    seeds: int = setting(1, "Do all after the corpus with this many seeds, and report the spread.", least=1, most=20)
    general: tuple[str, ...] = setting(
        (), "BEIR folder of a general set on which the model may not get worse.", metavar="FOLDER"
    )
    neighbour: tuple[str, ...] = setting(
        (), "BEIR folder of a neighbour: the same field, other questions.", metavar="FOLDER"
    )
    # half a point is what a reader of a leaderboard would not call a loss, and about what 500 queries can show
    forgetting_limit: float = setting(
        0.005, "How far the mean nDCG@10 of the general sets, and of the neighbours, may fall.", least=0, most=1
    )
    # four halvings find the weight to a sixteenth, five more try the other methods
    merge_evaluations: int = setting(
        9, "Merges with the base that are measured where the limit is broken; 0: none.", least=0, most=1000
    )

    memory_mb: int = setting(512, "Memory of one block of scores in exact search.", least=8, most=1 << 22)
    precision: Literal["auto", "fp32", "bf16", "int8"] = setting(
        "auto", "bf16 where the processor has it, else fp32. int8: encoding with the onnx backend."
    )
    backend: Literal["auto", "torch", "openvino", "onnx"] = setting(
        "auto", "What encodes: openvino where it is installed, else torch; must pass the parity gate."
    )
    store: str = setting("", "Folder of embeddings that several runs share; empty: in the run's folder.")
    skip_bad_rows: bool = setting(False, "Skip and count unreadable rows instead of stopping.")
    drop_leaks: bool = setting(False, "Drop the queries that leak from the learning side instead of stopping.")
    allow_leak: bool = setting(False, "Run although the splits leak; every result says so.")

    # written out, because the generated one would leave the preset's values to its callers
    def __init__(self, source: str, *, preset: str = "default", **given: Any) -> None:
        """Fills in the preset and checks every value.

        Raises:
            InputError: On an unknown name or a value outside its bounds.
        """
        self._check_names(given)
        if preset not in PRESETS:
            raise InputError(f"preset {preset!r} is unknown; there are {sorted(PRESETS)}")
        # soft scores say how much better, and only margins use that
        own = {"loss": "margin-mse"} if given.get("teacher") == "cross-encoder" else {}
        values = {"source": source, "preset": preset, **PRESETS[preset], **own, **given}
        self._fill(values)
        self._check_together()

    def _check_together(self) -> None:
        if self.dev_share + self.test_share > 0.8:
            raise InputError(
                f"dev_share + test_share is {self.dev_share + self.test_share:g}; at most 0.8, so that something "
                "is left to train on"
            )
        if self.loss == "gist" and self.negatives > 1:
            raise InputError(f"negatives is {self.negatives}; the gist loss takes 0 or 1 mined negative a row")
        if self.teacher == "cross-encoder" and not self.cross_encoder:
            raise InputError("teacher cross-encoder needs cross_encoder: the folder of a sentence-transformers model")
        if (self.loss == "margin-mse") != (self.teacher == "cross-encoder"):
            raise InputError(
                f"loss {self.loss} does not go with teacher {self.teacher}: margin-mse needs the scores of a "
                "cross-encoder, and those are used by no other loss"
            )
        if self.loss == "margin-mse" and not self.negatives:
            raise InputError("negatives is 0; margin-mse needs at least 1")
        if self.seeds > 1 and self.teacher != "gold":
            raise InputError(
                f"seeds is {self.seeds}; only runs with labels are repeated, since each repetition would pay a teacher "
                "for grades of its own"
            )
        if self.teacher == "llm" and not self.llm:
            raise InputError("teacher llm needs llm: the name of the model at the endpoint")
        for name in ("hard_positive_ranks", "hard_negative_ranks", "easy_negative_ranks"):
            if ranks(getattr(self, name))[1] > self.depth:
                raise InputError(
                    f"{name} is {getattr(self, name)}, beyond depth {self.depth}; raise depth or lower the window"
                )


def ranks(window: str) -> tuple[int, int]:
    """Reads a rank window such as "6-100" (both ends included, ranks count from 1).

    Raises:
        InputError: When it is not two numbers with 1 <= first <= last.
    """
    found = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", window)
    if found and 1 <= int(found[1]) <= int(found[2]):
        return int(found[1]), int(found[2])
    raise InputError(f"rank window {window!r} is not of the form 6-100 (from rank 6 to rank 100)")


# may differ when a run is continued: they change where and how it works, not what comes out
WITHOUT_EFFECT = (
    "store",
    "memory_mb",
    "endpoint",
    "prices",
    "allow_unpriced",
    "budget_calls",
    "budget_tokens",
    "budget_money",
    "concurrency",
    "timeout",
    "thinking_tokens",
    "replies",
    "min_coverage",
)

# how --help groups them
PANELS: dict[str, tuple[str, ...]] = {
    "Model and data": (
        "model",
        "preset",
        "split",
        "dev_share",
        "test_share",
        "seed",
        "near_duplicate",
        "passage_chars",
        "skip_bad_rows",
        "drop_leaks",
        "allow_leak",
    ),
    "Mining": (
        "rounds",
        "depth",
        "hard_positive_ranks",
        "hard_negative_ranks",
        "easy_negative_ranks",
        "positive_ceiling",
        "negatives",
        "positives",
        "easy_per_hard",
    ),
    "Training": (
        "loss",
        "guide",
        "learning_rate",
        "epochs",
        "batch_size",
        "batches",
        "warmup_steps",
        "weight_decay",
        "temperature",
        "margin",
        "near_base",
        "dropout",
        "max_tokens",
    ),
    "Teacher": (
        "teacher",
        "llm",
        "endpoint",
        "cross_encoder",
        "prices",
        "allow_unpriced",
        "budget_calls",
        "budget_tokens",
        "budget_money",
        "concurrency",
        "timeout",
        "thinking_tokens",
        "replies",
        "min_coverage",
    ),
    "Queries for documents without labels": (
        "passages",
        "keep_share",
        "expert_queries",
        "styles",
        "query_log",
        "round_trip",
    ),
    "Candidates for the teacher": (
        "mine_within",
        "found_by",
        "graded_top",
        "decay",
        "grades_per_call",
        "same_document",
    ),
    "Proof": (
        "baselines",
        "seeds",
        "general",
        "neighbour",
        "forgetting_limit",
        "merge_evaluations",
    ),
    "Machine": (
        "memory_mb",
        "precision",
        "backend",
        "store",
    ),
}

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # The gold-label recipe as published (vLLM semantic-router, domain_adapted_embeddings): one hard and one
    # easy triplet a query at most, easy ones at most twice as many as hard ones, all rounds pooled. It names no
    # training length: 128 tokens, as the default has it, half the cost of the base model's 256.
    "gold-triplet": {
        "loss": "triplet",
        "margin": 0.1,
        "learning_rate": 5e-5,
        "batch_size": 8,
        "epochs": 2.0,
        "max_tokens": 128,
        "near_base": 0.0,
        "rounds": 2,
        "batches": "length",
        "warmup_steps": 100.0,
        "easy_per_hard": 2.0,
        "positive_ceiling": 0.0,
        "passage_chars": 1000,
        "hard_positive_ranks": "6-100",
        "hard_negative_ranks": "1-15",
        "easy_negative_ranks": "16-100",
    },
}
