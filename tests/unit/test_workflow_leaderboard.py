import pytest
from fact_check.leaderboard import format_table, score_pairs, wilson_interval
from fact_check.results import Result


def results(prompt, answers, seconds=0.5):
    return [
        Result(model="m", prompt=prompt, label="SUPPORTS", answer=answer, seconds=seconds)
        for answer in answers
    ]


@pytest.mark.parametrize(
    ("num_right", "num_claims", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3 (Wilson without correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(num_right, num_claims, low, high):
    assert wilson_interval(num_right, num_claims) == pytest.approx((low, high), abs=5e-5)


def test_no_claim_gives_the_whole_interval():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_pairs_are_scored_each_by_itself_best_first():
    worse = results("worse", ["REFUTES", None, "SUPPORTS", None], seconds=2.0)
    best = results("best", ["SUPPORTS", "SUPPORTS"])
    first, second = score_pairs([*worse, *best])
    assert (first.prompt, first.accuracy, first.num_unparsed, first.claims_per_s) == (
        "best",
        1,
        0,
        2,
    )
    assert (second.prompt, second.accuracy, second.num_unparsed) == ("worse", 0.25, 2)
    assert second.num_claims == 4
    assert second.claims_per_s == 0.5


def test_the_table_is_aligned_and_has_one_line_a_pair():
    answers = ["SUPPORTS", None, "REFUTES"]
    scores = score_pairs(results("p", answers) + results("longer-name", answers[:1] * 2000))
    header, first, second = format_table(scores).splitlines()
    assert first.split() == [
        "1", "m", "longer-name", "100.0%", "99.8%", "-", "100.0%", "2.0", "0", "2000",
    ]  # fmt: skip
    assert second.split()[1:4] == ["m", "p", "33.3%"]
    assert len(header) == len(first) == len(second)
