"""Whether a model ends its answers by itself: ten questions that a few words answer."""

from __future__ import annotations

from denizen.language_models.language_model import LanguageModel

# short answers, which a model that has learnt to end its turn ends at once
STOPPING = (
    "What is the capital of France?",
    "Name a colour.",
    "How many days has a week?",
    "Say hello.",
    "What is two plus three?",
    "Name an animal that can fly.",
    "Is ice cold? Answer yes or no.",
    "What do bees make?",
    "Which month comes after March?",
    "Name a fruit.",
)
# many times what is needed
_TOKENS = 64


def count_ended(model: LanguageModel) -> int:
    """How many of the ten answers a model ends by itself, and not at 64 tokens."""
    return sum(answer.ended for answer in model.answers(STOPPING, _TOKENS))
