"""The generated claims are looked up again, from the other side: from the value to its subject."""

import calendar
import re
from collections import Counter

import pytest

pycountry = pytest.importorskip("pycountry", reason="pip install pycountry")
periodictable = pytest.importorskip("periodictable", reason="pip install periodictable")

from fact_check.reference_claims import reference_claims  # noqa: E402 - after the skips

PATTERNS = {
    "element-symbol": [
        r"The chemical symbol of (?P<subject>.+) is (?P<value>.+)\.",
        r"(?P<subject>.+) is written as (?P<value>.+) in chemical formulas\.",
        r"Chemists abbreviate (?P<subject>.+) as (?P<value>.+)\.",
        r"In the periodic table, the element (?P<subject>.+) has the symbol (?P<value>.+)\.",
        r"(?P<subject>.+) is a chemical element; its symbol is (?P<value>.+)\.",
    ],
    "element-number": [
        r"The atomic number of (?P<subject>.+) is (?P<value>\d+)\.",
        r"(?P<subject>.+) is element number (?P<value>\d+) of the periodic table\.",
        r"The nucleus of every atom of (?P<subject>.+) holds (?P<value>\d+) protons\.",
        r"(?P<subject>.+) is the chemical element with atomic number (?P<value>\d+)\.",
        r"The periodic table lists (?P<subject>.+) under atomic number (?P<value>\d+)\.",
    ],
    "element-order": [
        r"The atomic number of (?P<subject>.+) is (?P<value>\w+) than that of (?P<other>.+)\.",
        r"(?P<subject>.+) has a (?P<value>\w+) atomic number than (?P<other>.+)\.",
        r"Compared with (?P<other>.+), (?P<subject>.+) has a (?P<value>\w+) atomic number\.",
    ],
    "element-mass": [
        r"On average, an atom of (?P<subject>.+) is (?P<value>\w+) than an atom of (?P<other>.+)\.",
        r"Atoms of (?P<subject>.+) are (?P<value>\w+) than atoms of (?P<other>.+)\.",
        r"Compared with atoms of (?P<other>.+), atoms of (?P<subject>.+) are (?P<value>\w+)\.",
    ],
    "country-alpha2": [
        r"The two-letter ISO 3166 code of (?P<subject>.+) is (?P<value>..)\.",
        r"(?P<value>..) is the two-letter ISO code for (?P<subject>.+)\.",
        r"ISO 3166 abbreviates (?P<subject>.+) with the two letters (?P<value>..)\.",
        r"In ISO 3166-1, the alpha-2 code of (?P<subject>.+) is (?P<value>..)\.",
        r"(?P<subject>.+) has the two-letter code (?P<value>..) in ISO 3166-1\.",
    ],
    "country-alpha3": [
        r"The three-letter ISO 3166 code of (?P<subject>.+) is (?P<value>...)\.",
        r"(?P<value>...) is the three-letter ISO code for (?P<subject>.+)\.",
        r"ISO 3166 abbreviates (?P<subject>.+) with the three letters (?P<value>...)\.",
        r"In ISO 3166-1, the alpha-3 code of (?P<subject>.+) is (?P<value>...)\.",
        r"(?P<subject>.+) has the three-letter code (?P<value>...) in ISO 3166-1\.",
    ],
    "region": [
        r"In ISO 3166-2, (?P<subject>.+) is a subdivision of (?P<value>.+)\.",
        r"ISO 3166-2 lists (?P<subject>.+) under (?P<value>.+)\.",
        r"ISO 3166-2 counts the region (?P<subject>.+) among those of (?P<value>.+)\.",
        r"According to ISO 3166-2, (?P<subject>.+) is one of the subdivisions of (?P<value>.+)\.",
        r"Among the subdivisions that (?P<value>.+) has in ISO 3166-2 is (?P<subject>.+)\.",
    ],
    "language": [
        r"The two-letter ISO 639 code of the (?P<subject>.+) language is (?P<value>..)\.",
        r"In ISO 639, (?P<value>..) is the two-letter code of (?P<subject>.+)\.",
        r"Web pages in the (?P<subject>.+) language are marked with the code (?P<value>..)\.",
        r"ISO 639-1 gives the (?P<subject>.+) language the code (?P<value>..)\.",
        r"The ISO 639-1 code (?P<value>..) stands for the (?P<subject>.+) language\.",
    ],
    "currency": [
        r"The ISO 4217 code of the currency (?P<subject>.+) is (?P<value>...)\.",
        r"(?P<value>...) is the three-letter code of the currency (?P<subject>.+)\.",
        r"Banks abbreviate the currency (?P<subject>.+) as (?P<value>...)\.",
        r"In ISO 4217, the currency (?P<subject>.+) has the code (?P<value>...)\.",
        r"The currency code (?P<value>...) stands for the (?P<subject>.+) in ISO 4217\.",
    ],
    "weekday": [
        r"(?P<subject>\d+ \w+ \d+) is a (?P<value>\w+)\.",
        r"The date (?P<subject>.+) falls on a (?P<value>.+)\.",
        r"In the calendar, (?P<subject>.+) is marked as a (?P<value>.+)\.",
        r"In the Gregorian calendar, the weekday of (?P<subject>.+) is (?P<value>.+)\.",
        r"The calendar shows (?P<value>.+) for (?P<subject>.+)\.",
    ],
}
NUMBERS = {"element-order": "number", "element-mass": "mass"}


