"""JSON as schedulers write it."""

from __future__ import annotations

import pytest

from parsl_pcm.provider.schedulers.loose_json import as_dict, as_int, as_list, as_text, loads
from parsl_pcm.provider.schedulers.observations import LookError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('warning: old config\n{"a": 1}\nmore words', {"a": 1}),
        ('{"a":005,"b":.5,"c":-00,"d":123.}', {"a": "005", "b": ".5", "c": "-00", "d": "123."}),
        (r'{"a":"it\'s\,","b":"C:\dir"}', {"a": r"it\'s\,", "b": r"C:\dir"}),
        ('{"a":"one\ntwo\tthree"}', {"a": "one\ntwo\tthree"}),
        ('{"a":_default,"b":1}', {"a": "_default", "b": 1}),
        ('{"a":[1,2,],"b":{"c":"x,]",},}', {"a": [1, 2], "b": {"c": "x,]"}}),
        (r'{"a":"\u00e4\n\"","b":01}', {"a": 'ä\n"', "b": "01"}),
        ("[]", []),
        ("", None),
        ("\n", None),
    ],
)
def test_what_can_be_read_is_read(text: str, value: object) -> None:
    assert loads(text, "qstat") == value


@pytest.mark.parametrize(
    "text", ["no JSON", '{"a": 1', '{"a": "b"c"}', "[" * 100_000, '{"a" 1}', '{"a":' + "9" * 5000]
)
def test_what_cannot_be_read_is_a_look_error(text: str) -> None:
    with pytest.raises(LookError, match="qstat"):
        loads(text, "qstat")


def test_values_of_the_wrong_kind_are_nothing() -> None:
    assert as_dict([1]) == {}
    assert as_list({"a": 1}) == []
    assert [as_int(each) for each in ("12", " 3 ", 4, 5.0)] == [12, 3, 4, 5]
    strange = ("x", "1.5", None, [], float("nan"), float("inf"), "9" * 5000)
    assert {as_int(each) for each in strange} == {None}
    assert [as_text(each) for each in ("a", 1, None, [])] == ["a", "1", "", ""]
