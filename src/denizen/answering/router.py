"""Which expert a request goes to: by an expert that is asked, by the nearest requests of training, or always the same.

All of them compute with one model in memory, whose adapters the experts are. What is looked at is the last turn of the
user: in a conversation each question goes to where it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from denizen.data.task_rows import EXPERTS, Message
from denizen.engine.errors import InputError, reason
from denizen.engine.files import file_digest, read_json, write_json
from denizen.language_models.language_model import LanguageModel
from denizen.language_models.pooled_states import pooled_states
from denizen.llm.prompts import messages
from denizen.retrievers.routing.calibration import Calibration, Scope
from denizen.retrievers.routing.knn import Neighbours
from denizen.retrievers.store import Vectors

# shape (requests, experts), experts in the order of `EXPERTS`; a row's sum is 1
Shares = np.ndarray[Any, np.dtype[np.float64]]

_MANIFEST, _ARRAYS = "router.json", "router.safetensors"
# letters of a request that a prompt shows, half from its beginning and half from its end
_SHOWN = 400
_CUT = " […] "


class Kind(Protocol):
    """A way to route."""

    name: ClassVar[str]

    def shares(self, requests: Sequence[str]) -> Shares:
        """How probable it is that each request belongs to each expert."""

    def saved(self) -> dict[str, Any]:
        """What it knows, as JSON keeps it."""

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Its arrays by name, as a file of safetensors keeps them."""


@dataclass(frozen=True)
class AlwaysOne:
    """The expert that most requests belong to.

    Attributes:
        known: The share of each expert in training.
    """

    name: ClassVar[str] = "always"

    known: tuple[float, ...]

    def shares(self, requests: Sequence[str]) -> Shares:
        """The same for all."""
        return np.tile(np.asarray(self.known, dtype=np.float64), (len(requests), 1))

    def saved(self) -> dict[str, Any]:
        """The shares."""
        return {"known": list(self.known)}

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """None."""
        return {}


@dataclass(frozen=True, eq=False)
class Nearest:
    """The expert whose training requests are nearest, by the states of the model without adapters.

    Attributes:
        model: What reads.
        head: The training requests.
        calibration: What makes probabilities of closeness, by dev.
        centre: The mean of the training requests, shape (dim,). Without it off, all are alike: a few large dimensions
            of a decoder's states are the same for any text (Mu and Viswanath 2018).
        max_tokens: Tokens of a request that are read.
    """

    name: ClassVar[str] = "knn"

    model: LanguageModel
    head: Neighbours
    calibration: Calibration
    centre: Vectors
    max_tokens: int

    def shares(self, requests: Sequence[str]) -> Shares:
        """By the mean cosine to the nearest of each expert."""
        if not requests:
            return np.zeros((0, len(EXPERTS)))
        with self.model.using(None):
            states = pooled_states(self.model, requests, self.max_tokens)
        return self.of_states(states)

    def of_states(self, states: Vectors) -> Shares:
        """As `shares`, of states that are there, shape (requests, dim)."""
        vectors = directions(states, self.centre)
        scores = self.head.scores(vectors)
        found = self.calibration.probabilities(scores, self.head.closeness(vectors, scores))
        ordered = found[:, [self.head.domains.index(name) for name in EXPERTS]]
        # how strange a request is says nothing of which expert it belongs to
        shares: Shares = ordered / np.maximum(ordered.sum(axis=1, keepdims=True), 1e-300)
        return shares

    def saved(self) -> dict[str, Any]:
        """How it was calibrated, and what is read."""
        return {"calibration": asdict(self.calibration), "max_tokens": self.max_tokens}

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """The training requests and their mean."""
        return {**self.head.arrays, "centre": self.centre}


