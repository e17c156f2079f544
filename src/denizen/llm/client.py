"""An LLM behind any OpenAI-compatible chat endpoint: prompts in, validated objects or the reasons against them out.

Every reply is in the store before it is read, and what is in the store is never asked again. The result does not depend
on concurrency or on how often the run was interrupted.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from denizen.engine.errors import InputError
from denizen.llm.answer import Answer, Failure, Prompt
from denizen.llm.budget import Budget, Spending, worst_prompt_tokens
from denizen.llm.endpoint import Completion, Trouble, response_format
from denizen.llm.local import endpoint_of
from denizen.llm.parsing import parse_reply
from denizen.llm.replies import TRANSPORT, Replies, StoredReply
from denizen.llm.whole_prompt import cut_prompt

if TYPE_CHECKING:
    import openai
    import pydantic

# of one prompt; with the pauses between them they take 15 to 30 seconds of a server that is down
_TRIES = 6
# of them with the whole request, before an error of the server is put down to a part of it
_WHOLE_TRIES = 3
# seconds
_LONGEST_BACKOFF = 30.0
# prompts that were lost one after the other before the endpoint is given up
_LOST_IN_A_ROW = 10
# replies of no use, and none of any, before a model is given up
_USELESS = 20
# what to do about them by the kind of the last one; of a cut prompt the message says it
_REMEDIES = {
    "truncated": " Then raise --thinking-tokens, or take a model that does not think before it answers;",
    "context": " Then",
}
_REMEDY = " Then see the raw replies in the store, and take a model that keeps to JSON;"


class LLM:
    """A client, for one `ask` at a time.

    Args:
        model: The LLM as the endpoint calls it, or without an endpoint a GGUF file, which is served here.
        replies: Where replies are kept; what its run has spent counts against the budget.
        budget: Limits on calls, tokens and money.
        endpoint: Base URL; empty for OPENAI_BASE_URL of the environment, or else api.openai.com.
        key_variable: The environment variable with the endpoint's key; not needed by a local server.
        concurrency: Calls at a time, at most; a server of our own takes no more than it works on.
        timeout: Seconds after which a call is given up and tried again.
        thinking_tokens: What a reply may take besides the tokens that its prompt allows.

    Attributes:
        model: What replies are kept under: of a file its name and digest.
        backoff: Seconds before the second try; twice as many before each further one.

    Raises:
        InputError: When the endpoint's URL is not of the right form, the file cannot be served, or a number is out of
            range.
    """

    def __init__(  # noqa: PLR0913
        self,
        model: str,
        replies: Replies,
        budget: Budget,
        *,
        endpoint: str = "",
        key_variable: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        timeout: float = 120.0,
        thinking_tokens: int = 0,
    ) -> None:
        if concurrency < 1 or timeout <= 0:
            raise InputError(
                f"concurrency is {concurrency} and timeout {timeout:g} s; give 1 or more, and more than 0 s"
            )
        self.endpoint = endpoint_of(model, endpoint, key_variable, timeout)
        self.model = self.endpoint.model
        self.replies = replies
        self.budget = budget
        self.concurrency = min(concurrency, self.endpoint.most_at_once or concurrency)
        self.thinking_tokens = thinking_tokens
        self.backoff = 0.5

    def key(self, prompt: Prompt) -> str:
        """SHA-256 over all that the reply depends on.

        The endpoint's address is not part of it, nor is the limit on tokens: a reply that ends by itself is the same
        under any limit, and one that was cut is a failure that `retry` asks again under a higher one.
        """
        asked = [
            self.model,
            [list(message) for message in prompt.messages],
            float(prompt.temperature),
            prompt.logprobs,
            prompt.repeat,
            _schema_digest(prompt.reply),
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def ask(
        self,
        prompts: Sequence[Prompt],
        stage: str,
        progress: Callable[[int], None] = lambda count: None,
        most: int | None = None,
    ) -> list[Answer | Failure]:
        """Asks what the store does not know, and the same prompt only once.

        Args:
            prompts: They are started in this order, so it says which are left out when the budget ends.
            stage: The stage that asks.
            progress: Called with the number of prompts that were done.
            most: The most of these calls that the stage may pay for, whatever the budget has left; those that it has
                paid for already, before it was stopped, count.

        Returns:
            An answer, or the reason why there is none, for each prompt in order.

        Raises:
            InputError: When no further call can succeed, or ten prompts in a row were lost. What came is in the store.
        """
        keys = [self.key(prompt) for prompt in prompts]
        wanted, places = dict(zip(keys, prompts, strict=True)), Counter(keys)
        stored = self.replies.find(wanted)
        found = {key: self.outcome(wanted[key], reply) for key, reply in stored.items()}
        progress(sum(places[key] for key in found))
        proven = any(isinstance(outcome, Answer) for outcome in found.values())

        def ended(key: str, outcome: Answer | Failure) -> None:
            found[key] = outcome
            progress(places[key])

        missing = [key for key in wanted if key not in found]
        own = sum((reply.run, reply.stage) == (self.replies.run, stage) for reply in stored.values())
        left = len(missing) if most is None else max(0, most - own)
        for key in missing[left:]:
            ended(key, Failure(key, "budget", "left for later stages", ""))
        if jobs := [self._job(key, wanted[key]) for key in missing[:left]]:
            self.budget.begin(self.replies.spent())
            _run_to_end(partial(_asked, self, stage, jobs, ended, proven))
        return [found[key] for key in keys]

    def outcome(self, prompt: Prompt, reply: StoredReply) -> Answer | Failure:
        """What a stored reply comes to; one that turns out to be of no use is marked as a failure in the store."""
        if reply.failure:
            # only kinds are ever written
            kind: Any = reply.failure
            return Failure(reply.key, kind, reply.message, reply.text)
        outcome = parse_reply(reply, prompt.reply)
        if isinstance(outcome, Failure):
            self.replies.mark_failed(reply.key, reply.attempt, outcome.kind, outcome.message)
        return outcome

    def _job(self, key: str, prompt: Prompt) -> _Job:
        # thinking included
        most = prompt.max_tokens + self.thinking_tokens
        body = {
            "model": self.model,
            "messages": [{"role": role, "content": self.endpoint.hidden(content)} for role, content in prompt.messages],
            "temperature": prompt.temperature,
            "max_tokens": most,
            "response_format": response_format(prompt.reply),
        }
        if prompt.logprobs:
            body["logprobs"] = True
        tokens = worst_prompt_tokens(prompt.messages), most
        return _Job(key, prompt, body, tokens, self.budget.spending(*tokens))


@dataclass
class _Job:
    key: str
    prompt: Prompt
    body: dict[str, Any]
    # of input and output, in the worst case
    tokens: tuple[int, int]
    worst: Spending
    reserved: bool = False
    # of the last try: what was sent, and when
    sent: dict[str, Any] = field(default_factory=dict)
    began: float = 0.0
    # what the whole request came to, what is left out of the next one, and what still may be
    whole: Trouble | None = None
    without: frozenset[str] = frozenset()
    trials: deque[frozenset[str]] = field(default_factory=deque)


@dataclass
class _Asking:
    """One `ask`: workers that take the jobs in order, within the budget, and pause together."""

    llm: LLM
    client: openai.AsyncOpenAI
    stage: str
    jobs: deque[_Job]
    ended: Callable[[str, Answer | Failure], None]
    proven: bool
    error: InputError | None = None
    resume_at: float = 0.0
    lost_in_a_row: int = 0
    replied: bool = False
    useless: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def work(self) -> None:
        """Takes jobs until none is left; after an error that concerns them all, calls under way are still awaited."""
        while job := await self._next():
            try:
                outcome = await self._answer(job)
                if outcome:
                    self.ended(job.key, outcome)
                    self._check_use(outcome)
            except InputError as error:
                self.error = self.error or error
                self.stop.set()
            finally:
                self._settle(job, Spending())

    def _check_use(self, outcome: Answer | Failure) -> None:
        """Gives a model up whose first replies are all of no use, before the rest is paid for."""
        if isinstance(outcome, Answer):
            self.proven = True
            return
        self.useless += outcome.kind not in ("budget", TRANSPORT)
        if self.proven or self.useless < _USELESS:
            return
        raise InputError(
            f"{self.stage}: the first {self.useless} replies of {self.llm.model} were of no use; the last one: "
            f"{outcome.message}.{_REMEDIES.get(outcome.kind, _REMEDY)} `denizen retry RUN` goes on"
        )

    async def _next(self) -> _Job | None:
        # one at a time, so that a smaller job cannot overtake one that waits for the budget
        async with self.turn:
            if not self.jobs or self.stop.is_set():
                return None
            if await self._reserve(self.jobs[0]):
                return self.jobs.popleft()
            while self.jobs:
                job = self.jobs.popleft()
                self.ended(job.key, _unpaid(job))
            return None

    async def _reserve(self, job: _Job) -> bool:
        while (verdict := self.llm.budget.reserve(job.worst)) == "wait":
            self.settled.clear()
            await self.settled.wait()
        job.reserved = verdict == "yes"
        return job.reserved

    def _settle(self, job: _Job, used: Spending) -> None:
        if job.reserved:
            job.reserved = False
            self.llm.budget.settle(job.worst, used)
            self.settled.set()

    async def _answer(self, job: _Job) -> Answer | Failure | None:
        """Tries until there is a reply or no hope; None when the whole `ask` has come to an end meanwhile."""
        tries, delay = 0, 0.0
        while True:
            await self._pause(delay)
            if self.stop.is_set():
                return None
            if not job.reserved and not await self._reserve(job):
                return _unpaid(job)
            outcome = await self._call(job)
            if isinstance(outcome, Completion):
                return self._keep(job, outcome)
            delay = 0.0
            if outcome.dropped:
                job.whole, job.without = None, frozenset()
                continue
            tries += 1
            if not self._tries_less(job, outcome, tries) and (not outcome.again or tries >= _TRIES):
                return await self._given_up(job, job.whole if job.whole and not job.whole.again else outcome)
            if outcome.delay:
                self.resume_at = max(self.resume_at, time.monotonic() + outcome.delay)
            elif outcome.again:
                delay = min(_LONGEST_BACKOFF, self.llm.backoff * 2 ** (tries - 1) * random.uniform(1, 2))

    def _tries_less(self, job: _Job, trouble: Trouble, tries: int) -> bool:
        """Whether the next try leaves out what may be at fault; an error that may pass is given time to pass first."""
        if not job.whole:
            if not trouble.trials or (trouble.again and tries < _WHOLE_TRIES):
                return False
            job.whole, job.trials = trouble, deque(trouble.trials)
        elif trouble.again and not job.whole.again:
            # of another kind than what is being looked into: the same once more
            return False
        job.without = job.trials.popleft() if job.trials else frozenset()
        return bool(job.without)

    async def _pause(self, delay: float) -> None:
        """Waits for one's own time and for the time that the endpoint has set for all, unless everything stops."""
        until = time.monotonic() + delay
        while not self.stop.is_set() and (left := max(until, self.resume_at) - time.monotonic()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), left)

    async def _call(self, job: _Job) -> Completion | Trouble:
        job.sent, job.began = self.llm.endpoint.parameters.sent(job.body, job.without), time.monotonic()
        try:
            outcome = await self.llm.endpoint.call(self.client, job.sent)
        except asyncio.CancelledError:
            self._store(job, job.tokens, failure=TRANSPORT, message="interrupted before the reply came")
            raise
        if isinstance(outcome, Trouble) and outcome.paid:
            self._store(job, job.tokens, failure=TRANSPORT, message=outcome.message, text=outcome.raw)
        return outcome

    def _keep(self, job: _Job, reply: Completion) -> Answer | Failure:
        self.replied, self.lost_in_a_row = True, 0
        self.llm.endpoint.parameters.learn(job.sent, job.without, job.body)
        told = {"text": reply.rest or reply.text, "finish_reason": reply.finish_reason, "refusal": reply.refusal}
        told |= _no_answer(job.prompt, reply)
        row = self._store(job, reply.tokens or job.tokens, logprob=reply.logprob, **told)
        return self.llm.outcome(job.prompt, row)

    def _store(self, job: _Job, tokens: tuple[int, int], **told: Any) -> StoredReply:
        """Keeps what came of a call, which ends its reservation."""
        request = {name: value for name, value in job.sent.items() if name not in ("model", "response_format")}
        # its schema is the one of the key; whether the endpoint was held to it is what is not known otherwise
        request |= {"json_schema": "response_format" in job.sent, "repeat": job.prompt.repeat}
        request |= {"thinking_tokens": self.llm.thinking_tokens}
        used = self.llm.budget.spending(*tokens)
        row = StoredReply(
            job.key,
            self.stage,
            self.llm.model,
            json.dumps(request, ensure_ascii=False),
            prompt_tokens=tokens[0],
            completion_tokens=tokens[1],
            cost=used.money if self.llm.budget.prices else None,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=time.monotonic() - job.began,
            **told,
        )
        row = replace(row, attempt=self.llm.replies.add(row))
        self._settle(job, used)
        return row

    async def _given_up(self, job: _Job, trouble: Trouble) -> Failure:
        if trouble.hopeless:
            remedy = await self.llm.endpoint.remedy(self.client, trouble.status)
            raise InputError(f"{trouble.message}; {remedy}")
        # a prompt that the endpoint refuses may be the fault of that prompt, once others were answered
        self.lost_in_a_row += trouble.again or not self.replied
        if self.lost_in_a_row >= _LOST_IN_A_ROW:
            raise InputError(
                f"{self.lost_in_a_row} prompts in a row got no reply; the last time: {trouble.message}. See that the "
                "server runs and takes such prompts; nothing that came is lost: run the same command again then"
            )
        return Failure(job.key, "transport", trouble.message, trouble.raw)


