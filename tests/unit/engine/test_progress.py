import contextlib
import io
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from denizen.engine import progress
from denizen.engine.progress import Silent, Terminal


def use_all(reporter):
    reporter.say("hello")
    reporter.skipped("corpus")
    with reporter.working("round-0/mining"), reporter.bar(3, "queries") as advance:
        reporter.note("2 left out")
        advance(1)
        advance(2)


def test_silent_says_nothing_anywhere(capsys):
    use_all(Silent())
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_terminal_writes_to_standard_error_only(capsys):
    use_all(Terminal())
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == "hello"
    assert lines[1].split() == ["corpus", "done", "before"]
    assert lines[2].split() == ["round-0/mining", "0.0", "s", "3", "queries;", "2", "left", "out"]
    assert len(lines) == 3


def test_square_brackets_in_a_line_are_not_taken_for_markup(capsys):
    Terminal().say("dropped [bold] of [3]")
    assert capsys.readouterr().err == "dropped [bold] of [3]\n"


def test_a_long_line_is_not_wrapped(capsys):
    Terminal().say("word " * 60 + "end")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_line_of_a_step_lists_its_own_work_and_not_that_of_the_step_before(capsys):
    terminal = Terminal()
    with terminal.working("first"):
        for total, unit in ((12000, "texts"), (2, "blocks"), (345, "texts")):
            with terminal.bar(total, unit) as advance:
                advance(total)
        terminal.note("7 dropped")
    with terminal.working("second"):
        pass
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("12,345 texts; 2 blocks; 7 dropped")
    assert second.split() == ["second", "0.0", "s"]


def test_a_step_that_fails_gets_no_finished_line(capsys):
    terminal = Terminal()
    with pytest.raises(RuntimeError, match="broken"), terminal.working("mining"):
        raise RuntimeError("broken")
    assert "mining" not in capsys.readouterr().err


@pytest.mark.parametrize("seconds, shown", [(0.04, "0.0 s"), (89.9, "89.9 s"), (90, "1.5 min"), (3600, "60.0 min")])
def test_short_times_are_seconds_and_long_ones_minutes(capsys, monkeypatch, seconds, shown):
    times = iter([100.0, 100.0 + seconds])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with Terminal().working("mining"):
        pass
    assert " ".join(capsys.readouterr().err.split()) == f"mining {shown}"


def test_on_a_terminal_the_bar_shows_step_count_and_unit_while_it_works():
    terminal = Terminal()
    drawn = io.StringIO()
    terminal.console = Console(file=drawn, force_terminal=True, width=120)
    with terminal.working("mining"), terminal.bar(30, "queries") as advance:
        advance(12)
        advance(6)
    bar = drawn.getvalue()
    assert "18/30" in bar
    assert "queries" in bar.partition("18/30")[2]


def test_on_a_terminal_a_step_without_a_count_is_seen_working():
    terminal = Terminal()
    drawn = io.StringIO()
    terminal.console = Console(file=drawn, force_terminal=True, width=120)
    with pytest.raises(RuntimeError, match="broken"), terminal.working("corpus"):
        raise RuntimeError("broken")
    assert "corpus" in drawn.getvalue()


def test_on_a_terminal_the_parts_of_a_step_have_bars_of_their_own_and_only_the_line_stays():
    terminal = Terminal()
    drawn = io.StringIO()
    terminal.console = Console(file=drawn, force_terminal=True, color_system=None, width=120)
    with terminal.working("embeddings"):
        with terminal.bar(4, "texts") as advance:
            advance(4)
        with terminal.bar(2, "blocks") as advance:
            advance(1)
    assert "4/4 texts" in drawn.getvalue()
    assert "1/2 blocks" in drawn.getvalue().partition("4/4 texts")[2]
    assert drawn.getvalue().splitlines()[-1].split()[-4:] == ["4", "texts;", "2", "blocks"]


def test_elsewhere_no_bar_is_drawn(capsys):
    terminal = Terminal()
    with terminal.bar(30, "queries") as advance:
        advance(30)
    assert capsys.readouterr().err == ""


