"""Routing by an LLM that is shown examples of each domain and answers with one of their names (arXiv 2511.21101).

What an answer is worth is not what the LLM says of it, but what came true of such answers on dev.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, create_model

from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.llm.answer import Answer, Prompt
from denizen.llm.client import LLM
from denizen.llm.prompts import messages, with_turns
from denizen.retrievers.routing.router import MANIFEST, Probabilities
from denizen.retrievers.store import Vectors

_NONE = "none of these"
_STAGE = "routing"
# the name of a domain in JSON
_MOST_TOKENS = 60
# of dev's queries, those that must be answered before a table of them says anything
_LEAST_ANSWERED = 0.9


@dataclass(frozen=True)
class LLMRouter:
    """An LLM, the examples that it is shown, and how often each of its answers was true on dev.

    Attributes:
        llm: The client; its store and budget are those of its run.
        domains: The domains, sorted by name.
        examples: (query, domain), shown before each query, the same for all, so that a server reads them once.
        table: How probable each domain is after each answer, shape (domains + 1, domains); the last is "none of these".
        progress: Called with the number of queries that were answered.
    """

    name: ClassVar[str] = "llm"

    llm: LLM
    domains: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]
    table: Probabilities
    progress: Callable[[int], None] = lambda count: None

    @classmethod
    def fit(
        cls,
        llm: LLM,
        examples: Sequence[tuple[str, str]],
        dev: Mapping[str, str],
        truth: Sequence[str],
        progress: Callable[[int], None] = lambda count: None,
    ) -> LLMRouter:
        """Asks for the domain of dev's queries and counts what was true.

        A row of the table is (n + prior) / (N + 1), where N answers were the same, n of them true of a domain, and the
        prior is the share of each domain in dev: an answer that was never given says nothing.

        Args:
            llm: The client.
            examples: (query, domain), some of each domain, of train.
            dev: Query id to text.
            truth: Their domains; a name that is none says that a query is of none.
            progress: As the attribute.

        Raises:
            InputError: When a domain has the name of no domain, or fewer than nine in ten dev queries were answered.
        """
        domains = tuple(sorted({domain for _, domain in examples}))
        if _NONE in domains:
            raise InputError(f"a domain is called {_NONE!r}, which is what an LLM says of a query of none; rename it")
        router = cls(llm, domains, tuple(examples), np.zeros((len(domains) + 1, len(domains))), progress)
        answers = router.answers(dev)
        answered = sum(answer is not None for answer in answers)
        if answered < _LEAST_ANSWERED * len(answers):
            raise InputError(
                f"{llm.model} named a domain for {answered} of {len(answers)} dev queries, and nine in ten are needed "
                "to know what its answers are worth; see the failures in the store of replies, or take another LLM"
            )
        place = {name: at for at, name in enumerate((*domains, _NONE))}
        counts = np.zeros((len(domains) + 1, len(domains) + 1))
        for answer, true in zip(answers, truth, strict=True):
            if answer is not None:
                counts[place[answer], place.get(true, len(domains))] += 1
        # a domain that no dev query drawn is of stays possible
        prior = (counts.sum(axis=0) + 1) / (counts.sum() + len(counts))
        table = (counts + prior) / (counts.sum(axis=1, keepdims=True) + 1)
        return replace(router, table=table[:, :-1])

    def answers(self, queries: Mapping[str, str]) -> list[str | None]:
        """A domain, "none of these", or None where no valid answer came, for each query in order."""
        reply, shown = _reply(self.domains), [(self._asked(text), _said(domain)) for text, domain in self.examples]
        prompts = [Prompt(with_turns(self._asked(text), shown), reply, _MOST_TOKENS) for text in queries.values()]
        found = self.llm.ask(prompts, _STAGE, self.progress)
        return [str(getattr(of.value, "domain")) if isinstance(of, Answer) else None for of in found]  # noqa: B009

    def probabilities(self, queries: Mapping[str, str], embeddings: Vectors) -> Probabilities:
        """As `Router.probabilities`; embeddings are not looked at. Zeros where no valid answer came."""
        place = {name: at for at, name in enumerate((*self.domains, _NONE))}
        silent = np.zeros(len(self.domains))
        rows = [silent if answer is None else self.table[place[answer]] for answer in self.answers(queries)]
        return np.asarray(rows).reshape(len(rows), len(self.domains))

    def save(self, folder: Path) -> None:
        """Writes router.json, which names the LLM and does not hold it."""
        folder.mkdir(parents=True, exist_ok=True)
        saved = {"kind": self.name, "domains": list(self.domains), "llm": self.llm.model}
        write_json(folder / MANIFEST, {**saved, "examples": self.examples, "table": self.table.tolist()})

    def _asked(self, text: str) -> tuple[tuple[str, str], ...]:
        return messages(
            "route", {"query": text, "domains": "\n".join(f"- {name}" for name in self.domains)}, none=_NONE
        )


def load_llm_router(folder: Path, saved: Mapping[str, Any], llm: LLM | None) -> LLMRouter:
    """The router of a folder.

    Args:
        folder: Where it lies.
        saved: Its router.json.
        llm: The client.

    Raises:
        InputError: When there is no client, it is of another LLM, or the file is damaged.
    """
    if llm is None or llm.model != saved.get("llm"):
        given = f"the LLM given is {llm.model}" if llm else "no LLM is given"
        raise InputError(f"the router in {folder} asks {saved.get('llm')}, and {given}; give that one")
    try:
        domains = tuple(map(str, saved["domains"]))
        examples = tuple((str(query), str(domain)) for query, domain in saved["examples"])
        table = np.asarray(saved["table"], dtype=np.float64)
        if table.shape != (len(domains) + 1, len(domains)):
            raise ValueError(f"its table is of the shape {table.shape}")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder} holds no whole router ({error}); train it again") from error
    return LLMRouter(llm, domains, examples, table)


@cache
def _reply(domains: tuple[str, ...]) -> type[BaseModel]:
    """What a reply must be: a server that is given its schema can write no other name."""
    names: Any = Literal[(*domains, _NONE)]
    return create_model("Domain", domain=(names, ...))


def _said(domain: str) -> str:
    return json.dumps({"domain": domain}, ensure_ascii=False)
