import io
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


def test_the_line_of_a_stage_lists_its_own_work_and_not_that_of_the_stage_before(capsys):
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


def test_a_stage_that_fails_gets_no_finished_line(capsys):
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


def test_on_a_terminal_the_bar_shows_stage_count_and_unit_while_it_works():
    terminal = Terminal()
    drawn = io.StringIO()
    terminal.console = Console(file=drawn, force_terminal=True, width=120)
    with terminal.working("mining"), terminal.bar(30, "queries") as advance:
        advance(12)
        advance(6)
    bar = drawn.getvalue()
    assert "18/30" in bar
    assert "queries" in bar.partition("18/30")[2]


def test_on_a_terminal_a_stage_without_a_count_is_seen_working():
    terminal = Terminal()
    drawn = io.StringIO()
    terminal.console = Console(file=drawn, force_terminal=True, width=120)
    with pytest.raises(RuntimeError, match="broken"), terminal.working("corpus"):
        raise RuntimeError("broken")
    assert "corpus" in drawn.getvalue()


def test_on_a_terminal_the_parts_of_a_stage_have_bars_of_their_own_and_only_the_line_stays():
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
