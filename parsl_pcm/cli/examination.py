"""Which checks ``parsl-pcm doctor`` makes, and in which order."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parsl.launchers import SingleNodeLauncher

from parsl_pcm.cli import checks_machine, checks_script, checks_site, checks_workers
from parsl_pcm.cli.checks import Level, Result, fail, ok
from parsl_pcm.cli.trial import run_trial
from parsl_pcm.executor import MANAGER_COMMAND, PCMExecutor
from parsl_pcm.launch import ANY_FREE_PORT
from parsl_pcm.provider.leftovers.ledger import LOCAL, scheduler_kind
from parsl_pcm.sites import SiteError, load_config

if TYPE_CHECKING:
    from parsl.config import Config
    from parsl.providers.base import ExecutionProvider

    from parsl_pcm.provider.flavours import Flavour


class BadConfigError(ValueError):
    """There is nothing to check: the message says why."""


def examine(arguments: argparse.Namespace) -> Iterator[tuple[str, Result]]:
    """Yield the results of all checks as they come, each with the heading that it belongs under.

    Raises
    ------
    BadConfigError
        If the configuration cannot be made.
    """
    if arguments.config is None:
        if arguments.submit or arguments.settings:
            raise BadConfigError("--submit and --set need a CONFIG: a Python file or a site's name")
        yield from _named("This machine", _machine())
        yield from _named("Schedulers", _schedulers())
        return
    config = _config(arguments.config, arguments.settings)
    executors = [each for each in config.executors if isinstance(each, PCMExecutor)]
    if not executors:
        raise BadConfigError(f"the Config of {arguments.config} has no PCMExecutor")
    yield from _named("This machine", _machine_for(config, executors))
    for executor in executors:
        yield from _executor(executor)
    if arguments.submit:
        yield from _named("Test job", [_trial(config, executors[0], timeout_s=arguments.wait_s)])


def _config(name: str, settings: list[str]) -> Config:
    pairs = [each.partition("=") for each in settings]
    if not all(separator for _, separator, _ in pairs):
        raise BadConfigError("--set takes NAME=VALUE, as in --set account=abc123")
    try:
        return load_config(name, **{key: _value(text) for key, _, text in pairs})
    except SiteError as error:
        hint = "; here with --set NAME=VALUE" if "=..." in str(error) else ""
        raise BadConfigError(f"{error}{hint}") from error
    except Exception as error:
        raise BadConfigError(f"{name} failed: {type(error).__name__}: {error}") from error


def _value(text: str) -> object:
    """Return a number, truth value or other literal of Python; all else is a string."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _trial(config: Config, executor: PCMExecutor, *, timeout_s: float) -> Result:
    num_gpus = max(flavour.gpus_per_block for flavour in _flavours(executor))
    if _kinds(_flavours(executor)) == {LOCAL}:
        num_gpus = 0  # whether this machine has any is for its own manager to find out
    executor.print_summary = False  # the doctor has a line of its own
    return run_trial(config, executor.label, num_gpus=num_gpus, timeout_s=timeout_s)


def _named(name: str, results: Iterable[Result]) -> Iterator[tuple[str, Result]]:
    for result in results:
        yield name, result