def test_square_brackets_in_a_note_are_not_taken_for_markup(capsys):
    terminal = Terminal()
    with terminal.working("mining"):
        terminal.note("dropped [bold] rows")
    assert capsys.readouterr().err.endswith("dropped [bold] rows\n")


class Log:
    """A terminal that writes a log with a line every hundredth of a second, and the clock its lines go by."""

    def __init__(self, **console):
        self.now = 1000.0
        self.file = io.StringIO()
        self.terminal = Terminal(interval=0.01)
        self.terminal.console = Console(
            file=self.file, get_time=lambda: self.now, **{"force_terminal": False, "width": 120, **console}
        )

    def lines(self):
        return self.file.getvalue().splitlines()

    def next_line(self, later=0.0):
        """The first line that was surely begun after the clock was set."""
        self.now += later
        wanted, deadline = len(self.lines()) + 2, time.monotonic() + 20
        while len(self.lines()) < wanted:
            assert time.monotonic() < deadline, "no line came"
            time.sleep(0.002)
        return self.lines()[wanted - 1]


class FullDisk(io.StringIO):
    def write(self, text):
        raise OSError("no space left")


def test_a_log_gets_lines_with_what_is_done_what_is_left_and_the_time_it_takes():
    log = Log()
    with log.terminal.working("round-0/student"), log.terminal.bar(80, "steps") as advance:
        advance(0)
        assert log.next_line(60) == f"{'round-0/student':<22} 0 of 80 steps, 60.0 s gone"
        log.now += 126
        advance(12)
        assert log.next_line() == f"{'round-0/student':<22} 12 of 80 steps, 3.1 min gone, about 17.6 min left"
        log.now += 186
        advance(56)
        assert log.next_line() == f"{'round-0/student':<22} 68 of 80 steps, 6.2 min gone, about 66.0 s left"
        advance(12)
        assert log.next_line() == f"{'round-0/student':<22} 80 of 80 steps, 6.2 min gone"


def test_the_time_left_grows_while_nothing_is_counted():
    log = Log()
    with log.terminal.working("queries"), log.terminal.bar(1200, "calls") as advance:
        advance(0)
        log.now += 60
        advance(600)
        assert log.next_line().endswith("600 of 1,200 calls, 60.0 s gone, about 60.0 s left")
        assert log.next_line(540).endswith("600 of 1,200 calls, 10.0 min gone, about 10.0 min left")


def test_work_of_an_earlier_run_which_is_counted_at_once_makes_no_rate():
    log = Log()
    with log.terminal.working("student"), log.terminal.bar(1000, "steps") as advance:
        assert log.next_line(30).endswith("0 of 1,000 steps, 30.0 s gone")
        advance(500)
        assert log.next_line(30).endswith("500 of 1,000 steps, 60.0 s gone")
        log.now += 70
        advance(10)
        assert log.next_line().endswith("510 of 1,000 steps, 2.2 min gone, about 81.7 min left")


def test_units_of_half_an_hour_have_a_rate():
    log = Log()
    with log.terminal.working("search"), log.terminal.bar(3, "blocks") as advance:
        for _ in range(2):
            log.now += 1800
            advance(1)
        assert log.next_line().endswith("2 of 3 blocks, 60.0 min gone, about 30.0 min left")


def test_a_log_says_that_a_step_without_a_bar_still_works():
    log = Log()
    with log.terminal.working("round-0/gate [1]"):
        assert log.next_line(120) == f"{'round-0/gate [1]':<22} still working, 2.0 min gone"
        with log.terminal.bar(30, "queries"):
            assert log.next_line().endswith("0 of 30 queries, 2.0 min gone")
        assert log.next_line(60) == f"{'round-0/gate [1]':<22} still working, 3.0 min gone"
    with log.terminal.working("next"):
        assert log.next_line() == f"{'next':<22} still working, 0.0 s gone"


