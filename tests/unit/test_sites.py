"""Sites are found by name, without Parsl, and refused with the cure."""

from __future__ import annotations

from pathlib import Path

import pytest
from parsl.config import Config

from parsl_pcm.sites import SiteError, all_sites, find_site, load_config, read_site

ROOT = Path(__file__).parents[2]
SITE = '''"""A machine: its GPUs.

Scheduler: Slurm
Source: https://one.example/a, 2025-01-02;
    read 2026-11-22
Source: https://two.example, read 2026-11-22

Further text. Source: not this one.
"""
from parsl.config import Config


def fresh_config(place, *, account, qos="preempt", max_blocks=8):
    return Config(executors=[], run_dir=account)
'''


def site_file(tmp_path: Path, text: str = SITE) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(text)
    return path


def test_text_of_a_site_tells_what_it_is(tmp_path: Path) -> None:
    site = read_site(site_file(tmp_path))
    assert (site.name, site.title, site.scheduler) == ("mine", "A machine: its GPUs", "Slurm")
    assert site.sources == (
        "https://one.example/a, 2025-01-02; read 2026-11-22",
        "https://two.example, read 2026-11-22",
    )
    assert site.required == ("place", "account")


def test_sites_that_describe_no_machine_come_first() -> None:
    names = [site.name for site in all_sites()]
    assert names[:4] == ["htcondor_generic", "local", "pbs_generic", "slurm_generic"]
    assert len(names) > 8


def test_name_is_found_however_it_is_written() -> None:
    assert find_site("Slurm-Generic") == find_site("slurm_generic")


def test_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(SiteError, match=r"no site 'slurm_genric'\. Did you mean slurm_generic"):
        find_site("slurm_genric")


def test_name_like_no_other_points_to_the_list() -> None:
    with pytest.raises(SiteError, match=r"no site 'zzzzz'\. `parsl-pcm sites list` shows all"):
        find_site("zzzzz")


def test_local_site_is_loaded_by_name() -> None:
    config = load_config("local", run_dir="elsewhere")
    assert isinstance(config, Config)
    assert config.run_dir == "elsewhere"


def test_file_is_loaded_by_path(tmp_path: Path) -> None:
    path = site_file(tmp_path, SITE.replace("place, ", ""))
    assert load_config(path, account="abc").run_dir == "abc"


def test_missing_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        SiteError, match=r"needs place and account: call fresh_config\(place=\.\.\."
    ):
        load_config(site_file(tmp_path))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1", "defines no function fresh_config"),
        ("def fresh_config():\n    return {}", "returned a dict: return a parsl.Config"),
    ],
)
def test_file_that_gives_no_configuration_is_refused(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(SiteError, match=problem):
        load_config(site_file(tmp_path, text))


def test_missing_file_is_refused() -> None:
    with pytest.raises(SiteError, match="no such file"):
        load_config("nowhere/site.py")


def test_file_that_is_no_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"mine\.py, line 1: no Python"):
        load_config(site_file(tmp_path, "#!/bin/bash\nsrun --x y"[12:]))


def test_text_with_commas_will_do_for_several() -> None:
    site = {"partition": "gpu", "gpu_types": "a10,h100", "address": "127.0.0.1"}
    provider = load_config("slurm_generic", **site).executors[0].provider
    assert [flavour.gpu_type for flavour in provider.flavours] == ["a10", "h100"]
