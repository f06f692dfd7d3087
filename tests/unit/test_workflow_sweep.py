import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from fact_check import sweep as sweep_module
from fact_check.claims import LABELS
from fact_check.models import find_model
from fact_check.prompts import make_prompt
from fact_check.sweep import Sweep, make_pairs

MODELS = [find_model("smollm2-135m"), find_model("vllm:org/other")]
PROMPTS = [make_prompt("few-shot", LABELS), make_prompt("free-text", LABELS)]


@dataclass
class StandIn:
    """For a map that has come so far."""

    num_done: int = 0
    num_errors: int = 0
    num_skipped: int = 0
    future: Future = field(default_factory=Future)

    def progress(self):
        return SimpleNamespace(num_total=5, **vars(self))

    def cancel(self):
        self.future.cancel()

    def result(self):
        return self.future.result()


def ended(num_done=5, error=None, **counts):
    run = StandIn(num_done, **counts)
    if error is None:
        run.future.set_result(None)
    else:
        run.future.set_exception(error)
    return run


@pytest.fixture(autouse=True)
def _look_again_at_once(monkeypatch):
    monkeypatch.setattr(sweep_module, "_REFRESH_S", 0.001)


@pytest.fixture
def pairs(tmp_path):
    return make_pairs(MODELS, PROMPTS, tmp_path)


def wait(pairs, runs, *, stopped=False):
    stop = threading.Event()
    if stopped:
        stop.set()
    sweep = Sweep(dict(zip(pairs, runs, strict=True)))
    sweep.wait(list, stop)
    return sweep


def test_every_model_meets_every_prompt_once_and_has_a_file_of_its_own(pairs, tmp_path):
    assert [(pair.model, pair.prompt) for pair in pairs] == [
        (model, prompt) for model in MODELS for prompt in PROMPTS
    ]
    assert {pair.path.parent for pair in pairs} == {tmp_path}
    assert len({pair.path for pair in pairs}) == 4


def test_another_content_under_the_same_name_is_another_file(pairs, tmp_path):
    others = make_pairs(MODELS, [make_prompt("few-shot", LABELS[:2])], tmp_path)
    assert others[0].prompt.name == pairs[0].prompt.name
    assert others[0].path not in {pair.path for pair in pairs}


def test_a_sweep_ends_when_all_maps_have_ended(pairs):
    sweep = wait(pairs[:2], [ended(), ended(num_done=3, num_skipped=2)])
    assert not sweep.is_stopped
    assert not sweep.failures
    assert [count for _, count in sweep.progress] == [0, 8]


def test_a_map_that_failed_is_told_and_harms_no_other(pairs, capsys):
    sweep = wait(pairs[:2], [ended(0, OSError("gone")), ended()])
    assert sweep.failures == ["smollm2-135m, few-shot: OSError: gone"]
    assert "OSError: gone" in capsys.readouterr().err


def test_claims_with_errors_are_told_with_their_file(pairs):
    (told,) = wait(pairs[:1], [ended(num_errors=2)]).failures
    assert told == f"smollm2-135m, few-shot: 2 claims have errors, see {pairs[0].path}"


def test_a_stop_cancels_what_still_runs_and_nothing_else(pairs):
    done, running = ended(), StandIn(3)
    sweep = wait(pairs[:2], [done, running], stopped=True)
    assert sweep.is_stopped
    assert running.future.cancelled()
    assert not done.future.cancelled()
    assert not sweep.failures


def test_a_sweep_that_was_done_before_the_stop_is_not_stopped(pairs):
    assert not wait(pairs[:1], [ended()], stopped=True).is_stopped