def test_a_bar_within_a_bar_is_shown_until_it_ends_even_by_an_error():
    log = Log()
    with log.terminal.working("search"), log.terminal.bar(5, "sets") as advance:
        advance(1)
        with contextlib.suppress(RuntimeError), log.terminal.bar(7, "texts") as inner:
            inner(2)
            assert "2 of 7 texts" in log.next_line()
            raise RuntimeError("broken")
        assert "1 of 5 sets" in log.next_line()
    assert log.lines()[-1].endswith("5 sets; 7 texts")


def test_on_a_terminal_a_bar_within_a_bar_takes_its_place():
    log = Log(force_terminal=True, color_system=None)
    with log.terminal.working("search"), log.terminal.bar(5, "sets"):
        with log.terminal.bar(7, "texts") as inner:
            begun = len(log.file.getvalue())
            inner(2)
        before, found, _ = log.file.getvalue()[begun:].partition("2/7 texts")
    assert found
    assert "sets" not in before


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt, SystemExit])
def test_the_lines_end_with_the_step_however_it_ends(error):
    log, before = Log(), set(threading.enumerate())
    with contextlib.suppress(error or ()), log.terminal.working("mining"):
        log.next_line()
        if error:
            raise error
    ended = log.lines()
    # one of an earlier test may end meanwhile
    assert set(threading.enumerate()) <= before
    assert ("still working" in ended[-1]) == (error is not None)
    assert all("still working" in line for line in ended[:-1])
    time.sleep(0.05)
    assert log.lines() == ended


def test_the_first_line_comes_after_a_minute_and_a_step_that_ends_before_waits_for_none():
    log, began = Log(), time.monotonic()
    log.terminal.interval = Terminal().interval
    with log.terminal.working("mining"), log.terminal.bar(3, "queries") as advance:
        advance(3)
    assert log.terminal.interval == 60
    assert time.monotonic() - began < 30
    assert len(log.lines()) == 1


def test_a_live_terminal_gets_no_lines_and_one_that_cannot_redraw_does():
    live = Log(force_terminal=True, force_interactive=True)
    with live.terminal.working("mining"):
        time.sleep(0.05)
    assert "still working" not in live.file.getvalue()
    dumb = Log(force_terminal=True, force_interactive=False)
    with dumb.terminal.working("mining"):
        assert "still working" in dumb.next_line()


def test_lines_go_on_after_a_bar_that_ends_while_one_is_written_and_after_a_full_disk():
    writing, ended = threading.Event(), threading.Event()
    log = Log()
    clock = log.terminal.console.get_time

    def slow_clock():
        if threading.current_thread().name == "progress":
            writing.set()
            ended.wait(20)
        return clock()

    log.terminal.console.get_time = slow_clock
    with log.terminal.working("queries"):
        with log.terminal.bar(3, "calls") as advance:
            advance(1)
            assert writing.wait(20)
        ended.set()
        assert "still working" in log.next_line()
        log.terminal.console.file = FullDisk()
        time.sleep(0.1)
        log.terminal.console.file = log.file
        assert "still working" in log.next_line()


def test_counting_from_many_threads_while_bars_come_and_go_loses_nothing():
    log = Log()
    log.terminal.interval = 1e-5
    with log.terminal.working("queries"):
        for _ in range(200):
            with log.terminal.bar(40, "calls") as advance:
                workers = [threading.Thread(target=lambda: [advance(1) for _ in range(10)]) for _ in range(4)]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()
                assert log.terminal._bars.tasks[-1].completed == 40
        log.next_line()
    assert log.lines()[-1].endswith("8,000 calls")


PRELUDE = """
import os, signal, sys, time
from denizen.engine.progress import Terminal
terminal = Terminal(interval=0.2)
"""


def start(code, **streams):
    plain = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "TTY_INTERACTIVE")}
    return subprocess.Popen([sys.executable, "-c", PRELUDE + code], env=plain, text=True, **streams)


