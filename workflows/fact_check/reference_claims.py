"""Claims made at run time from reference data: facts whose truth is known, and their opposites.

A topic lists facts (a subject and its one true value) and wordings. A claim states a value; its
evidence states the true value of the same subject (SUPPORTS, REFUTES) or of another subject of
the same topic (NOT ENOUGH INFO).
"""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random

from fact_check.claims import LABELS, NOT_ENOUGH_INFO, SUPPORTS, Claim, InputError

CLAIMS_PER_TOPIC_AND_LABEL = 72
"""Ten topics and three labels: 2,160 claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Words that fill the wordings of a topic, and the only value that makes them true."""

    words: Mapping[str, str]
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """Facts of one kind and how to say them; ``{value}`` and the words stand in the wordings."""

    name: str
    source: str
    facts: Sequence[Fact]
    claims: tuple[str, ...]
    evidence: tuple[str, ...]


def reference_claims(seed: int) -> list[Claim]:
    """Return distinct claims, as many of each label and topic; the same for the same seed.

    Neighbours have different labels, so that any first part of the list is balanced too.

    Raises
    ------
    InputError
        A package with reference data is not installed.
    """
    by_label: dict[str, list[Claim]] = {label: [] for label in LABELS}
    for topic in _topics(seed):
        for claim in _topic_claims(topic, Random(f"{seed} {topic.name}")):
            by_label[claim.label].append(claim)
    for label, claims in by_label.items():
        Random(f"{seed} {label}").shuffle(claims)
    return list(chain.from_iterable(zip(*by_label.values(), strict=True)))


def _topic_claims(topic: Topic, rng: Random) -> Iterator[Claim]:
    used: set[str] = set()
    for label in LABELS * CLAIMS_PER_TOPIC_AND_LABEL:
        claim = _make_claim(topic, label, rng)
        while claim.claim in used:
            claim = _make_claim(topic, label, rng)
        used.add(claim.claim)
        yield claim


def _make_claim(topic: Topic, label: str, rng: Random) -> Claim:
    fact = rng.choice(topic.facts)
    is_true = label == SUPPORTS or (label == NOT_ENOUGH_INFO and rng.random() < 0.5)
    value = fact.value if is_true else _wrong_value(topic, fact, rng)
    shown = _unrelated_fact(topic, fact, value, rng) if label == NOT_ENOUGH_INFO else fact
    claim = _say(rng.choice(topic.claims), fact, value)
    evidence = _say(rng.choice(topic.evidence), shown, shown.value)
    digest = hashlib.sha256(f"{claim}\0{evidence}".encode()).hexdigest()[:10]
    return Claim(
        id=f"{topic.name}-{digest}",
        claim=claim,
        evidence=evidence,
        label=label,
        source=topic.source,
    )


def _wrong_value(topic: Topic, fact: Fact, rng: Random) -> str:
    while (value := rng.choice(topic.facts).value) == fact.value:
        continue
    return value


def _unrelated_fact(topic: Topic, fact: Fact, claimed: str, rng: Random) -> Fact:
    """Return a fact that shares no subject with ``fact`` and cannot refute ``claimed``.

    Where no two subjects share a value (a symbol, a code), evidence that another subject has the
    claimed value would refute the claim.
    """
    is_exclusive = len({each.value for each in topic.facts}) == len(topic.facts)
    while True:
        other = rng.choice(topic.facts)
        is_related = bool(set(other.words.values()) & set(fact.words.values()))
        if not is_related and not (is_exclusive and other.value == claimed):
            return other


def _say(wording: str, fact: Fact, value: str) -> str:
    text = wording.format(value=value, **fact.words)
    return text[0].upper() + text[1:]


def _topics(seed: int) -> Iterator[Topic]:
    try:
        yield from _element_topics(Random(f"{seed} pairs"))
        yield from _country_topics()
        yield from _name_topics()
    except ModuleNotFoundError as error:
        raise InputError(
            f"The claims are made from the package {error.name}, which is not installed. "
            "Run: pip install pycountry periodictable, or give a file of your own: --claims FILE."
        ) from error
    yield _weekday_topic(Random(f"{seed} dates"))


