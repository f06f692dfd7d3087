from __future__ import annotations

import inspect
import pickle

import pytest
from parsl.errors import ParslError

from parsl_pcm import errors
from parsl_pcm.errors import ContextSetupFailed, PCMError, RemoteError, error_from_failure
from parsl_pcm.wire.messages import Failure, FailureKind

ALL_ERRORS = [
    error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, PCMError)
]


@pytest.mark.parametrize("error_class", ALL_ERRORS)
def test_errors_survive_pickle_with_all_that_they_say(error_class: type[PCMError]) -> None:
    error = error_class("what was wrong")
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is error_class
    assert str(restored) == str(error) == "what was wrong"
    assert isinstance(restored, ParslError)


def test_every_error_stands_in_the_tree_of_the_module() -> None:
    assert len(ALL_ERRORS) > 5
    for error_class in ALL_ERRORS:
        assert f"+-- {error_class.__name__}" in (errors.__doc__ or ""), error_class


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_of_failure_has_its_error(kind: FailureKind) -> None:
    failure = Failure(kind=kind, message="m", remote_traceback="t", log_tail="l")
    error = error_from_failure(failure)
    assert (error.message, error.remote_traceback, error.log_tail) == ("m", "t", "l")


def test_what_happened_on_the_node_is_part_of_the_text() -> None:
    text = str(ContextSetupFailed("it failed", "Traceback: there", "last words"))
    assert text == (
        "it failed\n\nRemote traceback:\nTraceback: there"
        "\n\nLast lines of the host's log:\nlast words"
    )


def test_kinds_map_to_classes_that_a_user_can_tell_apart() -> None:
    assert type(error_from_failure(Failure(kind=FailureKind.RAISED, message=""))) is RemoteError
    classes = {type(error_from_failure(Failure(kind=kind, message=""))) for kind in FailureKind}
    assert len(classes) == len(FailureKind)
