"""The search for a better instruction by GEPA (arXiv 2507.19457), as in Synthesize-Train-Merge (arXiv 2602.04731).

It sees one half of the dev queries. What it finds is taken only if the other half gains by it, too: a sentence that was
chosen among dozens on the queries that chose it is always better there.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from denizen.data.artifacts import Corpus, Model, Qrels, Queries
from denizen.data.leaks import leak_groups
from denizen.data.prepare import NearDuplicates
from denizen.data.tables import only, relevant, texts_by_id
from denizen.engine.artifact import Artifact, Value
from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.engine.settings import Seeded, setting
from denizen.engine.step import Context, Partial, step
from denizen.llm.client import LLM
from denizen.measuring.significance import paired_difference
from denizen.prompting.proposals import Proposer
from denizen.prompting.scoring import Scored, Scores, SpentError
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.instruction import query_prompt

# queries that the LLM is shown at a time; 3, 5 and 8 in arXiv 2602.04731
SHOWN = 5
# a sentence is scored whole on so many queries that an eighth of the evaluations pays for it
_WHOLE = 8
# characters of a passage that the LLM is shown: what it is about, and not what it says
_PASSAGE = 200
_SENTENCE = "sentence"


@dataclass(frozen=True)
class PromptSearch(Encoding, NearDuplicates, Seeded):
    """How an instruction is searched for."""

    panel = "Search"

    # 62 queries a sentence that is scored whole, and at most 43 sentences
    evaluations: int = setting(
        500, "Most evaluations of the search: one query, scored with one instruction.", least=50, most=1_000_000
    )


class Found(Artifact):
    """What a search came to: in its facts the sentence that is `taken`, or None, and why."""


@dataclass(frozen=True)
class Halves:
    """Dev queries in two halves, of which no document has queries in both.

    Attributes:
        seen: Those of the search.
        unseen: Those of the proof.
        groups: The group of each of these, whose queries depend on each other.
    """

    seen: list[str]
    unseen: list[str]
    groups: list[int]


def check_installed() -> None:
    """Makes sure that GEPA is there.

    Raises:
        InputError: When it is not.
    """
    if importlib.util.find_spec("gepa") is None:
        raise InputError("the search for an instruction needs gepa: pip install 'denizen[prompt-search]'")


def most_calls(evaluations: int) -> int:
    """How often the LLM is asked at most: what it writes costs two scores of each query that it was shown."""
    return evaluations // (2 * SHOWN)


def halves(group_of: Mapping[str, int], seed: int) -> Halves:
    """Deals whole groups of queries out, in random order, each to the half that has fewer queries.

    Raises:
        InputError: When a half would have too few.
    """
    members: dict[int, list[str]] = {}
    for query_id, number in group_of.items():
        members.setdefault(number, []).append(query_id)
    seen: list[str] = []
    unseen: list[str] = []
    for number in np.random.default_rng(seed).permutation(sorted(members)).tolist():
        (seen if len(seen) <= len(unseen) else unseen).extend(members[number])
    if min(len(seen), len(unseen)) < SHOWN:
        raise InputError(
            f"{len(group_of)} dev queries of {len(members)} group(s) that share documents make halves of {len(seen)} "
            f"and {len(unseen)}; each needs {SHOWN}: one is searched with, the other proves. Label more dev queries"
        )
    return Halves(seen, unseen, [group_of[query_id] for query_id in unseen])


@step(version=1, makes=Found, name="search", local=True)
def search(  # noqa: PLR0913
    out: Path,
    params: PromptSearch,
    ctx: Context,
    *,
    model: Model,
    corpus: Corpus,
    queries: Queries,
    qrels: Qrels,
    asked: Value,
) -> dict[str, Any] | Partial:
    """Searches for an instruction, and says whether it is taken.

    Args:
        out: Where `search.json` goes: all sentences that were tried, with their scores.
        params: How.
        ctx: The LLM that writes sentences, and the encoders.
        model: A bi-encoder whose query prompt has an instruction.
        corpus: The passages.
        queries: Those of dev count.
        qrels: What is relevant to them.
        asked: The LLM, and its prompt.

    Raises:
        InputError: When the model has no instruction, dev has too few queries, or the LLM gives nothing of use.
    """
    retriever = BiEncoder(model.path, params, ctx[Encoders], model.digest)
    prompt = query_prompt(retriever.encoder.model, "the model")
    known, dev = relevant(qrels.table), only(queries.table, "split", ("dev",))
    groups = leak_groups(dev, qrels.table, corpus.table, params.near_duplicate)
    texts = {query_id: text for query_id, text in queries.texts("dev").items() if query_id in known}
    parts = halves({query_id: groups[query_id] for query_id in texts}, params.seed)
    index = retriever.index(corpus.table, ctx.progress)
    scores = Scores(retriever, index, prompt, texts, qrels.table, params.evaluations)
    with ctx.progress.bar(most_calls(params.evaluations), "calls at most") as advance:
        proposer = Proposer(ctx[LLM], advance)
        order = np.random.default_rng(params.seed).permutation(parts.seen).tolist()
        whole = order[: max(SHOWN, params.evaluations // _WHOLE)]
        tell = Telling(scores, texts_by_id(corpus.table))
        ended = find(scores, tell, proposer, order, whole, params.seed, params.evaluations)
    proof = Scores(retriever, index, prompt, texts, qrels.table)
    best = best_of(scores, whole)
    found = {
        "own": prompt.sentence,
        **decided(best, proof, parts),
        "best": best,
        "ended": ended,
        "evaluations": scores.evaluations,
        "evaluations_of_the_proof": proof.evaluations,
        "calls": proposer.calls,
        "sentences": len(scores.known),
        "failures": dict(proposer.failures),
        "queries": {"seen": len(parts.seen), "scored_whole": len(whole), "unseen": len(parts.unseen)},
    }
    write_json(out / "search.json", {**found, "tried": tried(scores, whole)})
    ctx.progress.note(f"{len(scores.known)} sentences: {found['why']}")
    return Partial(found, {"cut_off_by_budget": proposer.failures["budget"]}) if proposer.failures["budget"] else found


def find(
    scores: Scores,
    tell: Callable[[str, str], str],
    proposer: Proposer,
    seen: Sequence[str],
    whole: Sequence[str],
    seed: int,
    cap: int,
) -> str:
    """Lets GEPA search from the model's own sentence until the cap is reached; what it has tried stands in the scores.

    Args:
        scores: With the cap on what is computed.
        tell: What the LLM is shown of a query with a sentence.
        proposer: Writes sentences.
        seen: The queries of which some are shown at a time.
        whole: Those that a sentence is scored on before another one is made from it.
        seed: Of the order in which queries are shown, and of the sentence that goes on.
        cap: Scores that GEPA may ask for, computed or known.

    Returns:
        What has ended the search.

    Raises:
        InputError: What the proposer raises.
    """
    from gepa.api import optimize

    adapter = _Adapter(scores, tell, proposer, most_calls(cap))
    try:
        optimize(
            seed_candidate={_SENTENCE: scores.own},
            trainset=list(seen),
            valset=list(whole),
            adapter=cast("Any", adapter),
            # counts what was scored before once more, and so ends a search that finds nothing to improve
            max_metric_calls=cap,
            stop_callbacks=[lambda state: adapter.stopped],
            reflection_minibatch_size=SHOWN,
            logger=_Quiet(),
            seed=seed,
        )
    except SpentError:
        return "the evaluations"
    if adapter.error:
        raise adapter.error
    return "the budget of the LLM" if proposer.failures["budget"] else "the evaluations"


def best_of(scores: Scores, whole: Sequence[str]) -> dict[str, Any]:
    """The sentence with the highest mean on the queries that decide, the first of equal ones, and its mean."""
    means = {
        sentence: float(np.mean([known[query_id].score for query_id in whole]))
        for sentence, known in scores.known.items()
        if known.keys() >= set(whole)
    }
    best = max(means, key=lambda sentence: means[sentence])
    return {"sentence": best, "score": means[best], "own_score": next(iter(means.values()))}


def decided(best: Mapping[str, Any], proof: Scores, parts: Halves) -> dict[str, Any]:
    """Whether a sentence is taken: where the mean of the unseen queries is higher with it than with the model's own."""
    if best["sentence"] == proof.own:
        return {"taken": None, "why": "no sentence was better on the queries of the search", "unseen": None}
    ours, theirs = ([each.score for each in proof.of(of, parts.unseen)] for of in (best["sentence"], proof.own))
    gain = paired_difference(np.asarray(ours), np.asarray(theirs), groups=parts.groups)
    told = f"{gain.value:+.4f} nDCG@10 on {len(parts.unseen)} dev queries that the search has not seen"
    if gain.value > 0:
        return {"taken": best["sentence"], "why": told, "unseen": asdict(gain)}
    return {"taken": None, "why": f"the best one gives {told}", "unseen": asdict(gain)}