def _element_topics(rng: Random) -> Iterator[Topic]:
    import periodictable

    elements = [element for element in periodictable.elements if element.number > 0]
    source = f"periodictable {periodictable.__version__}"
    yield Topic(
        name="element-symbol",
        source=source,
        facts=[Fact(words={"element": e.name}, value=e.symbol) for e in elements],
        claims=(
            "The chemical symbol of {element} is {value}.",
            "{element} is written as {value} in chemical formulas.",
            "Chemists abbreviate {element} as {value}.",
        ),
        evidence=(
            "In the periodic table, the element {element} has the symbol {value}.",
            "{element} is a chemical element; its symbol is {value}.",
        ),
    )
    yield Topic(
        name="element-number",
        source=source,
        facts=[Fact(words={"element": e.name}, value=str(e.number)) for e in elements],
        claims=(
            "The atomic number of {element} is {value}.",
            "{element} is element number {value} of the periodic table.",
            "The nucleus of every atom of {element} holds {value} protons.",
        ),
        evidence=(
            "{element} is the chemical element with atomic number {value}.",
            "The periodic table lists {element} under atomic number {value}.",
        ),
    )
    pairs = [rng.sample(elements, 2) for _ in range(600)]
    yield Topic(
        name="element-order",
        source=source,
        facts=[_order_fact(first, second) for first, second in pairs],
        claims=(
            "The atomic number of {first} is {value} than that of {second}.",
            "{first} has a {value} atomic number than {second}.",
            "Compared with {second}, {first} has a {value} atomic number.",
        ),
        evidence=(
            "{first} has atomic number {first_number}, {second} has atomic number {second_number}.",
            "The atomic numbers of {first} and {second} are {first_number} and {second_number}.",
        ),
    )
    yield Topic(
        name="element-mass",
        source=source,
        # Atomic masses of heavy elements are those of one isotope: compare clear cases only.
        facts=[_mass_fact(a, b) for a, b in pairs if abs(a.mass - b.mass) > 0.05 * a.mass],
        claims=(
            "On average, an atom of {first} is {value} than an atom of {second}.",
            "Atoms of {first} are {value} than atoms of {second}.",
            "Compared with atoms of {second}, atoms of {first} are {value}.",
        ),
        evidence=(
            "The atomic mass of {first} is {first_mass} u; that of {second} is {second_mass} u.",
            "An atom of {first} has a mass of {first_mass} u, an atom of {second} {second_mass} u.",
        ),
    )


# ``first`` and ``second`` are elements of periodictable, which has no types.
def _order_fact(first, second) -> Fact:  # type: ignore[no-untyped-def]
    words = {"first": first.name, "second": second.name}
    numbers = {"first_number": str(first.number), "second_number": str(second.number)}
    return Fact(words=words | numbers, value="higher" if first.number > second.number else "lower")


def _mass_fact(first, second) -> Fact:  # type: ignore[no-untyped-def]
    words = {"first": first.name, "second": second.name}
    masses = {"first_mass": f"{first.mass:.2f}", "second_mass": f"{second.mass:.2f}"}
    return Fact(words=words | masses, value="heavier" if first.mass > second.mass else "lighter")


