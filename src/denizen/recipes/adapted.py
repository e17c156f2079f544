"""What a run of `adapt` is given, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from denizen.data.artifacts import Evaluation, Model
from denizen.data.prepare import Given
from denizen.engine.artifact import Artifact, Value
from denizen.measuring.fusion import Fused
from denizen.measuring.reranking import Reranking
from denizen.measuring.students import Choice
from denizen.retrievers.index import Read
from denizen.supervision.supervision import Seen, Texts


@dataclass(frozen=True)
class Brought:
    """What a run is given besides its settings.

    Attributes:
        base: The model to adapt.
        guide: The guide of the gist loss; None with another loss.
        source: How the source is read.
        sets: Name of a general or neighbour set to what it comes from.
        kept: By kind, texts of them that training keeps near the base.
        reranker: What a reranker is trained from; None: there is to be none.
        dims: To how many first dimensions the base's embeddings may be cut, as its folder says.
        decoder: Whether the base is a decoder-only LLM.
        origin: Where the base is what an earlier run ships: the model that it was made from; None: no such run.
    """

    base: Model
    guide: Model | None
    source: Given
    sets: Mapping[str, Value]
    kept: Value | None
    reranker: Model | None = None
    dims: tuple[int, ...] = ()
    decoder: bool = False
    origin: Model | None = None


@dataclass(frozen=True)
class SecondStage:
    """A reranker, whether it is deployed, and how long both stages take."""

    reranker: Model
    decided: Reranking
    latency: Artifact


@dataclass(frozen=True)
class Onward:
    """What became of what an earlier run ships, and of what was trained from it and anew.

    Attributes:
        taken: The choice among shipped, further and anew, in this order.
        choices: Of each branch that was trained, the choice among its rounds.
        finals: The same after the gate.
    """

    taken: Choice
    choices: Mapping[str, Choice]
    finals: Mapping[str, Choice]


@dataclass(frozen=True)
class Adapted:
    """What a run has come to: how passages are read, for one seed the rounds, what was chosen, fused and measured.

    Where it goes on from an earlier one, rounds and choice are those of the branch that is taken, and `onward` says
    which that is.
    """

    texts: Texts
    reading: Read
    rounds: list[Seen]
    choice: Choice
    final: Choice
    fused: Fused
    test: Evaluation
    forgetting: Evaluation | None
    second: SecondStage | None = None
    onward: Onward | None = None
