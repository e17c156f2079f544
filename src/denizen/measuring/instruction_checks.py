"""Instructions whose following a program can check, after IFEval (arXiv 2311.07911), with prompts of our own.

A prompt is a task and one or two checks that are said in words. Nothing is downloaded, no model judges, and what a
prompt asks about is of no domain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

# asked beside them

# an underscore marks emphasis and is no letter
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
# a full stop within a number or a name ends nothing
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)")
# exactly as the prompt asks for them, a mark and its text on one line
_BULLET = re.compile(r"^[ \t]*- +\S", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]*(\d+)\. +\S", re.MULTILINE)
_SEPARATOR = re.compile(r"^[ \t]*\*{6}[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^```(?:json)?\s*\n(.*?)\n?```$", re.DOTALL)


@dataclass(frozen=True)
class Check:
    """Something that an answer must fulfil.

    Attributes:
        kind: What people call it.
        said: How it is asked for.
        holds: Whether an answer, which has a word, fulfils it.
    """

    kind: str
    said: str
    holds: Callable[[str], bool]


@dataclass(frozen=True)
class Instruction:
    """A prompt with what its answer must fulfil.

    Attributes:
        name: Its kinds of check and a number.
        prompt: What is asked.
        checks: One or several.
    """

    name: str
    prompt: str
    checks: tuple[Check, ...]

    @property
    def kind(self) -> str:
        """Its kinds of check."""
        return " + ".join(check.kind for check in self.checks)

    def followed(self, answer: str) -> bool:
        """Whether an answer fulfils every check (IFEval's strict accuracy); one without a word fulfils none."""
        return count_words(answer) > 0 and all(check.holds(answer.strip()) for check in self.checks)


def count_words(text: str) -> int:
    """How many words a text has; what a hyphen or an apostrophe joins is one."""
    return len(_WORD.findall(text))


def count_sentences(text: str) -> int:
    """How many sentences a text has; what stands after the last full stop is one, too."""
    parts = _SENTENCE_END.split(text)
    return sum(bool(_WORD.search(part)) for part in parts)


def count_paragraphs(text: str) -> int:
    """How many paragraphs a text has, with blank lines between."""
    return sum(bool(part.strip()) for part in re.split(r"\n\s*\n", text))


def count_of_word(text: str, word: str) -> int:
    """How often a word stands in a text, in whatever case."""
    return sum(found.lower() == word.lower() for found in _WORD.findall(text))


def json_keys(text: str) -> set[str] | None:
    """The keys of the JSON object that a text is, also as a block of code; None: it is none."""
    fenced = _FENCE.match(text.strip())
    try:
        found = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        # a model that repeats one bracket nests deeper than the parser goes
        return None
    return set(found) if isinstance(found, dict) else None


def at_most_words(count: int) -> Check:
    """A limit on words."""
    return Check("words at most", f"Use at most {count} words.", lambda text: count_words(text) <= count)


def at_least_words(count: int) -> Check:
    """A lower limit on words."""
    return Check("words at least", f"Use at least {count} words.", lambda text: count_words(text) >= count)


def sentences(count: int) -> Check:
    """A number of sentences."""
    several = "s" if count > 1 else ""
    said = f"Answer in exactly {count} sentence{several}."
    return Check("sentences", said, lambda text: count_sentences(text) == count)


def bullets(count: int) -> Check:
    """A number of bullet points."""
    said = f"Answer with exactly {count} bullet points, each on a line of its own that begins with '- '."
    return Check("bullet points", said, lambda text: len(_BULLET.findall(text)) == count)


def numbered(count: int) -> Check:
    """A numbered list."""
    wanted = [str(number) for number in range(1, count + 1)]
    said = f"Answer as a numbered list of exactly {count} items, each on a line of its own: 1., 2. and so on."
    return Check("numbered list", said, lambda text: _NUMBERED.findall(text) == wanted)


def paragraphs(count: int) -> Check:
    """A number of paragraphs."""
    said = f"Write exactly {count} paragraphs, with a blank line between them."
    return Check("paragraphs", said, lambda text: count_paragraphs(text) == count)


def lines(count: int) -> Check:
    """A number of lines."""
    said = f"Write exactly {count} lines, without blank lines between them."
    return Check("lines", said, lambda text: len(text.splitlines()) == count and count_paragraphs(text) == 1)


def includes(word: str) -> Check:
    """A word that must be there."""
    return Check("includes", f"Use the word '{word}'.", lambda text: count_of_word(text, word) > 0)


def excludes(word: str) -> Check:
    """A word that must not be there."""
    return Check("excludes", f"Do not use the word '{word}'.", lambda text: count_of_word(text, word) == 0)


def word_times(word: str, count: int) -> Check:
    """How often a word must be there."""
    said = f"Use the word '{word}' exactly {count} times."
    return Check("word count", said, lambda text: count_of_word(text, word) == count)


def begins(phrase: str) -> Check:
    """How an answer begins."""
    return Check("begins with", f'Begin your answer with "{phrase}"', lambda text: text.startswith(phrase))


def ends(phrase: str) -> Check:
    """How an answer ends."""
    said = f'End your answer with "{phrase}" and write nothing after it.'
    return Check("ends with", said, lambda text: text.endswith(phrase))


def json_object(*keys: str) -> Check:
    """An object with exactly some keys."""
    named = " and ".join(f"'{key}'" for key in keys)
    said = f"Answer with a JSON object alone, which has exactly the keys {named}."
    return Check("JSON", said, lambda text: json_keys(text) == set(keys))


def one_of(*answers: str) -> Check:
    """One of some answers and no more."""
    said = f"Answer with one of these words alone: {', '.join(answers)}."
    return Check("one of", said, lambda text: text.rstrip(".").lower() in answers)


LOWER = Check("lower case", "Write in lower case only, without a single capital letter.", lambda text: text.islower())
UPPER = Check("upper case", "Write in CAPITAL LETTERS only.", lambda text: text.isupper())
QUOTED = Check(
    "quoted",
    "Put your whole answer in double quotation marks.",
    lambda text: len(text) > 2 and text[0] in '"“' and text[-1] in '"”',
)
NO_COMMAS = Check("no commas", "Do not use any comma.", lambda text: "," not in text)
ONE_WORD = Check("one word", "Answer with a single word.", lambda text: count_words(text) == 1)
TITLE = Check(
    "title",
    "Give your answer a title in double angle brackets, such as <<a title>>.",
    lambda text: bool(re.search(r"<<[^<>\n]*\w[^<>\n]*>>", text)),
)
PLACEHOLDERS = Check(
    "placeholders",
    "Use at least 2 placeholders in square brackets, such as [name].",
    lambda text: len(re.findall(r"\[[^\[\]\n]*\w[^\[\]\n]*\]", text)) >= 2,
)
POSTSCRIPT = Check(
    "postscript",
    "At the end add a postscript that begins with P.S.",
    lambda text: bool(re.search(r"^\s*P\.\s?S\.\s*\S", text, re.MULTILINE)),
)
HIGHLIGHTED = Check(
    "highlighted",
    "Highlight at least 2 parts by asterisks, such as *this part*.",
    lambda text: len(re.findall(r"\*[^*\s](?:[^*\n]*[^*\s])?\*", text)) >= 2,
)
SEPARATED = Check(
    "two answers",
    "Give two different answers, with a line of 6 asterisks (******) between them.",
    lambda text: (
        len(parts := [part.strip() for part in _SEPARATOR.split(text)]) == 2
        and all(map(count_words, parts))
        and parts[0] != parts[1]
    ),
)
QUESTION = Check("ends as a question", "End your answer with a question.", lambda text: text.endswith("?"))

_TASKS = (
    "Describe a lighthouse.",
    "Explain how bread is made.",
    "Say why people learn to swim.",
    "Tell me about the moon.",
    "Recommend a hobby for the winter.",
    "Describe a busy market.",
    "Explain what a thermometer does.",
    "Say what makes a good neighbour.",
    "Tell a story about a lost key.",
    "Explain why leaves fall in autumn.",
    "Describe your ideal breakfast.",
    "Say how to look after a bicycle.",
    "Explain what a library is for.",
    "Tell me about elephants.",
    "Describe a train journey.",
    "Say how to stay calm before an exam.",
    "Explain how a candle burns.",
    "Describe a river in spring.",
    "Recommend a gift for a gardener.",
    "Say why sleep matters.",
    "Tell me what a map shows.",
    "Explain how to boil an egg.",
    "Describe an old clock.",
    "Say what friends are for.",
)
# what can be answered in a word
_TASKS_OF_KINDS = {
    "one of": (
        "Is a whale a fish?",
        "Are vegetables good or bad for children?",
        "Which colour has fresh grass?",
        "Can a stone swim?",
        "Is it good or bad to lie to a friend?",
        "Which colour has the sky at noon?",
        "Will it rain somewhere tomorrow?",
    ),
    "one word": (
        "What do we breathe?",
        "What is the opposite of cold?",
        "What do cows drink?",
        "Which animal barks?",
        "What falls in winter and is white?",
        "What shines at night?",
        "What do fish swim in?",
    ),
}
# several of a kind differ in what they ask for
_SINGLE: tuple[tuple[Check, ...], ...] = (
    (at_most_words(10), at_most_words(20), at_most_words(30)),
    (at_least_words(40), at_least_words(50), at_least_words(60)),
    (sentences(1), sentences(2), sentences(3)),
    (bullets(2), bullets(3), bullets(4)),
    (numbered(2), numbered(3), numbered(4)),
    (paragraphs(2), paragraphs(3)),
    (lines(2), lines(3), lines(4)),
    (includes("harbour"), includes("patience"), includes("silver"), includes("seldom")),
    (excludes("the"), excludes("and"), excludes("is"), excludes("a")),
    (word_times("always", 2), word_times("water", 3), word_times("people", 2)),
    (begins("Well,"), begins("To be honest,"), begins("Here is my answer:")),
    (ends("That is all."), ends("Thank you for asking."), ends("The end.")),
    (json_object("title", "text"), json_object("answer"), json_object("name", "reason")),
    (one_of("yes", "no", "maybe"), one_of("good", "bad"), one_of("red", "green", "blue")),
    (LOWER,),
    (UPPER,),
    (QUOTED,),
    (NO_COMMAS,),
    (ONE_WORD,),
    (TITLE,),
    (PLACEHOLDERS,),
    (POSTSCRIPT,),
    (HIGHLIGHTED,),
    (SEPARATED,),
)
_DOUBLE: tuple[tuple[Check, Check], ...] = (
    (LOWER, sentences(2)),
    (UPPER, at_most_words(20)),
    (bullets(3), includes("careful")),
    (begins("Well,"), sentences(2)),
    (ends("That is all."), NO_COMMAS),
    (TITLE, sentences(2)),
    (QUOTED, at_most_words(20)),
    (paragraphs(2), includes("morning")),
    (excludes("the"), sentences(1)),
    (numbered(3), LOWER),
    (POSTSCRIPT, at_most_words(40)),
    (QUESTION, sentences(2)),
)
_TASKS_OF_ONE, _TASKS_OF_TWO = 7, 6


def _made() -> tuple[Instruction, ...]:
    found: list[tuple[str, tuple[Check, ...]]] = []
    for row in range(_TASKS_OF_ONE):
        for at, several in enumerate(_SINGLE):
            check = several[row % len(several)]
            own = _TASKS_OF_KINDS.get(check.kind)
            found.append((own[row] if own else _TASKS[(at + 5 * row) % len(_TASKS)], (check,)))
        for at, both in enumerate(_DOUBLE if row < _TASKS_OF_TWO else ()):
            found.append((_TASKS[(2 * at + 1 + 7 * row) % len(_TASKS)], both))
    return tuple(
        Instruction(
            f"{number:03} {' + '.join(check.kind for check in checks)}",
            " ".join((task, *(check.said for check in checks))),
            checks,
        )
        for number, (task, checks) in enumerate(found)
    )


KINDS = len(_SINGLE) + len(_DOUBLE)
# kinds take turns, so that the first ones are of every kind
INSTRUCTIONS = _made()
