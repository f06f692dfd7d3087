"""What the tools of each scheduler print, read as jobs. Slurm's and Grid Engine's answers are
recorded ones of 22.05 and 8.1.9; the others are written after their manuals."""

from __future__ import annotations

import pytest

from parsl_pcm.provider.leftovers import queues
from parsl_pcm.provider.leftovers.queues import (
    QueuedJob,
    jobs_in_queue,
    read_bjobs,
    read_condor_q,
    read_qstat,
    read_qstat_xml,
    read_squeue,
)
from parsl_pcm.provider.schedulers.observations import LookError

QSTAT = """Job Id: 123.pbs01
    Job_Name = pcm-12345678.block-0.1795371187.3812345
    Job_Owner = me@login
    job_state = R
    Variable_List = PBS_O_HOME=/home/me,PBS_O_PATH=/usr/local/bin:/usr/bin:
\t/bin,PBS_O_QUEUE=gpu

Job Id: 124.pbs01
    Job_Name = pcm-12345678.blo
\tck-1.1795371187.38
    job_state = E
"""

QSTAT_XML = """<?xml version='1.0'?>
<job_info>
  <queue_info>
    <job_list state="running">
      <JB_job_number>1</JB_job_number>
      <JAT_prio>0.55500</JAT_prio>
      <JB_name>pcm-12345678.block-0.1.submit</JB_name>
      <JB_owner>me</JB_owner>
      <state>r</state>
    </job_list>
  </queue_info>
  <job_info>
    <job_list state="pending">
      <JB_job_number>2</JB_job_number>
      <JB_name>pcm-12345678.block-1.1.submit</JB_name>
      <state>dr</state>
    </job_list>
  </job_info>
</job_info>
"""


def test_squeue_gives_id_state_and_name() -> None:
    assert read_squeue("28|PENDING|pcm-1.block-0.1.2\n29|COMPLETING|a|b\n") == [
        QueuedJob(job_id="28", state="PENDING", name="pcm-1.block-0.1.2"),
        QueuedJob(job_id="29", state="COMPLETING", name="a|b", is_leaving=True),
    ]


def test_squeue_of_other_clusters_prints_headings_that_are_no_jobs() -> None:
    assert [job.job_id for job in read_squeue("CLUSTER: alpha\n28|PENDING|x\n")] == ["28"]


def test_empty_queue_has_no_jobs() -> None:
    assert read_squeue("") == read_condor_q("") == read_qstat("") == read_bjobs("") == []


def test_condor_jobs_get_their_name_from_their_output_file() -> None:
    text = "7.0 2 /home/my runs/submit_scripts/parsl.pcm-1.block-0.1.2.stdout\n8.0 1 undefined\n"
    assert read_condor_q(text) == [
        QueuedJob(job_id="7.0", state="2", name="parsl.pcm-1.block-0.1.2.stdout"),
        QueuedJob(job_id="8.0", state="1", name="undefined"),
    ]


def test_qstat_joins_lines_that_it_broke() -> None:
    first, second = read_qstat(QSTAT)
    assert (first.job_id, first.state) == ("123.pbs01", "R")
    assert first.name == "pcm-12345678.block-0.1795371187.3812345"
    assert second.name == "pcm-12345678.block-1.1795371187.38"
    assert (first.is_leaving, second.is_leaving) == (False, True)


def test_grid_engine_jobs_that_are_being_deleted_are_leaving() -> None:
    first, second = read_qstat_xml(QSTAT_XML)
    assert (first.job_id, first.name) == ("1", "pcm-12345678.block-0.1.submit")
    assert (first.is_leaving, second.is_leaving) == (False, True)


def test_broken_xml_is_no_empty_queue() -> None:
    with pytest.raises(LookError, match="XML"):
        read_qstat_xml(QSTAT_XML[:100])


def test_bjobs_gives_id_state_and_name() -> None:
    (job,) = read_bjobs("9|RUN|pcm-1.block-0\n")
    assert (job.job_id, job.state, job.is_leaving) == ("9", "RUN", False)


def test_unknown_scheduler_says_what_to_do() -> None:
    with pytest.raises(LookError, match=r"'kubernetes'.*the site's own tools"):
        jobs_in_queue("kubernetes")


def test_clusters_are_asked_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(queues, "ask", lambda command: asked.append(tuple(command)) or "")
    jobs_in_queue("slurm@alpha,beta")
    assert "--clusters=alpha,beta" in asked[0]


def test_pbs_job_that_ended_between_two_questions_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask(command: tuple[str, ...]) -> str:
        if command[0] == "qselect":
            return "122.pbs01\n123.pbs01\n"
        if "122.pbs01" in command:
            raise LookError("qstat: Unknown Job Id 122.pbs01")
        return QSTAT

    monkeypatch.setattr(queues, "ask", ask)
    assert "123.pbs01" in [job.job_id for job in jobs_in_queue("pbs")]


def test_lsf_without_jobs_is_an_empty_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: object) -> str:
        raise LookError("bjobs failed with exit code 255: No unfinished job found")

    monkeypatch.setattr(queues, "ask", ask)
    assert jobs_in_queue("lsf") == []
