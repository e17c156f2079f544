"""Queries for documents that nobody has asked about: an LLM writes them, for passages and in the voice of a persona.

The first kind follows InPars (arXiv 2202.05144): a sampled passage, a question that it answers. The second is that of
arXiv 2512.08088: questions of a persona, one who works in the field and has seen examples from different regions of the
embedding space, tied to no passage. Styles differ, because real queries do: a model that trains on one template learns
the template.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from denizen.data.tables import each
from denizen.engine.errors import InputError
from denizen.llm.answer import Answer, Failure, Prompt, cut_off
from denizen.llm.client import LLM
from denizen.llm.prompts import Messages, messages, prompt_examples, prompt_text, with_turns
from denizen.retrievers.store import Vectors
from denizen.supervision.written import Written

# what a passage needs to say enough for a question
LEAST_CHARS = 100
# examples a persona sees, and questions asked for in one call (arXiv 2512.08088)
_EXAMPLES = 5
_QUESTION_TOKENS = 200
_PERSONA_TOKENS = 600
# calls for queries in a persona go on until there are enough, at most this many times
_PERSONA_TRIES = 3

# style -> how it is asked for
STYLES: dict[str, str] = {
    "question": "Write one short question.",
    "keyword": "Write two to six key words as people type them into a search box; no sentence.",
    "long": "Write a question of two or three sentences: first the situation it comes from, then what is wanted.",
    "conversational": "Write a question in everyday speech, as one would ask a colleague.",
}
MULTI_HOP = "multi-hop"
# why a question is not used -> what its writer is told
RULES: dict[str, str] = {
    "speaks of its source": "It speaks of the passage, or of a part of it. Whoever searches has not seen it.",
    "copies its passage": "It repeats a sentence of the passage. Ask in other words than those.",
    "fits many passages": "It could be asked about many texts. Name what this one is about.",
    "too short": "It is too short to be found by.",
    "too long": "It is too long for a search.",
}


class Question(BaseModel):
    """The reply to question.txt and multi_hop.txt."""

    question: str


class Questions(BaseModel):
    """The reply to persona.txt."""

    # a reply's form is part of what it is kept by: another word here, and all who have paid would pay again
    model_config = ConfigDict(json_schema_extra={"description": "The reply to expert.txt."})

    questions: list[str]


@dataclass(frozen=True)
class Task:
    """One query to be written.

    Attributes:
        sources: The passages that it is for; several for a multi-hop question.
        style: A key of `STYLES`, or multi-hop.
        domain: Their domain.
        split: Their side.
    """

    sources: tuple[str, ...]
    style: str
    domain: str
    split: str


def read_styles(styles: str) -> list[str]:
    """The styles of a setting such as "question,keyword".

    Raises:
        InputError: On an unknown one, or none.
    """
    names = [name.strip() for name in styles.split(",") if name.strip()]
    unknown = [name for name in names if name not in (*STYLES, MULTI_HOP)]
    if unknown or not names:
        raise InputError(f"styles {styles!r}: {unknown or 'none'}; there are {', '.join((*STYLES, MULTI_HOP))}")
    return list(dict.fromkeys(names))


def tasks(
    corpus: pa.Table, documents: pa.Table, counts: Mapping[str, int], styles: Sequence[str], seed: int
) -> list[Task]:
    """What is to be written: passages spread evenly over the documents of each domain, with the styles in turn.

    Of near-duplicate passages one is taken, and none where they stand on several sides: a test query about one of them
    would be about a passage that training has seen. Where a domain has fewer passages than are asked for, each gets
    further queries in other styles.

    Args:
        corpus: A `corpus` table with clusters.
        documents: A `documents` table.
        counts: Split to the number of queries for each domain.
        styles: As from `read_styles`.
        seed: Seed of the order.

    Returns:
        The tasks; the first n of them have their part of every domain and side, whatever n is.
    """
    made: list[tuple[float, Task]] = []
    for (split, domain), of_document in sorted(_passages(corpus, documents).items()):
        order = _spread(of_document, np.random.default_rng([seed, len(made)]))
        count = min(counts.get(split, 0), len(order) * len(styles))
        for at in range(count):
            turn, place = divmod(at, len(order))
            passages, own = order[place]
            style, sources = styles[(place + turn) % len(styles)], passages[own : own + 1]
            if style == MULTI_HOP:
                # with those beside it
                sources = passages[max(0, own - 1) : own + 2]
                style = style if len(sources) > 1 else next(iter(STYLES))
            made.append(((at + 0.5) / count, Task(tuple(sources), style, domain, split)))
    return [task for _, task in sorted(made, key=lambda pair: pair[0])]


def _passages(corpus: pa.Table, documents: pa.Table) -> dict[tuple[str, str], dict[str, list[str]]]:
    """(split, domain) to document to the passages that are asked about."""
    side = dict(each(documents, "parent_id", "split"))
    rows = list(each(corpus, "doc_id", "text", "domain", "parent_id", "cluster"))
    sides_of: defaultdict[int, set[str]] = defaultdict(set)
    for *_, parent, cluster in rows:
        sides_of[cluster].add(side[parent])
    seen = {cluster for cluster, sides in sides_of.items() if len(sides) > 1}
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for doc_id, text, domain, parent, cluster in rows:
        if len(text) >= LEAST_CHARS and cluster not in seen:
            seen.add(cluster)
            found.setdefault((side[parent], domain or ""), {}).setdefault(parent, []).append(doc_id)
    return found


def question_prompts(wanted: Sequence[Task], passages: Mapping[str, str], asked: Sequence[str] = ()) -> list[Prompt]:
    """The calls for some tasks.

    Before the passage stand four examples of ours (InPars, arXiv 2202.05144, has three), from other fields than each
    other and one of each style, the same in all calls.

    Args:
        wanted: What is to be written.
        passages: The texts of passages.
        asked: Real queries, in whose manner it is to be written.
    """
    shown = [
        (_question(row["passage"], row["style"], asked), json.dumps({"question": row["question"]}))
        for row in prompt_examples("question")
    ]
    prompts = []
    for task in wanted:
        material = [passages[source] for source in task.sources]
        if task.style == MULTI_HOP:
            text = messages("multi_hop", {"passages": material})
        else:
            text = with_turns(_question(material[0], task.style, asked), shown)
        prompts.append(Prompt(text, Question, _QUESTION_TOKENS))
    return prompts


def again(prompt: Prompt, reply: Answer, reason: str) -> Prompt:
    """The same call once more, after its reply and what is wrong with that, a key of `RULES`."""
    said = prompt_text("question_again").strip().format(reason=RULES[reason])
    return replace(prompt, messages=(*prompt.messages, ("assistant", reply.text), ("user", said)))


def _question(passage: str, style: str, asked: Sequence[str]) -> Messages:
    listed = "\n".join(f"- {query}" for query in asked[:_EXAMPLES])
    manner = f"People here ask in this manner:\n{listed}\n\n" if listed else ""
    return messages("question", {"passage": passage, "asked": manner}, manner=STYLES[style])


def written(wanted: Sequence[Task], replies: Sequence[Answer | Failure]) -> list[Written]:
    """The queries that were written; calls that failed are left out."""
    return [
        Written(reply.value.question, task.domain, task.split, task.style, task.sources)
        for task, reply in zip(wanted, replies, strict=True)
        if isinstance(reply, Answer) and isinstance(reply.value, Question)
    ]


@dataclass(frozen=True)
class Persona:
    """Writes queries that are tied to no passage.

    Attributes:
        llm: The client.
        stage: The name under which its calls are kept.
        embed: Texts to embeddings, shape (texts, dim); the examples of a call come from different clusters of them.
        seed: Seed of the choice of examples.
    """

    llm: LLM
    stage: str
    embed: Callable[[Sequence[str]], Vectors]
    seed: int

    def write(
        self, examples: Sequence[str], domain: str, count: int, most: int | None, progress: Callable[[int], None]
    ) -> tuple[list[Written], list[Answer | Failure]]:
        """Queries for training until there are `count` different ones, or a few times as many calls were made.

        Args:
            examples: Queries of this domain.
            domain: Its name, empty where there is only one.
            count: How many are wanted.
            most: The most calls that may be paid for.
            progress: Called with the number of calls that have just ended.

        Returns:
            The queries, and what every call came to.
        """
        found: list[Written] = []
        replies: list[Answer | Failure] = []
        if count < 1 or len(examples) < 2:
            return found, replies
        groups = _clusters(self.embed(examples), min(2 * _EXAMPLES, len(examples)), self.seed)
        seen = {text.lower() for text in examples}
        random = np.random.default_rng(self.seed)
        for _ in range(_PERSONA_TRIES):
            calls = persona_calls(count - len(found))
            prompts = [self._prompt(_pick(examples, groups, random), domain) for _ in range(calls)]
            asked = self.llm.ask(prompts, self.stage, progress, None if most is None else most - len(replies))
            replies += asked
            values = [reply.value for reply in asked if isinstance(reply, Answer)]
            for text in (text for value in values if isinstance(value, Questions) for text in value.questions):
                if text.strip() and text.lower() not in seen and len(found) < count:
                    seen.add(text.lower())
                    found.append(Written(text, domain, "train", "persona"))
            if len(found) >= count or cut_off(asked):
                break
        return found, replies

    def _prompt(self, examples: Sequence[str], domain: str) -> Prompt:
        # a folder's or a column's name is foreign text, too
        listed = "\n".join([*([f"domain: {domain}"] if domain else []), *(f"- {text}" for text in examples)])
        text = messages("persona", {"examples": listed}, count=_EXAMPLES)
        # sampled, since the same examples would otherwise give the same questions
        return Prompt(text, Questions, _PERSONA_TOKENS, temperature=1.0)


def persona_calls(count: int) -> int:
    """How many calls it takes at least to write some queries in the voice of a persona."""
    return math.ceil(count / _EXAMPLES)


def _spread(of_document: Mapping[str, list[str]], random: np.random.Generator) -> list[tuple[list[str], int]]:
    """(a document's passages, place of one): one of each document in random order, then a second one, and so on."""
    shuffled = {parent: random.permutation(len(ids)).tolist() for parent, ids in sorted(of_document.items())}
    parents = random.permutation(sorted(shuffled)).tolist()
    turns = range(max(map(len, shuffled.values())))
    return [(of_document[name], shuffled[name][at]) for at in turns for name in parents if at < len(shuffled[name])]


def _clusters(vectors: Vectors, count: int, seed: int) -> list[list[int]]:
    from scipy.cluster.vq import kmeans2

    places = np.asarray(vectors, dtype=np.float64)
    _, labels = kmeans2(places, min(count, len(np.unique(places, axis=0))), seed=seed, minit="++")
    return [np.flatnonzero(labels == label).tolist() for label in dict.fromkeys(labels.tolist())]


def _pick(examples: Sequence[str], groups: Sequence[Sequence[int]], random: np.random.Generator) -> list[str]:
    chosen = random.permutation(len(groups))[:_EXAMPLES].tolist()
    return [examples[int(random.choice(groups[group]))] for group in chosen]
