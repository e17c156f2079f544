"""Every reply of an LLM, on disk before it is used: one SQLite file that only grows.

A reply is found by its key, a digest of what was asked, which knows nothing of run, position or concurrency. Attempts
at one key are numbered. A row whose failure is "transport" is no reply: such a call may have been paid for, but nothing
came back; it is counted and never found. Several processes may use one file at a time.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from denizen.engine.errors import InputError, reason
from denizen.llm.budget import Spending

TRANSPORT = "transport"
# seconds that one process waits while others write, each for a few milliseconds
_PATIENCE = 60.0


@dataclass(frozen=True)
class StoredReply:
    """A row of the store, which itself gives the last three columns.

    Args:
        key: Digest of what was asked.
        stage: The stage that asked.
        model: The LLM as its endpoint calls it.
        request: Messages and sampling, as JSON.
        text: What came back, with the endpoint's finish_reason and the reply's refusal field. Thinking that came in a
            field of its own stands in <think>; where nothing was written, it is what else came, if anything did.
        failure: Why the reply is of no use, or None; the message says what is wrong with it.
        logprob: Mean log-probability of its tokens, or None.
        cost: Money, or None when the price is not known.
        created: When it came, ISO 8601, UTC, after a call of so many seconds.
        attempt: Number among the rows of this key, from 1.
        run: The run that paid for it.
        superseded: It is kept, but asked again.
    """

    key: str
    stage: str
    model: str
    request: str
    text: str = ""
    finish_reason: str = ""
    refusal: str = ""
    failure: str | None = None
    message: str = ""
    logprob: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    created: str = ""
    seconds: float = 0.0
    attempt: int = 0
    run: str = ""
    superseded: bool = False


_COLUMNS = [column.name for column in fields(StoredReply)]
_TYPES = {"str": "TEXT", "int": "INTEGER", "bool": "INTEGER", "float": "REAL"}
_CREATE = ", ".join(
    f"{column.name} {_TYPES[str(column.type).removesuffix(' | None')]}{'' if column.default is None else ' NOT NULL'}"
    for column in fields(StoredReply)
)


class Replies:
    """The store of one file.

    Args:
        path: The file; it and its folder are made where missing.
        run: The run that replies are paid for by.

    Raises:
        InputError: When the file is no store of replies, or cannot be opened.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self.run = run
        self._lock = threading.Lock()
        with self._readable():
            path.parent.mkdir(parents=True, exist_ok=True)
            # the thread that asks is another one where an event loop runs already; the lock keeps them apart
            self._rows = sqlite3.connect(path, _PATIENCE, isolation_level=None, check_same_thread=False)
            self._prepare()

    def find(self, keys: Iterable[str]) -> dict[str, StoredReply]:
        """The newest reply to each key, of any run, that is not superseded; keys without one are left out."""
        rows = self._do(
            # one value for all keys, since the number of values is limited
            f"SELECT {', '.join(_COLUMNS)} FROM replies WHERE key IN (SELECT value FROM json_each(?)) "
            "AND NOT superseded AND failure IS NOT ? ORDER BY attempt",
            [json.dumps(list(keys)), TRANSPORT],
        )
        return {row[0]: StoredReply(*row) for row in rows}

    def add(self, reply: StoredReply) -> int:
        """Adds a reply to this run; after a return it is on disk.

        Returns:
            The number of the attempt at its key.

        Raises:
            InputError: When it cannot be written (no space left, say).
        """
        places = ", ".join(f":{name}" for name in _COLUMNS).replace(
            ":attempt", "(SELECT coalesce(max(attempt), 0) + 1 FROM replies WHERE key = :key)"
        )
        values = vars(reply) | {"run": self.run, "superseded": 0}
        rows = self._do(f"INSERT INTO replies ({', '.join(_COLUMNS)}) VALUES ({places}) RETURNING attempt", values)
        return int(rows[0][0])

    def mark_failed(self, key: str, attempt: int, failure: str, message: str) -> None:
        """Says why a reply that was added is of no use."""
        change = "UPDATE replies SET failure = ?, message = ? WHERE key = ? AND attempt = ?"
        self._do(change, [failure, message, key, attempt])

    def spent(self) -> Spending:
        """What this run has paid for: every attempt, superseded ones too."""
        return sum(self.spent_by_stage().values(), Spending())

    def spent_by_stage(self) -> dict[str, Spending]:
        """What each stage of this run has paid for."""
        rows = self._do(
            "SELECT stage, count(*), sum(prompt_tokens + completion_tokens), total(cost) FROM replies "
            "WHERE run = ? GROUP BY stage ORDER BY stage",
            [self.run],
        )
        return {stage: Spending(calls, tokens, money) for stage, calls, tokens, money in rows}

    def supersede_failures(self, thinking_tokens: int) -> int:
        """Has failed replies asked again where they are wanted again; they stay in the store.

        Those of other runs, too: in a shared store, this run may have taken a failure over from another one. A reply
        that was cut would be cut again, so it is left unless it may be longer now. Calls that got no reply have nothing
        to keep here; the new generation of the store has them asked again, too.

        Args:
            thinking_tokens: The limit of now.

        Returns:
            How many there are.
        """
        self._do(f"PRAGMA user_version = {self.generation() + 1}")
        failed = "NOT superseded AND failure IS NOT NULL AND failure != ?"
        longer = "(failure != 'truncated' OR json_extract(request, '$.thinking_tokens') < ?)"
        statement = f"UPDATE replies SET superseded = 1 WHERE {failed} AND {longer} RETURNING key"
        return len(self._do(statement, [TRANSPORT, thinking_tokens]))

    def generation(self) -> int:
        """Which generation of the store a step has seen: it changes when failures are to be asked again."""
        return int(self._do("PRAGMA user_version")[0][0])

    def close(self) -> None:
        """Closes the file."""
        self._rows.close()

    def _do(self, statement: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        with self._lock, self._readable():
            return self._rows.execute(statement, values).fetchall()

    def _prepare(self) -> None:
        tables = [name for (name,) in self._rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = [row[1] for row in self._rows.execute("PRAGMA table_info(replies)")]
        if tables and columns != _COLUMNS:
            kept = f"replies with the columns {columns}" if columns else f"the tables {tables}"
            raise InputError(f"{self.path} is a database of something else (it holds {kept}); name another file")
        until = time.monotonic() + _PATIENCE
        while True:
            # the change of mode does not wait for another process that is making it, unlike every other statement
            try:
                self._rows.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.02)
        self._rows.execute("PRAGMA synchronous = FULL")
        self._rows.execute(f"CREATE TABLE IF NOT EXISTS replies ({_CREATE}, PRIMARY KEY (key, attempt))")
        self._rows.execute("CREATE INDEX IF NOT EXISTS replies_of_runs ON replies (run, stage)")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
            raise
        except sqlite3.OperationalError as error:
            raise InputError(
                f"the replies in {self.path} cannot be read or written: {reason(error)}; see that the folder is "
                "writable, has space left and is no network folder, then run the same command again"
            ) from None
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path} is no store of replies: {reason(error)}; name another file") from None
        except OSError as error:
            raise InputError(f"{self.path} cannot be made: {reason(error)}; name another file") from None
