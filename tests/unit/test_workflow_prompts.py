import pytest
from fact_check.claims import LABELS, InputError
from fact_check.prompts import PROMPT_NAMES, make_prompt

CLAIM = {"claim": "{x} is 100 % {", "evidence": "}{"}


@pytest.mark.parametrize("name", PROMPT_NAMES)
def test_a_filled_template_ends_with_the_claim_as_it_is(name):
    template = make_prompt(name, LABELS).template
    filled = [message["content"].format(**CLAIM) for message in template]
    assert CLAIM["claim"] in filled[-1]
    assert (CLAIM["evidence"] in filled[-1]) == (name != "closed-book")
    assert template[-1]["role"] == "user"


@pytest.mark.parametrize("name", PROMPT_NAMES)
def test_every_answer_is_read_as_its_label(name):
    prompt = make_prompt(name, LABELS)
    assert tuple(prompt.answers.values()) == LABELS
    for answer, label in prompt.answers.items():
        assert prompt.read_answer(answer) == label
        assert prompt.read_answer(f" {answer.lower()}.\n") == label


@pytest.mark.parametrize("text", ["", "perhaps", "Yes or no", "Nothing"])
def test_an_answer_that_names_no_label_or_several_does_not_parse(text):
    assert make_prompt("free-text", LABELS).read_answer(text) is None


def test_a_prompt_asks_for_no_label_that_the_claims_lack():
    prompt = make_prompt("few-shot", LABELS[:2])
    assert set(prompt.answers.values()) == set(LABELS[:2])
    assert "Maybe" not in str(prompt.template)


def test_only_prompts_for_a_free_answer_leave_the_engine_free():
    assert make_prompt("free-text", LABELS).choices is None
    assert make_prompt("few-shot", LABELS).choices == ["Yes", "No", "Maybe"]


def test_fingerprints_tell_prompts_apart():
    prompts = [
        make_prompt(name, labels) for name in PROMPT_NAMES for labels in (LABELS, LABELS[:2])
    ]
    assert len({prompt.fingerprint for prompt in prompts}) == len(prompts)
    assert prompts[0].fingerprint == make_prompt(PROMPT_NAMES[0], LABELS).fingerprint


def test_an_unknown_prompt_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"Unknown prompt 'magic'.*closed-book"):
        make_prompt("magic", LABELS)
