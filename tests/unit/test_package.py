"""``import parsl_pcm``: what it gives."""

import pytest

import parsl_pcm


def test_everything_that_is_exported_is_there():
    for name in parsl_pcm.__all__:
        assert getattr(parsl_pcm, name) is not None
    assert set(parsl_pcm.__all__) <= set(dir(parsl_pcm))


def test_errors_are_imported_when_asked_for():
    from parsl_pcm.errors import PCMError

    assert parsl_pcm.PCMError is PCMError


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'Executor'"):
        _ = parsl_pcm.Executor
