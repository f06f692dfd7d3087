import json

import pytest
from fact_check.claims import LABELS, Claim, InputError
from fact_check.models import find_model
from fact_check.prompts import make_prompt
from fact_check.results import read_results
from fact_check.sweep import make_pairs

CLAIMS = [Claim(id=f"c{n}", claim=f"{n}", evidence="", label="SUPPORTS") for n in range(3)]


@pytest.fixture
def pair(tmp_path):
    (pair,) = make_pairs([find_model("smollm2-135m")], [make_prompt("few-shot", LABELS)], tmp_path)
    return pair


def row(number, text="Yes", error=None):
    result = {"text": text, "error": error, "seconds": 0.5}
    return {"index": number, "key": CLAIMS[number].key, "result": result}


def write(pair, *rows):
    lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in rows]
    pair.path.write_bytes(b"".join(line + b"\n" for line in lines))


def test_a_pair_without_a_file_has_no_results(pair):
    assert read_results(pair, CLAIMS) == []


def test_texts_are_read_as_labels_in_the_order_of_the_claims(pair):
    write(pair, row(1, text="what?"), row(0), row(2, text="", error="too long"))
    results = read_results(pair, CLAIMS)
    assert [each.answer for each in results] == ["SUPPORTS", None, None]
    assert (results[0].model, results[0].prompt) == ("smollm2-135m", "few-shot")
    assert (results[0].label, results[0].seconds) == ("SUPPORTS", 0.5)


def test_claims_that_failed_or_are_not_asked_for_have_no_result(pair):
    error = {"index": 0, "key": CLAIMS[0].key, "error": {"type": "OSError", "message": "gone"}}
    write(pair, error, row(1), row(2))
    assert len(read_results(pair, CLAIMS[:2])) == 1


def test_the_later_line_of_a_claim_counts(pair):
    write(pair, row(0, text="No"), row(0, text="Yes"))
    assert [each.answer for each in read_results(pair, CLAIMS)] == ["SUPPORTS"]


def test_half_a_last_line_is_no_result(pair):
    write(pair, row(0), row(1))
    pair.path.write_bytes(pair.path.read_bytes()[:-10])
    assert len(read_results(pair, CLAIMS)) == 1


def test_an_edited_claim_is_not_done(pair):
    write(pair, row(0))
    edited = Claim(id="c0", claim="edited", evidence="", label="SUPPORTS")
    assert read_results(pair, [edited]) == []


@pytest.mark.parametrize("line", [b"{broken", b'{"result": {}}', b"[]", b"7", b"\xff"])
def test_a_broken_line_is_refused_with_its_place(pair, line):
    write(pair, row(0), line, row(1))
    with pytest.raises(InputError, match=r"\.jsonl:2: .*Delete that line"):
        read_results(pair, CLAIMS)