@dataclass(frozen=True)
class Asked:
    """An expert that is shown examples and asked whose a request is (arXiv 2511.21101, section 3).

    It can say nothing but the name of an expert: those are compared by how probable it finds them.

    Attributes:
        model: What is asked.
        expert: With which adapter.
        examples: (request, expert), shown before each request.
    """

    name: ClassVar[str] = "few-shot"

    model: LanguageModel
    expert: str
    examples: tuple[tuple[str, str], ...]

    def shares(self, requests: Sequence[str]) -> Shares:
        """By the likelihood of each name after the prompt."""
        conversations = [self._conversation(request) for request in requests for _ in EXPERTS]
        with self.model.using(self.expert):
            found = self.model.reference_log_likelihoods(conversations, list(EXPERTS) * len(requests))
        logits = np.asarray([value for value, _ in found], dtype=np.float64).reshape(-1, len(EXPERTS))
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: Shares = odds / odds.sum(axis=1, keepdims=True)
        return shares

    def _conversation(self, request: str) -> list[Message]:
        turns = list[Message]()
        for text, expert in self.examples:
            turns += [Message("user", _prompt(text)), Message("assistant", expert)]
        asked = [*turns, Message("user", _prompt(request))]
        (_, told), _ = messages("route_expert", {"query": ""})
        # some templates know no turn of a system
        return [Message("user", f"{told}\n\n{asked[0].content}"), *asked[1:]]

    def saved(self) -> dict[str, Any]:
        """Who is asked, and the examples."""
        return {"expert": self.expert, "examples": [list(each) for each in self.examples]}

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """None."""
        return {}


@dataclass(frozen=True)
class Router:
    """A router in use.

    Attributes:
        kind: How it routes.
    """

    kind: Kind

    @classmethod
    def load(cls, folder: Path, model: LanguageModel) -> Router:
        """The router that `route_tasks` has chosen.

        Args:
            folder: Where it lies.
            model: The start model, with the experts as adapters.

        Raises:
            InputError: When the folder holds no whole router.
        """
        saved = read_json(folder / _MANIFEST)
        if not isinstance(saved, dict) or saved.get("kind") not in _KINDS:
            raise InputError(f"{folder} holds no router of experts (no readable {_MANIFEST}); give a finished run")
        try:
            return cls(_KINDS[saved["kind"]](model, saved, _read_arrays(folder, saved)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{folder} holds no whole router ({reason(error)}); make it again") from error

    def route(self, turns: Sequence[Message]) -> tuple[str, float]:
        """The expert of a conversation's last turn, and how probable it is that it belongs there."""
        (shares,) = self.kind.shares([request_of(turns)])
        best = int(shares.argmax())
        return EXPERTS[best], float(shares[best])

    def save(self, folder: Path) -> None:
        """Writes router.safetensors, then router.json, which holds the digest of the former."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{_ARRAYS}.partial"
        save_file({name: np.ascontiguousarray(array) for name, array in self.kind.arrays().items()}, partial)
        digest = file_digest(partial)
        partial.replace(folder / _ARRAYS)
        write_json(folder / _MANIFEST, {"kind": self.kind.name, **self.kind.saved(), "arrays": digest})


def request_of(turns: Sequence[Message]) -> str:
    """What a conversation asks: the last turn of its user."""
    return next((turn.content for turn in reversed(turns) if turn.role == "user"), "")


def directions(states: Vectors, centre: Vectors) -> Vectors:
    """States from a centre on, of unit length, shape (texts, dim)."""
    apart = states - centre
    found: Vectors = apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-12)
    return found


def _prompt(request: str) -> str:
    half = _SHOWN // 2
    text = request if len(request) <= _SHOWN else f"{request[:half]}{_CUT}{request[-half:]}"
    _, (_, asked) = messages("route_expert", {"query": text})
    return asked


def _read_arrays(folder: Path, saved: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    from safetensors.numpy import load_file

    path = folder / _ARRAYS
    if file_digest(path) != saved["arrays"]:
        raise ValueError(f"{_ARRAYS} is not the file that {_MANIFEST} was written with")
    return load_file(path)


def _always(model: LanguageModel, saved: Mapping[str, Any], arrays: Mapping[str, Any]) -> Kind:
    first, second = map(float, saved["known"])
    return AlwaysOne((first, second))


def _nearest(model: LanguageModel, saved: Mapping[str, Any], arrays: Mapping[str, Any]) -> Kind:
    of = saved["calibration"]
    scope = Scope(**{name: tuple(map(float, values)) for name, values in of["scope"].items()})
    head = Neighbours(tuple(sorted(EXPERTS)), arrays["neighbours"], arrays["counts"], int(arrays["k"].item()))
    calibration = Calibration(float(of["temperature"]), scope)
    return Nearest(model, head, calibration, arrays["centre"], int(saved["max_tokens"]))


def _asked(model: LanguageModel, saved: Mapping[str, Any], arrays: Mapping[str, Any]) -> Kind:
    examples = tuple((str(text), str(expert)) for text, expert in saved["examples"])
    return Asked(model, str(saved["expert"]), examples)


_KINDS = {AlwaysOne.name: _always, Nearest.name: _nearest, Asked.name: _asked}