def _country_topics() -> Iterator[Topic]:
    import pycountry

    source = f"pycountry {pycountry.__version__}"
    names = {c.alpha_2: getattr(c, "common_name", c.name) for c in pycountry.countries}
    countries = [c for c in pycountry.countries if _is_plain(names[c.alpha_2])]
    yield Topic(
        name="country-alpha2",
        source=source,
        facts=[Fact(words={"country": names[c.alpha_2]}, value=c.alpha_2) for c in countries],
        claims=(
            "The two-letter ISO 3166 code of {country} is {value}.",
            "{value} is the two-letter ISO code for {country}.",
            "ISO 3166 abbreviates {country} with the two letters {value}.",
        ),
        evidence=(
            "In ISO 3166-1, the alpha-2 code of {country} is {value}.",
            "{country} has the two-letter code {value} in ISO 3166-1.",
        ),
    )
    yield Topic(
        name="country-alpha3",
        source=source,
        facts=[Fact(words={"country": names[c.alpha_2]}, value=c.alpha_3) for c in countries],
        claims=(
            "The three-letter ISO 3166 code of {country} is {value}.",
            "{value} is the three-letter ISO code for {country}.",
            "ISO 3166 abbreviates {country} with the three letters {value}.",
        ),
        evidence=(
            "In ISO 3166-1, the alpha-3 code of {country} is {value}.",
            "{country} has the three-letter code {value} in ISO 3166-1.",
        ),
    )
    # A name that occurs in two countries, or is itself a country's name, has no single true value.
    uses = Counter(chain((s.name for s in pycountry.subdivisions), names.values()))
    yield Topic(
        name="region",
        source=source,
        facts=[
            Fact(words={"region": s.name}, value=names[s.country_code])
            for s in sorted(pycountry.subdivisions, key=lambda subdivision: subdivision.code)
            if uses[s.name] == 1 and _is_plain(s.name) and _is_plain(names[s.country_code])
        ],
        claims=(
            "In ISO 3166-2, {region} is a subdivision of {value}.",
            "ISO 3166-2 lists {region} under {value}.",
            "ISO 3166-2 counts the region {region} among those of {value}.",
        ),
        evidence=(
            "According to ISO 3166-2, {region} is one of the subdivisions of {value}.",
            "Among the subdivisions that {value} has in ISO 3166-2 is {region}.",
        ),
    )


def _name_topics() -> Iterator[Topic]:
    import pycountry

    source = f"pycountry {pycountry.__version__}"
    languages = [each for each in pycountry.languages if hasattr(each, "alpha_2")]
    yield Topic(
        name="language",
        source=source,
        facts=[
            Fact(words={"language": each.name}, value=each.alpha_2)
            for each in languages
            if _is_plain(each.name)
        ],
        claims=(
            "The two-letter ISO 639 code of the {language} language is {value}.",
            "In ISO 639, {value} is the two-letter code of {language}.",
            "Web pages in the {language} language are marked with the code {value}.",
        ),
        evidence=(
            "ISO 639-1 gives the {language} language the code {value}.",
            "The ISO 639-1 code {value} stands for the {language} language.",
        ),
    )
    # Codes that begin with X are no currency of one country: metals, funds, tests.
    currencies = [each for each in pycountry.currencies if not each.alpha_3.startswith("X")]
    yield Topic(
        name="currency",
        source=source,
        facts=[Fact(words={"currency": each.name}, value=each.alpha_3) for each in currencies],
        claims=(
            "The ISO 4217 code of the currency {currency} is {value}.",
            "{value} is the three-letter code of the currency {currency}.",
            "Banks abbreviate the currency {currency} as {value}.",
        ),
        evidence=(
            "In ISO 4217, the currency {currency} has the code {value}.",
            "The currency code {value} stands for the {currency} in ISO 4217.",
        ),
    )


def _weekday_topic(rng: Random) -> Topic:
    first = datetime.date(1900, 1, 1).toordinal()
    last = datetime.date(2099, 12, 31).toordinal()
    dates = [datetime.date.fromordinal(day) for day in rng.sample(range(first, last + 1), 600)]
    return Topic(
        name="weekday",
        source="Gregorian calendar (Python's datetime)",
        facts=[
            Fact(words={"date": f"{date.day} {date:%B %Y}"}, value=f"{date:%A}") for date in dates
        ],
        claims=(
            "{date} is a {value}.",
            "The date {date} falls on a {value}.",
            "In the calendar, {date} is marked as a {value}.",
        ),
        evidence=(
            "In the Gregorian calendar, the weekday of {date} is {value}.",
            "The calendar shows {value} for {date}.",
        ),
    )


def _is_plain(name: str) -> bool:
    """Tell whether a name reads well in a sentence: no comments in brackets, nothing inverted."""
    return not any(mark in name for mark in "([,;/*")
