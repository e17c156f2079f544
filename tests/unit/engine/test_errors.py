import pytest

from denizen.engine.errors import ChangedError, DenizenError, InputError, LeakError


@pytest.mark.parametrize("error, code", [(DenizenError, 1), (InputError, 2), (ChangedError, 2), (LeakError, 3)])
def test_each_error_has_its_exit_code(error, code):
    assert error.exit_code == code
    assert issubclass(error, DenizenError)


def test_a_changed_stage_is_a_wrong_input_but_a_leak_is_not():
    assert issubclass(ChangedError, InputError)
    assert not issubclass(LeakError, InputError)
