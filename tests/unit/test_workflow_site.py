import argparse
from pathlib import Path

import pytest
from fact_check.claims import InputError
from fact_check.site import load_config

from parsl_pcm import PCMExecutor

SITE = """
from parsl import Config
from parsl.executors import ThreadPoolExecutor
from parsl_pcm import PCMExecutor

def fresh_config():
    return {}
"""


def load(tmp_path, returned):
    site = tmp_path / "site.py"
    site.write_text(SITE.format(returned), encoding="utf-8")
    return load_config(argparse.Namespace(site=site))


def test_without_a_site_it_is_this_machine_and_everything_is_written_to_the_results(tmp_path):
    config = load_config(argparse.Namespace(site=None, slots=3, out=tmp_path))
    (executor,) = config.executors
    assert isinstance(executor, PCMExecutor)
    assert (executor.label, executor.max_workers_per_node) == ("pcm", 3)
    assert Path(config.run_dir).parent == tmp_path


def test_a_site_is_what_its_function_returns(tmp_path):
    config = load(tmp_path, "Config(executors=[PCMExecutor(label='pcm', max_workers_per_node=7)])")
    assert config.executors[0].max_workers_per_node == 7


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ("42", "returned a int"),
        ("Config(executors=[ThreadPoolExecutor(label='pcm')])", "no PCMExecutor with label='pcm'"),
        ("Config(executors=[PCMExecutor(label='gpu')])", "found: ['gpu']"),
        ("None\n\nfresh_config = 1", "defines no function"),
    ],
)
def test_a_site_that_cannot_run_the_sweep_is_refused(tmp_path, returned, problem):
    with pytest.raises(InputError) as caught:
        load(tmp_path, returned)
    assert problem in str(caught.value)


def test_a_missing_site_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_config(argparse.Namespace(site=tmp_path / "none.py"))
