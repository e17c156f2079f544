from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from denizen.engine.errors import InputError
from denizen.llm.budget import Spending
from denizen.llm.replies import Replies, StoredReply

REPLY = StoredReply(
    "k1",
    "judge",
    "tiny",
    '{"messages": []}',
    text='{"grade": 3} é\x00',
    finish_reason="stop",
    logprob=-0.25,
    prompt_tokens=100,
    completion_tokens=20,
    cost=0.5,
    created="2026-01-01T00:00:00+00:00",
    seconds=1.5,
)

# adds replies to the given file, and says each key when it was added
ADDING = """
import sys
from pathlib import Path
from denizen.llm.replies import Replies, StoredReply
store = Replies(Path(sys.argv[1]), sys.argv[2])
for number in range(int(sys.argv[4])):
    key = f"{sys.argv[3]}{number}"
    store.add(StoredReply(key, "judge", "tiny", "{}", text="x" * 3000))
    print(key, flush=True)
"""


def adding(path: Path, run: str, prefix: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ADDING, str(path), run, prefix, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_what_was_added_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "replies.sqlite"
    assert Replies(path, "a").add(REPLY) == 1
    found = Replies(path, "b").find(["k1", "k2", "k1"])
    assert found == {"k1": replace(REPLY, attempt=1, run="a")}


def test_a_store_of_an_earlier_version_is_read_and_a_new_one_is_like_it(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with sqlite3.connect(path) as rows:
        rows.execute(
            "CREATE TABLE replies (key TEXT NOT NULL, stage TEXT NOT NULL, model TEXT NOT NULL, request TEXT NOT NULL, "
            "text TEXT NOT NULL, finish_reason TEXT NOT NULL, refusal TEXT NOT NULL, failure TEXT, "
            "message TEXT NOT NULL, logprob REAL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, "
            "cost REAL, created TEXT NOT NULL, seconds REAL NOT NULL, attempt INTEGER NOT NULL, run TEXT NOT NULL, "
            "superseded INTEGER NOT NULL, PRIMARY KEY (key, attempt))"
        )
        values = ("k1", "judge", "tiny", "{}", "x", "stop", "", None, "", -0.5, 100, 20, 0.5, "now", 1.5, 1, "a", 0)
        rows.execute(f"INSERT INTO replies VALUES ({', '.join('?' * len(values))})", values)
    assert Replies(path, "a").find(["k1"]) == {"k1": StoredReply(*values)}
    Replies(tmp_path / "new.sqlite", "a")
    tables = [sqlite3.connect(tmp_path / name).execute("PRAGMA table_info(replies)") for name in (path, "new.sqlite")]
    assert tables[0].fetchall() == tables[1].fetchall()


def test_the_generation_changes_when_failures_are_to_be_asked_again_and_else_never(tmp_path: Path) -> None:
    store = Replies(tmp_path / "r.sqlite", "a")
    seen = [store.generation()]
    for key in ("k1", "k2"):
        store.mark_failed(key, store.add(replace(REPLY, key=key)), "schema", "no grade")
        seen.append(store.generation())
    store.supersede_failures(0)
    seen.append(Replies(store.path, "b").generation())
    store.add(REPLY)
    seen.append(store.generation())
    assert seen == [0, 0, 0, 1, 1]
    # where nothing but calls without any reply failed, there is nothing to supersede, and they are asked again
    assert store.supersede_failures(0) == 0
    assert store.generation() == 2


def test_the_newest_attempt_is_found(tmp_path: Path) -> None:
    store = Replies(tmp_path / "r.sqlite", "a")
    numbers = [store.add(replace(REPLY, text=text)) for text in ("first", "second")]
    assert numbers == [1, 2]
    assert store.add(replace(REPLY, key="k2")) == 1
    assert store.find(["k1"])["k1"].text == "second"


def test_a_call_without_a_reply_is_counted_and_never_found(tmp_path: Path) -> None:
    store = Replies(tmp_path / "r.sqlite", "a")
    store.add(replace(REPLY, text="", failure="transport", message="no reply within 5 s"))
    assert store.find(["k1"]) == {}
    assert store.spent() == Spending(1, 120, 0.5)
    store.add(REPLY)
    store.add(replace(REPLY, failure="transport"))
    assert store.find(["k1"])["k1"].attempt == 2


def test_more_keys_than_one_query_holds(tmp_path: Path) -> None:
    store = Replies(tmp_path / "r.sqlite", "a")
    for number in (0, 899, 900, 1999):
        store.add(replace(REPLY, key=f"k{number}"))
    found = store.find(f"k{number}" for number in range(2000))
    assert sorted(found) == ["k0", "k1999", "k899", "k900"]


def test_spending_is_of_this_run_with_every_attempt(tmp_path: Path) -> None:
    """Run a: 2 calls to judge of 120 tokens and .5; 1 to write of 7 tokens, without a price."""
    path = tmp_path / "r.sqlite"
    store = Replies(path, "a")
    store.add(REPLY)
    store.add(replace(REPLY, failure="schema"))
    store.add(replace(REPLY, stage="write", key="k2", prompt_tokens=3, completion_tokens=4, cost=None))
    store.supersede_failures(0)
    other = Replies(path, "b")
    other.add(replace(REPLY, key="k3"))
    assert store.spent_by_stage() == {"judge": Spending(2, 240, 1.0), "write": Spending(1, 7, 0.0)}
    assert store.spent() == Spending(3, 247, 1.0)
    assert other.spent() == Spending(1, 120, 0.5)
    assert Replies(path, "c").spent() == Spending()


def test_failures_are_superseded_whose_ever_they_are_and_stay(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    store = Replies(path, "a")
    for key, stage, failure in [("good", "judge", None), ("bad", "judge", "schema"), ("worse", "write", "empty")]:
        attempt = store.add(replace(REPLY, key=key, stage=stage))
        if failure:
            store.mark_failed(key, attempt, failure, f"is {failure}")
    Replies(path, "b").add(replace(REPLY, key="other", failure="schema"))
    found = store.find(["good", "bad", "worse"])
    assert {key: (row.failure, row.message) for key, row in found.items()} == {
        "good": (None, ""),
        "bad": ("schema", "is schema"),
        "worse": ("empty", "is empty"),
    }
    cut = store.add(replace(REPLY, key="cut", request='{"thinking_tokens": 100}'))
    store.mark_failed("cut", cut, "truncated", "cut")
    assert store.supersede_failures(100) == 3
    assert store.supersede_failures(100) == 0
    assert store.supersede_failures(101) == 1
    assert set(store.find(["good", "bad", "worse", "other"])) == {"good"}
    assert store.add(replace(REPLY, key="bad")) == 2
    assert store.find(["bad"])["bad"].failure is None
    rows = sqlite3.connect(path).execute("SELECT attempt, failure, superseded, text FROM replies WHERE key = 'bad'")
    assert rows.fetchall() == [(1, "schema", 1, REPLY.text), (2, None, 0, REPLY.text)]


@pytest.mark.parametrize("content", ["no database", "x" * 5000, "{}\n"])
def test_another_file_is_no_store(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=r"notes\.txt is no store of replies: .*name another file"):
        Replies(path, "a")
    assert path.read_text() == content


def test_another_database_is_no_store(tmp_path: Path) -> None:
    for name, statement in [("other", "CREATE TABLE people (name)"), ("old", "CREATE TABLE replies (key, text)")]:
        with sqlite3.connect(tmp_path / name) as database:
            database.execute(statement)
    with pytest.raises(InputError, match=r"database of something else \(it holds the tables \['people'\]\)"):
        Replies(tmp_path / "other", "a")
    with pytest.raises(InputError, match=r"it holds replies with the columns \['key', 'text'\]"):
        Replies(tmp_path / "old", "a")


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unable to open database file"):
        Replies(tmp_path, "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/replies.* cannot be made"):
        Replies(tmp_path / "file" / "replies", "a")


def test_a_full_disk_is_an_input_error_and_the_store_stays_whole(tmp_path: Path) -> None:
    store = Replies(tmp_path / "r.sqlite", "a")
    store.add(REPLY)
    pages = store._rows.execute("PRAGMA page_count").fetchone()[0]
    store._rows.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(InputError, match="full; see that the folder is writable, has space left"):
        store.add(replace(REPLY, key="k2", text="x" * 100_000))
    assert set(Replies(store.path, "a").find(["k1", "k2"])) == {"k1"}


def test_what_was_said_to_be_added_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    chance = random.Random(3)
    said: list[str] = []
    for round_ in range(4):
        child = adding(path, "a", f"{round_}-", 100_000)
        assert child.stdout
        # an import on a busy machine takes its time; the kill comes at random after the first word
        said.append(child.stdout.readline().strip())
        threading.Timer(chance.uniform(0, 0.3), child.send_signal, [signal.SIGKILL]).start()
        said += [line.strip() for line in child.stdout if line.endswith("\n")]
        assert child.wait() == -signal.SIGKILL
    store = Replies(path, "a")
    found = store.find(said)
    assert len(said) > 8
    assert set(found) == set(said)
    assert {row.text for row in found.values()} == {"x" * 3000}
    # at most the one being added at each kill was not said
    assert 0 <= store.spent().calls - len(said) <= 4
    assert store._rows.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_processes_that_open_and_write_one_new_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    children = [adding(path, run, "same", 25) for run in "abcd"]
    for child in children:
        child.communicate()
        assert child.returncode == 0
    store = Replies(path, "a")
    assert store.spent().calls == 25
    attempts = store._rows.execute("SELECT key, count(*), min(attempt), max(attempt) FROM replies GROUP BY key")
    assert {row[1:] for row in attempts} == {(4, 1, 4)}


def test_opening_at_once_waits_rather_than_fails(tmp_path: Path) -> None:
    for round_ in range(5):
        path = tmp_path / f"{round_}.sqlite"
        errors: list[Exception] = []
        barrier = threading.Barrier(8)

        def opened(path: Path = path, errors: list[Exception] = errors, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            try:
                Replies(path, "a").add(REPLY)
            except InputError as error:
                errors.append(error)

        threads = [threading.Thread(target=opened) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert Replies(path, "a").spent().calls == 8


def test_a_writer_waits_for_another(tmp_path: Path) -> None:
    store = Replies(tmp_path / "r.sqlite", "a")
    other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, other.execute, ["COMMIT"]).start()
    began = time.monotonic()
    store.add(REPLY)
    assert time.monotonic() - began > 0.2


def test_opening_waits_while_another_process_sets_the_file_up(tmp_path: Path) -> None:
    """SQLite does not wait here by itself: who changes the mode of a file that another writes to is refused at once."""
    path = tmp_path / "r.sqlite"
    Replies(path, "a").close()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA journal_mode = DELETE")
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, other.execute, ["COMMIT"]).start()
    assert Replies(path, "a").add(REPLY) == 1