def run_with_log(tmp_path, code, stop=None):
    """Runs code with standard error in a file; sends a signal after the second line of it, if asked."""
    path = tmp_path / "log"
    with path.open("w") as log:
        process = start(code, stdout=subprocess.PIPE, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while stop and path.read_text().count("\n") < 2:
                assert time.monotonic() < deadline, "no line came"
                time.sleep(0.02)
            if stop:
                process.send_signal(stop)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, out, path.read_text().splitlines()


def test_a_run_whose_log_is_a_file_tells_how_far_it_is_with_and_without_counts(tmp_path):
    code = """
with terminal.working("student"), terminal.bar(10, "steps") as advance:
    for _ in range(10):
        time.sleep(0.1)
        advance(1)
with terminal.working("gate"):
    time.sleep(1)
print("done")
"""
    status, out, lines = run_with_log(tmp_path, code)
    assert (status, out) == (0, "done\n")
    student = [line for line in lines if line.startswith("student")]
    gate = [line for line in lines if line.startswith("gate")]
    assert lines == student + gate
    for part in (student, gate):
        gone = [float(re.search(r"([\d.]+) s gone", line)[1]) for line in part[:-1]]
        assert len(gone) >= 2 and gone[0] >= 0.2
        assert all(later - earlier > 0.09 for earlier, later in itertools.pairwise([0, *gone]))
    assert student[-1].endswith(" s  10 steps")
    assert all(" of 10 steps, " in line for line in student[:-1])
    assert "left" in student[-2]
    assert all("still working, " in line for line in gate[:-1])


@pytest.mark.parametrize("ending, status", [(signal.SIGINT, 130), (signal.SIGTERM, -15), (signal.SIGKILL, -9)])
def test_a_run_that_is_stopped_ends_at_once_and_its_log_with_whole_lines(tmp_path, ending, status):
    # as from a terminal: a shell without job control lets what it puts into the background ignore SIGINT
    code = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with terminal.working("gate"):
        time.sleep(60)
except KeyboardInterrupt:
    terminal.say("stopped")
    time.sleep(0.6)
    sys.exit(130)
"""
    began = time.monotonic()
    found, _, lines = run_with_log(tmp_path, code, stop=ending)
    assert found == status
    assert time.monotonic() - began < 50
    if ending == signal.SIGINT:
        assert lines.pop() == "stopped"
    assert all(line.startswith("gate  ") and line.endswith(" s gone") for line in lines)


def test_a_thread_in_a_step_that_never_ends_keeps_no_process_alive(tmp_path):
    code = """
step = terminal.working("gate")
step.__enter__()
time.sleep(0.5)
"""
    status, _, lines = run_with_log(tmp_path, code)
    assert status == 0
    assert lines and all("still working" in line for line in lines)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_writes_no_lines_of_its_parents_step_and_can_have_steps_of_its_own(tmp_path):
    code = f"""
with terminal.working("parent"):
    time.sleep(0.3)
    child = os.fork()
    if child == 0:
        os.dup2(os.open({str(tmp_path / "child")!r}, os.O_WRONLY | os.O_CREAT), 2)
        time.sleep(0.5)
        with terminal.working("own"), terminal.bar(3, "texts"):
            time.sleep(0.5)
        sys.exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    status, out, lines = run_with_log(tmp_path, code)
    assert (status, out) == (0, "7\n")
    assert all(line.startswith("parent  ") for line in lines)
    assert len([line for line in lines if "still working" in line]) == len(lines) - 1 >= 4
    own = (tmp_path / "child").read_text().splitlines()
    assert all(line.startswith("own  ") for line in own)
    assert len([line for line in own if "0 of 3 texts" in line]) == len(own) - 1 >= 1


def test_a_log_whose_reader_is_gone_takes_no_results_from_standard_output():
    code = """
with terminal.working("gate"):
    sys.stdin.readline()
    time.sleep(0.6)
    print("result", flush=True)
    os._exit(0)
"""
    with start(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stderr.close()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "result\n"
        assert process.wait(60) == 0