def _no_answer(prompt: Prompt, reply: Completion) -> dict[str, str]:
    """Failure and message of a reply that is none to the prompt, whatever its text."""
    if reply.tokens and (problem := cut_prompt(prompt.messages, reply.tokens[0] + reply.cached)):
        return {"failure": "context", "message": problem}
    if reply.rest and not reply.refusal:
        kind = "truncated" if reply.finish_reason == "length" else "empty"
        return {"failure": kind, "message": "answered nothing that is text; the raw reply says what came"}
    return {}


def _unpaid(job: _Job) -> Failure:
    return Failure(
        job.key, "budget", "no further call: its worst case does not fit into what is left of the budget", ""
    )


async def _asked(
    llm: LLM, stage: str, jobs: Sequence[_Job], ended: Callable[[str, Answer | Failure], None], proven: bool
) -> None:
    async with llm.endpoint.open() as client:
        asking = _Asking(llm, client, stage, deque(jobs), ended, proven)
        workers = [asyncio.create_task(asking.work()) for _ in range(min(llm.concurrency, len(jobs)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    if asking.error:
        raise asking.error


def _run_to_end(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs to the end, or to Ctrl-C, which cancels it; in a thread of its own where a loop runs, as in a notebook."""
    # comes with the openai SDK
    from anyio.from_thread import start_blocking_portal

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work())
    else:
        with start_blocking_portal() as portal:
            portal.call(work)


@cache
def _schema_digest(model: type[pydantic.BaseModel]) -> str:
    return hashlib.sha256(json.dumps(model.model_json_schema(), sort_keys=True).encode()).hexdigest()