def _safely(title: str, check: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Return what a check says, or that it broke: the others are still worth knowing."""
    try:
        return check(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the user sees it
        detail = f"this check broke: {type(error).__name__}: {error}"
        return fail(title, detail, "tell us, please: it may say nothing about your site")


def _machine() -> Iterator[Result]:
    yield _safely("versions", checks_machine.versions)
    yield _safely("open files", checks_machine.open_files)
    yield from checks_machine.caches()


def _machine_for(config: Config, executors: list[PCMExecutor]) -> Iterator[Result]:
    is_local = all(_kinds(_flavours(each)) == {LOCAL} for each in executors)
    path = Path(config.run_dir)
    yield from _machine()
    yield _safely("run directory", checks_machine.run_dir, path, is_local=is_local)


def _schedulers() -> Iterator[Result]:
    kinds = checks_site.schedulers_here()
    if not kinds:
        yield checks_site.no_scheduler()
    for kind in kinds:
        result = _safely("scheduler", checks_site.scheduler_answers, kind)
        yield result
        if not result.cure and kind in checks_site.PROBES:
            yield _safely("idle GPUs", checks_site.idle_gpus, checks_site.PROBES[kind]())


def _executor(executor: PCMExecutor) -> Iterator[tuple[str, Result]]:
    flavours = _flavours(executor)
    yield from _named(f"Executor {executor.label}", _network(executor, _kinds(flavours)))
    answers = {
        kind: _safely("scheduler", checks_site.scheduler_answers, kind)
        for kind in sorted(_kinds(flavours))
    }
    yield from _named("Site", answers.values())
    reachable = {kind for kind, result in answers.items() if not result.cure}
    yield from _named("Site", _idle(each for each in flavours if _kind(each) in reachable))
    for flavour in flavours:
        checks = _flavour(flavour, executor.launch_cmd, is_asked=_kind(flavour) in reachable)
        yield from _named(f"Flavour {flavour.name}", checks)
    for provider in _with_different_init(flavours):
        yield from _named("Workers", _workers(provider, executor.launch_cmd))


def _network(executor: PCMExecutor, kinds: set[str]) -> Iterator[Result]:
    is_local = kinds == {LOCAL}
    addresses = executor.address, executor.loopback_address
    yield _safely("address", checks_machine.addresses, *addresses, is_local=is_local)
    port_range = executor.worker_port_range or ANY_FREE_PORT
    yield _safely("ports", checks_machine.ports, executor.worker_port, port_range)


def _idle(flavours: Iterable[Flavour]) -> Iterator[Result]:
    """Ask each probe once, for all flavours that it is for."""
    of_probe: dict[int, list[Flavour]] = {}
    for flavour in flavours:
        of_probe.setdefault(id(flavour.idle_probe), []).append(flavour)
    for together in of_probe.values():
        probe = together[0].idle_probe
        if probe is not None:
            yield _safely("idle GPUs", checks_site.idle_gpus, probe, together)


def _flavour(flavour: Flavour, launch_cmd: str, *, is_asked: bool) -> Iterator[Result]:
    provider = _provider(flavour)
    kind = scheduler_kind(provider)
    if is_asked and kind != LOCAL:
        place = _safely("partition", checks_site.partition_exists, kind, flavour.partition)
        yield place
        is_asked = place.level is not Level.FAIL
    if getattr(provider, "exclusive", False):
        yield checks_script.is_exclusive()
    if kind != LOCAL and isinstance(getattr(provider, "launcher", None), SingleNodeLauncher):
        yield checks_script.hears_no_signals()
    result = _safely("submit script", checks_script.submit_script, provider, launch_cmd)
    yield result
    if is_asked and not result.cure and kind == "slurm":
        yield _safely("test of script", checks_script.would_be_taken, provider, launch_cmd)


def _workers(provider: ExecutionProvider, launch_cmd: str) -> Iterator[Result]:
    if launch_cmd != MANAGER_COMMAND:
        yield ok("workers", f"started by a command of yours, which is not tried here: {launch_cmd}")
    elif getattr(provider, "transfer_input_files", None):
        yield ok("workers", "their environment comes with transferred files; --submit tries it")
    else:
        yield from checks_workers.workers(str(getattr(provider, "worker_init", "")))


def _with_different_init(flavours: list[Flavour]) -> list[ExecutionProvider]:
    providers = {str(getattr(each, "worker_init", "")): each for each in map(_provider, flavours)}
    return list(providers.values())


def _flavours(executor: PCMExecutor) -> list[Flavour]:
    """Return the flavours of an executor; a provider of Parsl's own counts as one."""
    from parsl_pcm.provider.flavours import Flavour

    provider: Any = executor.provider
    found = getattr(provider, "flavours", None)
    if found:
        return list(found)
    return [Flavour(executor.label, provider, gpus_per_block=int(_asks_for_gpus(provider)))]


def _asks_for_gpus(provider: ExecutionProvider) -> bool:
    """Return whether a provider of Parsl's mentions GPUs where its users do."""
    names = ("gres", "gpus_per_node", "select_options", "scheduler_options", "requirements")
    given = {name: getattr(provider, name, None) for name in names}
    return bool(given["gpus_per_node"]) or "gpu" in str(list(given.values())).lower()


def _provider(flavour: Flavour) -> ExecutionProvider:
    return flavour.block_provider(flavour.gpus_per_block)


def _kind(flavour: Flavour) -> str:
    return scheduler_kind(_provider(flavour))


def _kinds(flavours: list[Flavour]) -> set[str]:
    return set(map(_kind, flavours))