@pytest.fixture(scope="module")
def claims():
    return reference_claims(seed=5)


def topic_of(claim):
    return claim.id.rpartition("-")[0]


def parse(topic, text):
    matches = [match for pattern in PATTERNS[topic] if (match := re.fullmatch(pattern, text))]
    assert matches, f"no pattern for {text!r}"
    return matches[0].groupdict()


def element(name):
    return periodictable.elements.name(name.lower())


def country_names(country):
    return {country.name, getattr(country, "common_name", country.name)}


def weekday(date):
    day, month, year = date.split()
    number = calendar.weekday(int(year), list(calendar.month_name).index(month), int(day))
    return calendar.day_name[number]


def regions(country):
    code = next(each.alpha_2 for each in pycountry.countries if country in country_names(each))
    return {each.name for each in pycountry.subdivisions.get(country_code=code)}


TRUTH = {
    "element-symbol": lambda s, v: periodictable.elements.symbol(v).name == s.lower(),
    "element-number": lambda s, v: periodictable.elements[int(v)].name == s.lower(),
    "element-order": lambda s, v, o: (v == "higher") == (element(s).number > element(o).number),
    "element-mass": lambda s, v, o: (v == "heavier") == (element(s).mass > element(o).mass),
    "country-alpha2": lambda s, v: s in country_names(pycountry.countries.get(alpha_2=v)),
    "country-alpha3": lambda s, v: s in country_names(pycountry.countries.get(alpha_3=v)),
    "region": lambda s, v: s in regions(v),
    "language": lambda s, v: pycountry.languages.get(alpha_2=v).name == s,
    "currency": lambda s, v: pycountry.currencies.get(alpha_3=v).name == s,
    "weekday": lambda s, v: weekday(s) == v,
}


def is_true(topic, subject, value, **other):
    return TRUTH[topic](subject, value, *other.values())


def test_there_are_2000_distinct_claims_and_as_many_of_each_label(claims):
    assert len({claim.claim for claim in claims}) == len(claims) >= 2000
    assert len({claim.id for claim in claims}) == len(claims)
    assert len(set(Counter((topic_of(claim), claim.label) for claim in claims).values())) == 1


def test_any_first_part_is_balanced(claims):
    assert set(Counter(claim.label for claim in claims[:60]).values()) == {20}


def test_true_claims_are_true_and_false_claims_are_false(claims):
    for claim in claims:
        statement = parse(topic_of(claim), claim.claim)
        if claim.label == "SUPPORTS":
            assert is_true(topic_of(claim), **statement), claim
        elif claim.label == "REFUTES":
            assert not is_true(topic_of(claim), **statement), claim


def test_unprovable_claims_are_as_often_true_as_false(claims):
    unprovable = [claim for claim in claims if claim.label == "NOT ENOUGH INFO"]
    num_true = sum(is_true(topic_of(c), **parse(topic_of(c), c.claim)) for c in unprovable)
    assert 0.4 < num_true / len(unprovable) < 0.6


def test_evidence_is_true_and_about_the_claim_unless_there_is_not_enough(claims):
    for claim in claims:
        topic = topic_of(claim)
        if topic in NUMBERS:
            continue
        statement, shown = parse(topic, claim.claim), parse(topic, claim.evidence)
        assert is_true(topic, **shown), claim
        is_related = shown["subject"].lower() == statement["subject"].lower()
        assert is_related == (claim.label != "NOT ENOUGH INFO"), claim


def test_evidence_of_comparisons_has_the_right_numbers(claims):
    for claim in claims:
        if (attribute := NUMBERS.get(topic_of(claim))) is None:
            continue
        statement = parse(topic_of(claim), claim.claim)
        names = [
            e.name
            for e in periodictable.elements
            if re.search(rf"\b{e.name}\b", claim.evidence, re.I)
        ]
        compared = {statement["subject"].lower(), statement["other"].lower()}
        assert bool(compared & set(names)) == (claim.label != "NOT ENOUGH INFO"), claim
        numbers = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", claim.evidence)}
        assert numbers == {round(getattr(element(name), attribute), 2) for name in names}, claim


def test_no_evidence_about_another_subject_refutes_a_claim_by_using_its_value_up(claims):
    exclusive = set(PATTERNS) - {"element-order", "element-mass", "region", "weekday"}
    for claim in claims:
        topic = topic_of(claim)
        if topic in exclusive and claim.label == "NOT ENOUGH INFO":
            claimed, shown = parse(topic, claim.claim), parse(topic, claim.evidence)
            assert claimed["value"] != shown["value"], claim


def test_the_seed_decides(claims):
    assert reference_claims(5) == claims
    assert {each.claim for each in reference_claims(6)} != {each.claim for each in claims}