def tried(scores: Scores, whole: Sequence[str]) -> list[dict[str, Any]]:
    """Every sentence with its mean on the queries that decide; where it lacks some of them, on those that it has."""
    rows = []
    for sentence, known in scores.known.items():
        scored_whole = known.keys() >= set(whole)
        on = whole if scored_whole else list(known)
        score = float(np.mean([known[query_id].score for query_id in on]))
        rows.append({"sentence": sentence, "score": score, "queries": len(on), "scored_whole": scored_whole})
    return rows


class Telling:
    """What an LLM is shown of a query: its score, what was wrongly ranked first, and what answers it."""

    def __init__(self, scores: Scores, passages: Mapping[str, str]) -> None:
        self._scores, self._passages = scores, passages

    def __call__(self, sentence: str, query_id: str) -> str:
        """A few lines."""
        scored: Scored = self._scores.known[sentence][query_id]
        answers = self._scores.answers[query_id]
        lines = [f"query: {self._scores.queries[query_id]}", f"score: {scored.score:.2f}"]
        if scored.first and scored.first[0] not in answers:
            lines.append(f"wrongly first: {self._passage(scored.first[0])}")
        lines.append(f"answers: {self._passage(min(answers, key=lambda doc_id: (-answers[doc_id], doc_id)))}")
        return "\n".join(lines)

    def _passage(self, doc_id: str) -> str:
        text = " ".join(self._passages[doc_id].split())
        return text if len(text) <= _PASSAGE else f"{text[:_PASSAGE]}..."


