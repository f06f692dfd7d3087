"""Workers that cannot start, or that are not what the script is: what the user is told."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import parsl
import pytest
from parsl import python_app

from parsl_pcm.errors import BlocksFailed
from tests.running import MANAGER, descendants, fails_with, one_block, running, wait_for


@python_app
def noop():
    return 1


def expect_failure(run_dir: Path, words: list[str], **settings) -> None:
    """Insist that open futures and later calls fail, and say these words."""
    with running(run_dir, **settings) as executor:
        futures = [noop() for _ in range(3)]
        for future in futures:
            text = fails_with(future, BlocksFailed)
        assert [word for word in words if word not in text] == []
        assert [word for word in words if word not in fails_with(noop(), BlocksFailed)] == []
        assert executor.outstanding() == 0
    wait_for(lambda: not descendants(MANAGER), "no manager is left")


@pytest.mark.parametrize(
    ("worker_init", "words"),
    [
        ("exit 3", ["Exit code: 3", "worker_init"]),
        (
            "echo cannot load module cuda >&2; echo loading; false || exit 5",
            ["Exit code: 5", "cannot load module cuda", "loading"],
        ),
    ],
)
def test_worker_init_that_fails_is_told_with_its_output(worker_init, words, tmp_path: Path):
    expect_failure(tmp_path / "run", words, provider=one_block(worker_init=worker_init))


def test_start_command_that_does_not_exist_is_named(tmp_path: Path):
    command = "no-such-manager --config {config} --block-id {block_id}"
    words = ["Exit code: 127", "no-such-manager", "parsl-pcm-manager must be found"]
    expect_failure(tmp_path / "run", words, launch_cmd=command)


def test_manager_that_fails_at_once_is_told_with_its_traceback(tmp_path: Path):
    script = tmp_path / "manager.py"
    script.write_text("raise RuntimeError('no such library: libzmq')")
    words = ["Exit code: 1", "RuntimeError: no such library: libzmq"]
    expect_failure(tmp_path / "run", words, launch_cmd=f"{sys.executable} {script}")


def test_wrong_option_of_the_start_command_is_named(tmp_path: Path):
    command = "parsl-pcm-manager --config {config} --block-id {block_id} --no-such-option"
    words = ["Exit code: 2", "--no-such-option"]
    expect_failure(tmp_path / "run", words, launch_cmd=command)


WRAPPER = """
import sys
import parsl_pcm.manager.__main__ as manager
{patch}
manager.main()
"""


def start_command(folder: Path, patch: str) -> str:
    """Return a command that starts a manager which pretends to be another one."""
    script = folder / "manager.py"
    script.write_text(textwrap.dedent(WRAPPER).format(patch=patch))
    # Named like the real one, so that what is left of it is found.
    return f"{sys.executable} {script} --config {{config}} --block-id {{block_id}} # {MANAGER}"


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (
            "manager.parsl_version = lambda: '2019.1.1'",
            ["Parsl 2019.1.1", f"the script {parsl.__version__}"],
        ),
        (
            "import collections\n"
            "manager.sys = type('Old', (), {'version_info': "
            "collections.namedtuple('V', 'major minor')(3, 8), 'exit': sys.exit, "
            "'platform': sys.platform, 'stderr': sys.stderr})",
            ["Python 3.8", "the script {}.{}".format(*sys.version_info[:2])],
        ),
        ("manager.parsl_version = lambda: ''", ["Parsl ", f"the script {parsl.__version__}"]),
        ("manager.PROTOCOL_VERSION = -1", ["parsl_pcm", "do not speak the same protocol"]),
    ],
)
def test_worker_of_another_version_is_refused_with_both_versions(patch, words, tmp_path: Path):
    launch_cmd = start_command(tmp_path, patch)
    words = [*words, "block 0", "activate it in worker_init of the provider"]
    expect_failure(tmp_path / "run", words, launch_cmd=launch_cmd)


def test_worker_of_the_same_version_through_the_same_wrapper_is_taken(tmp_path: Path):
    with running(tmp_path / "run", launch_cmd=start_command(tmp_path, "")):
        assert noop().result(timeout=60) == 1
