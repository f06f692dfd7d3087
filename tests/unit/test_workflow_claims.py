import json

import pytest
from fact_check.claims import Claim, InputError, labels_of, read_claims

GOOD = {"id": "a", "claim": "Gold is a metal.", "evidence": "Gold is one.", "label": "SUPPORTS"}


def write(path, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_claims_are_read_in_the_order_of_the_file(tmp_path):
    rows = [GOOD | {"id": "b"}, GOOD | {"id": "a", "source": "me", "license": "MIT"}]
    claims = read_claims(write(tmp_path / "c.jsonl", *rows))
    assert [claim.id for claim in claims] == ["b", "a"]
    assert claims[1].source == "me"


def test_blank_lines_byte_order_mark_and_unicode_line_separators_are_no_trouble(tmp_path):
    path = tmp_path / "c.jsonl"
    row = json.dumps(GOOD | {"claim": "one\u2028two\x85three"}, ensure_ascii=False)
    path.write_text(f"\ufeff{row}\r\n\r\n", encoding="utf-8")
    assert read_claims(path)[0].claim == "one\u2028two\x85three"


@pytest.mark.parametrize(
    ("second_line", "problem"),
    [
        ({key: GOOD[key] for key in ("id", "claim", "label")}, "'evidence' is missing"),
        (GOOD | {"id": "b", "label": "TRUE"}, "unknown label 'TRUE'"),
        (GOOD | {"id": "b", "claim": 3}, "claim is 3, not a string"),
        (GOOD | {"id": "b", "claim": "  "}, "claim is empty"),
        (GOOD, "id 'a' is already used in line 1"),
        ('{"id": "b", "claim"', "no valid JSON"),
        ('["b"]', "a list, not an object"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(tmp_path, second_line, problem):
    path = write(tmp_path / "c.jsonl", GOOD, second_line)
    with pytest.raises(InputError) as caught:
        read_claims(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"), [(b"\n", "holds no claim"), (b"\xff\xfe\n", "not UTF-8")]
)
def test_a_file_without_claims_is_refused(tmp_path, content, problem):
    path = tmp_path / "c.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=problem):
        read_claims(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_claims(tmp_path / "none.jsonl")


def test_empty_evidence_is_allowed(tmp_path):
    assert read_claims(write(tmp_path / "c.jsonl", GOOD | {"evidence": ""}))[0].evidence == ""


@pytest.mark.parametrize("field", ["id", "claim", "evidence"])
def test_an_edited_claim_has_another_key(field):
    assert Claim(**GOOD).key != Claim(**(GOOD | {field: "edited"})).key


def test_labels_are_those_that_occur_in_a_fixed_order():
    claims = [Claim(**(GOOD | {"label": label})) for label in ("NOT ENOUGH INFO", "SUPPORTS")]
    assert labels_of(claims) == ("SUPPORTS", "NOT ENOUGH INFO")