class _Adapter:
    """What GEPA asks for: scores of queries, what to show of them, and a new sentence."""

    def __init__(self, scores: Scores, tell: Callable[[str, str], str], proposer: Proposer, calls: int) -> None:
        self.stopped = False
        self.error: InputError | None = None
        self._left = calls
        self._scores, self._tell, self._proposer = scores, tell, proposer

    def evaluate(self, batch: list[str], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        """The scores of some queries; what is traced is which they were."""
        from gepa.core.adapter import EvaluationBatch

        scores = [each.score for each in self._scores.of(candidate[_SENTENCE], batch)]
        return EvaluationBatch(outputs=batch, scores=scores, trajectories=batch if capture_traces else None)

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> dict[str, list[dict[str, str]]]:
        """What the LLM is shown."""
        return {_SENTENCE: [{"shown": self._tell(candidate[_SENTENCE], name)} for name in eval_batch.trajectories]}

    def propose_new_texts(
        self, candidate: dict[str, str], reflective_dataset: Any, components_to_update: list[str]
    ) -> dict[str, str]:
        """A new sentence; nothing where there is none, with which GEPA goes on, or stops where nothing can come."""
        try:
            shown = [each["shown"] for each in reflective_dataset[_SENTENCE]]
            found = self._proposer.propose(candidate[_SENTENCE], shown)
        except InputError as error:
            # GEPA would log it and ask once more
            self.error, self.stopped = error, True
            return {}
        self._left -= 1
        self.stopped = not self._left or self._proposer.failures["budget"] > 0
        return {_SENTENCE: found} if found else {}


class _Quiet:
    """A log for GEPA that keeps nothing: what was tried stands in the scores."""

    def log(self, message: str) -> None:
        """Drops a line."""
