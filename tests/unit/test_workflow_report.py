import builtins
import json

import pytest
from fact_check.claims import LABELS, Claim
from fact_check.leaderboard import Score
from fact_check.models import find_model
from fact_check.picture import draw
from fact_check.prompts import make_prompt
from fact_check.report import print_plan, print_rest, write_report
from fact_check.sweep import make_pairs

CLAIMS = [Claim(id=f"c{n}", claim=f"{n}", evidence="", label=LABELS[n % 3]) for n in range(6)]


@pytest.fixture
def pairs(tmp_path):
    prompts = [make_prompt(name, LABELS) for name in ("few-shot", "free-text")]
    return make_pairs([find_model("smollm2-135m")], prompts, tmp_path)


def answer(pair, claims):
    said = {"text": "Yes", "error": None, "seconds": 0.5}
    rows = [{"index": 0, "key": claim.key, "result": said} for claim in claims]
    pair.path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_plan_tells_how_much_there_is_to_do(pairs, capsys):
    print_plan(pairs, CLAIMS)
    print_rest(12, 5)
    told = capsys.readouterr().out
    assert "6 (2 SUPPORTS, 2 REFUTES, 2 NOT ENOUGH INFO)" in told
    assert "12 inferences" in told
    assert "Done already: 7. To do: 5." in told


def test_the_leaderboard_shows_what_of_the_plan_is_done_and_nothing_else(pairs, tmp_path, capsys):
    others = [Claim(id="other", claim="x", evidence="", label="SUPPORTS")]
    answer(pairs[0], CLAIMS + others)
    write_report(tmp_path, pairs, CLAIMS, [(0.0, 0), (2.0, 6)])
    told = capsys.readouterr().out
    (row,) = [line for line in told.splitlines() if line.startswith("1")]
    assert row.split()[1:4] == ["smollm2-135m", "few-shot", "33.3%"]
    assert row.split()[-1] == "6"
    assert "free-text" not in told
    assert "33.3% (3 labels)" in told
    assert "6 claims in 2 s: 3.0 claims/s" in told
    assert "no fact checker" in told


def test_without_any_result_there_is_no_leaderboard(pairs, tmp_path, capsys):
    write_report(tmp_path, pairs, CLAIMS, [(0.0, 0)])
    assert "no leaderboard" in capsys.readouterr().out


def test_without_matplotlib_the_command_to_get_it_is_told(pairs, tmp_path, capsys, monkeypatch):
    whole_import = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError("no matplotlib", name="matplotlib")
        return whole_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    answer(pairs[0], CLAIMS)
    write_report(tmp_path, pairs, CLAIMS, [(0.0, 0), (2.0, 6)])
    told = capsys.readouterr()
    assert "pip install matplotlib" in told.err
    assert "few-shot" in told.out


@pytest.mark.parametrize("num_pairs", [1, 9])
@pytest.mark.parametrize("progress", [[(0.0, 0)], [(0.0, 0), (1.0, 10), (9.0, 20)]])
def test_the_picture_is_a_png(tmp_path, num_pairs, progress):
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    scores = [
        Score(
            model=f"model{number}",
            prompt="p",
            num_claims=10,
            num_right=number,
            num_unparsed=0,
            accuracy=number / 10,
            low=max(0, number / 10 - 0.2),
            high=min(1, number / 10 + 0.2),
            claims_per_s=number,
        )
        for number in range(num_pairs)
    ]
    draw(tmp_path / "p.png", scores, progress, 1 / 3)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG\r\n")
