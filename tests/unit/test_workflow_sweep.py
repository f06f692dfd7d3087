import threading
from concurrent.futures import Future

import pytest
from fact_check.claims import LABELS, Claim
from fact_check.models import find_model
from fact_check.prompts import make_prompt
from fact_check.results import ResultsFile
from fact_check.sweep import Sweep, count_inferences, make_batches

from parsl_pcm.engines import Completion

CLAIMS = [Claim(id=f"c{n}", claim=f"{n}", evidence="", label="SUPPORTS") for n in range(5)]
MODELS = [find_model("smollm2-135m"), find_model("vllm:other")]
PROMPTS = [make_prompt("few-shot", LABELS), make_prompt("free-text", LABELS)]


def answer(text, error=None):
    return Completion(
        text=text, prompt_tokens=7, completion_tokens=1, finish_reason="stop", error=error
    )


@pytest.fixture
def results(tmp_path):
    with ResultsFile(tmp_path / "results.jsonl") as file:
        yield file


def run(results, batches, futures, stop=None):
    num_total = count_inferences(batches)
    sweep = Sweep(results, num_total=num_total, num_found=0)
    for batch, future in zip(batches, futures, strict=True):
        sweep.add(batch, future)
    assert sweep.wait(list, stop or threading.Event()) == all(each.done() for each in futures)
    return sweep


def done(value=None, error=None):
    future = Future()
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
    return future


def test_every_claim_goes_to_every_pair_once():
    batches = make_batches(MODELS, PROMPTS, CLAIMS, size=2)
    assert [len(batch.claims) for batch in batches] == [2, 2, 1] * 4
    inferences = [key for batch in batches for key in batch.inferences()]
    assert len(set(inferences)) == len(inferences) == count_inferences(batches) == 20


def test_what_is_done_is_left_out_claim_by_claim():
    everything = make_batches(MODELS, PROMPTS, CLAIMS, size=2)
    done_keys = set(everything[0].inferences()) | set(everything[4].inferences()[:1])
    todo = make_batches(MODELS, PROMPTS, CLAIMS, size=2, done=done_keys)
    left = [key for batch in everything for key in batch.inferences() if key not in done_keys]
    assert [key for batch in todo for key in batch.inferences()] == left


def test_answers_are_saved_as_they_were_read(results):
    (batch,) = make_batches(MODELS[:1], PROMPTS[:1], CLAIMS[:3], size=3)
    answers = [answer("Yes"), answer("what?"), answer("", error="too long")]
    run(results, [batch], [done((answers, 3.0))])
    first, second, third = results.results.values()
    assert (first.answer, first.text, first.seconds, first.prompt_tokens) == (
        "SUPPORTS",
        "Yes",
        1,
        7,
    )
    assert (second.answer, second.text, second.error) == (None, "what?", None)
    assert (third.answer, third.error) == (None, "too long")


def test_a_failed_batch_is_told_and_harms_no_other(results, capsys):
    batches = make_batches(MODELS[:1], PROMPTS[:1], CLAIMS[:3], size=1)
    answers = done(([answer("No")], 1.0))
    sweep = run(
        results, batches, [done(error=OSError("gone")), answers, done(error=OSError("gone"))]
    )
    assert sweep.failures == {"smollm2-135m: OSError: gone": 2}
    assert len(results.results) == 1
    assert capsys.readouterr().err.count("OSError: gone") == 1


def test_a_batch_with_too_few_answers_is_no_result(results):
    (batch,) = make_batches(MODELS[:1], PROMPTS[:1], CLAIMS[:3], size=3)
    with pytest.raises(ValueError, match="shorter"):
        run(results, [batch], [done(([answer("Yes")], 1.0))])
    assert not results.results


def test_a_stop_saves_what_is_finished_and_waits_for_nothing_else(results):
    batches = make_batches(MODELS[:1], PROMPTS[:1], CLAIMS[:2], size=1)
    stop = threading.Event()
    stop.set()
    run(results, batches, [done(([answer("Yes")], 1.0)), Future()], stop)
    assert [each.id for each in results.results.values()] == ["c0"]


def test_progress_counts_up_to_what_was_done(results):
    batches = make_batches(MODELS[:1], PROMPTS, CLAIMS, size=5)
    sweep = run(results, batches, [done(([answer("Yes")] * 5, 1.0)) for _ in batches])
    assert [count for _, count in sweep.progress] == [0, 5, 10]
    times_s = [time_s for time_s, _ in sweep.progress]
    assert times_s == sorted(times_s)
