from __future__ import annotations

import pytest

from parsl_pcm.arguments import check_seconds, wanted_accelerators


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_seconds_that_cannot_be_are_refused_by_name(value: float) -> None:
    with pytest.raises(ValueError, match="notice_s"):
        check_seconds("notice_s", value)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(0, None), ((), None), ([], None), (2, 2), (["1", "GPU-a"], ("1", "GPU-a"))],
)
def test_number_of_devices_stays_a_number(given: object, wanted: object) -> None:
    assert wanted_accelerators(given) == wanted  # type: ignore[arg-type]
