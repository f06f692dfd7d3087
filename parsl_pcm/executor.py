"""PCMExecutor: the face to Parsl.

Everything that touches the internals of Parsl's HighThroughputExecutor is in this module: its
constructor, its block bookkeeping, and ``command_client``, through which it asks the interchange.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shlex
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typeguard
from parsl import curvezmq
from parsl.data_provider.staging import Staging
from parsl.executors.errors import ScalingFailed
from parsl.executors.high_throughput.executor import HighThroughputExecutor, HTEXFuture
from parsl.executors.high_throughput.manager_selector import ManagerSelector, RandomManagerSelector
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.states import JobStatus
from parsl.monitoring.radios.base import RadioConfig
from parsl.providers import LocalProvider
from parsl.providers.base import ExecutionProvider

from parsl_pcm import memo  # noqa: F401 - makes contexts part of Parsl's memo keys
from parsl_pcm.arguments import check_arguments, check_seconds, wanted_accelerators
from parsl_pcm.block_control import BlockControl
from parsl_pcm.block_jobs import BlockJobs
from parsl_pcm.blocks import BlockErrorHandler
from parsl_pcm.client import CommandClient, InterchangeClient
from parsl_pcm.context_control import ContextControl, Troubles
from parsl_pcm.declaration import check_specification
from parsl_pcm.errors import BlocksFailed, InterchangeLost, PCMError
from parsl_pcm.launch import ANY_FREE_PORT, interchange_config, write_manager_config
from parsl_pcm.launchers import block_command, export, walltime_of
from parsl_pcm.logfile import log_to
from parsl_pcm.mapped_tasks import MappedTasks
from parsl_pcm.mapping.link import MapReceiver
from parsl_pcm.open_tasks import OpenTasks
from parsl_pcm.payload import run_payload
from parsl_pcm.submission import Submission
from parsl_pcm.types import TaskId
from parsl_pcm.wire import messages
from parsl_pcm.wire.codec import Envelope

logger = logging.getLogger(__name__)

INTERCHANGE_COMMAND = (sys.executable, "-m", "parsl_pcm.interchange")
# Without a shell around it, the manager gets the site's signals.
MANAGER_COMMAND = "exec parsl-pcm-manager --config {config} --block-id {block_id}"


class PCMFuture(HTEXFuture):
    """The future of one task.

    Attributes
    ----------
    parsl_executor_task_id
        The executor's own number of the task; Parsl logs it beside its own.
    """

    def __init__(self, task_id: TaskId, on_cancel: Callable[[TaskId], None]) -> None:
        super().__init__(task_id)
        self._task_id = task_id
        self._on_cancel = on_cancel

    def cancel(self) -> bool:
        """Give the task up, unless it has ended; what runs is finished and thrown away."""
        was_done = self.done()
        cancelled = super().cancel()
        if cancelled and not was_done:
            self._on_cancel(self._task_id)
        return cancelled


class PCMExecutor(ContextControl, HighThroughputExecutor):
    """Runs Parsl apps where the contexts that they declare are live already.

    Parameters up to ``remote_monitoring_radio`` are those of
    :class:`parsl.executors.HighThroughputExecutor`, with the same meaning. Those that differ:

    Parameters
    ----------
    available_accelerators
        Devices to use: a number of them, or names as in CUDA_VISIBLE_DEVICES. Empty (the default):
        all that the site gave to the block.
    cpu_affinity
        ``"block"`` (the default): each CPU host gets cores of its own, where there are enough.
        ``"none"``: hosts share the cores.
    prefetch_capacity
        Pieces that wait at each host. None (the default): as many as last 50 ms, one at least.
    heartbeat_period, heartbeat_threshold
        Seconds. A closed connection is noticed at once; these are for nodes that fall silent.
    block_error_handler
        True (the default): futures fail with the output of the block if blocks cannot start.
    launch_cmd
        Starts a manager; ``{config}`` and ``{block_id}`` are filled in.
    manager_selector, poll_period
        Accepted, without effect: the scheduler places pieces, and nothing is polled.
    max_attempts
        A task is given up when so many hosts died while they ran it, 1 or more.
    notice_s
        Seconds from SIGTERM at a manager to its end, where the site does not say.
    print_summary
        Whether five lines about the run go to stderr at its end.
    """

    @typeguard.typechecked
    def __init__(  # noqa: PLR0913 - HighThroughputExecutor's arguments under its names
        self,
        label: str = "PCMExecutor",
        provider: ExecutionProvider | None = None,
        launch_cmd: str | None = None,
        interchange_launch_cmd: Sequence[str] | None = None,
        address: str | None = None,
        loopback_address: str = "127.0.0.1",
        worker_port: int | None = None,
        worker_port_range: tuple[int, int] | None = (54000, 55000),
        interchange_port_range: tuple[int, int] | None = (55000, 56000),
        storage_access: list[Staging] | None = None,
        working_dir: str | None = None,
        worker_debug: bool = False,
        cores_per_worker: float = 1.0,
        mem_per_worker: float | None = None,
        max_workers_per_node: int | None = None,
        cpu_affinity: str = "block",
        available_accelerators: int | Sequence[str] = (),
        prefetch_capacity: int | None = None,
        heartbeat_threshold: int = 120,
        heartbeat_period: int = 30,
        drain_period: int | None = None,
        poll_period: int = 10,
        address_probe_timeout: int | None = None,
        worker_logdir_root: str | None = None,
        manager_selector: ManagerSelector | None = None,
        block_error_handler: bool
        | Callable[[BlockProviderExecutor, dict[str, JobStatus]], None] = True,
        encrypted: bool = True,
        remote_monitoring_radio: RadioConfig | None = None,
        *,
        max_attempts: int = 3,
        notice_s: float = 10.0,
        print_summary: bool = True,
    ) -> None:
        check_arguments(cores_per_worker, max_workers_per_node, cpu_affinity, max_attempts)
        check_seconds("notice_s", notice_s)
        provider = provider or LocalProvider()
        is_local = isinstance(provider, LocalProvider)
        super().__init__(
            label=label,
            provider=provider,
            launch_cmd=launch_cmd,
            interchange_launch_cmd=interchange_launch_cmd,
            # Given an address, the base class does not probe the network for others.
            address=address or (loopback_address if is_local else None),
            loopback_address=loopback_address,
            worker_port=worker_port,
            worker_port_range=worker_port_range,
            interchange_port_range=interchange_port_range,
            storage_access=storage_access,
            working_dir=working_dir,
            worker_debug=worker_debug,
            cores_per_worker=cores_per_worker,
            mem_per_worker=mem_per_worker,
            max_workers_per_node=max_workers_per_node,
            available_accelerators=available_accelerators,
            heartbeat_threshold=heartbeat_threshold,
            heartbeat_period=heartbeat_period,
            drain_period=drain_period,
            poll_period=poll_period,
            address_probe_timeout=address_probe_timeout,
            worker_logdir_root=worker_logdir_root,
            manager_selector=manager_selector or RandomManagerSelector(),
            block_error_handler=(
                BlockErrorHandler() if block_error_handler is True else block_error_handler
            ),
            encrypted=encrypted,
            remote_monitoring_radio=remote_monitoring_radio,
        )
        self.address = address
        self.launch_cmd = launch_cmd or MANAGER_COMMAND
        self.interchange_launch_cmd = interchange_launch_cmd or INTERCHANGE_COMMAND
        self.cpu_affinity = cpu_affinity
        self.prefetch_capacity = prefetch_capacity  # type: ignore[assignment] # None: measured
        self.max_attempts = max_attempts
        self.notice_s = notice_s
        self.print_summary = print_summary
        self.accelerators_wanted = wanted_accelerators(available_accelerators)
        self.has_seen_manager = False
        """Whether a manager has ever registered: the workers' environment is fine then."""
        self._client: InterchangeClient | None = None
        self._why_not_running = f"executor {label!r} is not running: load it with parsl.load(...)"
        self._submission = Submission(default_cores=cores_per_worker)
        self._task_ids = itertools.count(1)
        self._troubles = Troubles(label)
        maps = MappedTasks(self._send, self._next_task_id)
        self._open_tasks = OpenTasks(self._tasks, maps)
        self._initial_blocks: list[str] | None = None
        self._given_provider = provider
        self._blocks: BlockControl | None = None
        self._scaling = threading.Lock()

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the interchange and the initial blocks."""
        BlockProviderExecutor.start(self)
        os.makedirs(self.logdir, exist_ok=True)
        self._end_log = log_to(Path(self.logdir) / "executor.log")
        if self.encrypted:
            self.cert_dir = os.path.abspath(curvezmq.create_certificates(self.logdir))
        client = InterchangeClient(on_message=self._on_message, on_lost=self._on_interchange_lost)
        provider = self._given_provider
        jobs = BlockJobs(provider, self.logdir, self.label)
        blocks = BlockControl(self, provider, client, jobs, self.set_bad_state_and_fail_all)
        config = interchange_config(
            self,
            # Globus Compute turns this check off in the base class.
            check_python_mismatch=self._check_python_mismatch,
            possible_nodes=blocks.possible_nodes,
            clean_command=blocks.clean_command,
        )
        ports = self.interchange_port_range or ANY_FREE_PORT
        worker_port = client.start(config, self.interchange_launch_cmd, ports)
        self.worker_port = worker_port
        self._client, self._blocks = client, blocks
        # The base class asks through this: connected_managers(), scale_in() and others.
        self.command_client = CommandClient(client)  # type: ignore[assignment]
        self._manager_config_path = write_manager_config(self, worker_port)
        # At once, not with the first turn of Parsl's strategy, 5 s from now.
        self._initial_blocks = super().scale_out_facade(self._given_provider.init_blocks)
        blocks.start()

    def scale_out_facade(self, n: int) -> list[str]:
        """Start n blocks, fewer if no more may be asked for.

        The first call of Parsl's strategy finds the initial ones started.
        """
        with self._scaling:
            if self._initial_blocks is not None and n == self._given_provider.init_blocks:
                started, self._initial_blocks = self._initial_blocks, None
                return started
            return super().scale_out_facade(n if self._blocks is None else self._blocks.limited(n))

    def _launch_block(self, block_id: str) -> Any:
        assert self._blocks is not None, "set in start()"
        job_id = self._blocks.launch(self._get_launch_command(block_id), block_id)
        if not job_id:
            raise ScalingFailed(self, "the provider gave no job id")
        return job_id

    def shutdown(self, timeout: float = 10.0) -> None:
        """End the interchange, the managers, the hosts and the blocks; open futures fail.

        Parameters
        ----------
        timeout
            Seconds that the interchange gets before it is killed.
        """
        if self._client is None or self._blocks is None:
            return
        client, self._client = self._client, None  # nobody else is to wait for its answers
        self._why_not_running = "the executor was shut down before this task ended"
        self._blocks.stop()
        client.close("the executor was shut down", timeout_s=timeout)
        self._open_tasks.fail_all(PCMError(self._why_not_running))
        self._blocks.close(is_cancelling=self.bad_state_is_set)
        BlockProviderExecutor.shutdown(self)
        self._end_log()

    def monitor_resources(self) -> bool:
        """No: Parsl's resource monitor forks around each task, which breaks CUDA."""
        return False

    # --- tasks --------------------------------------------------------------------------------

    def submit(
        self,
        func: Callable[..., Any],
        resource_specification: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> PCMFuture:
        """Run a call where its contexts are live.

        Raises
        ------
        PCMError
            At once, if the call cannot be sent or the executor is not usable any more.
        """
        self._usable_client()
        task_id = self._next_task_id()
        future = PCMFuture(task_id, self._cancel)
        receiver = args[0] if args and isinstance(args[0], MapReceiver) else None
        with self._submission.lock:
            call = self._submission.prepare(
                func, resource_specification, args, kwargs, num_left_out=int(receiver is not None)
            )
            self._tasks[task_id] = future
            try:
                self._send(*(call.first if receiver else call.numbered(task_id)))
            except InterchangeLost:
                self._tasks.pop(task_id, None)
                raise
        if receiver is not None:
            future.add_done_callback(lambda _: self._tasks.pop(task_id, None))
            self._open_tasks.maps.start(receiver, call.submit, future)
        if self.bad_state_is_set:
            self._open_tasks.fail_all(self.executor_exception)
        return future

    def submit_payload(self, context: dict[str, Any], buffer: bytes) -> HTEXFuture:
        """Run a call that its sender serialized, as HighThroughputExecutor's method does."""
        specification = context.get("resource_spec", {})
        return self.submit(run_payload, specification, buffer, context.get("task_executor"))

    def validate_resource_spec(self, resource_specification: dict[str, Any]) -> None:
        """Check the keys and values of a resource specification.

        Raises
        ------
        InvalidResourceSpecification
            Naming the keys that are wrong, and those that are allowed.
        """
        check_specification(resource_specification)

    def _usable_client(self) -> InterchangeClient:
        if self.bad_state_is_set:
            raise self.executor_exception
        if self._client is None:
            raise PCMError(self._why_not_running)
        return self._client

    def _next_task_id(self) -> TaskId:
        return TaskId(next(self._task_ids))

    def _send(self, *envelopes: Envelope) -> None:
        self._usable_client().send(*envelopes)
        assert self._blocks is not None, "set in start()"
        self._blocks.work_came()

    def _cancel(self, task_id: TaskId) -> None:
        self._tasks.pop(task_id, None)
        with contextlib.suppress(PCMError):
            self._send(Envelope(messages.CancelTask(task_id=task_id)))

    # --- what the interchange says (in the thread of the client) ------------------------------

    def _on_message(self, envelope: Envelope) -> None:
        if self._open_tasks.take(envelope):
            return
        assert self._blocks is not None, "set in start()"
        match envelope.message:
            case messages.ManagerAdmitted(num_slots=num_slots, block_id=block_id):
                self.has_seen_manager = True
                self._workers_per_node = max(num_slots, 1)
                self._blocks.manager_came(block_id)
            case messages.ManagerDeparted():
                self._blocks.manager_went()
            case messages.ManagerRefused(reason=reason):
                if not self.has_seen_manager:
                    self.set_bad_state_and_fail_all(BlocksFailed(reason))
            case messages.ContextTrouble():
                self._troubles.tell(envelope.message)
            case messages.RunSummary(text=text):
                if self.print_summary:
                    sys.stderr.write(text + "\n")
            case _:
                raise AssertionError(f"the interchange sent {envelope.message!r}")

    def _on_interchange_lost(self, error: InterchangeLost) -> None:
        self.set_bad_state_and_fail_all(error)

    def set_bad_state_and_fail_all(self, exception: Exception) -> None:
        """Let every open task and every later one fail with this exception."""
        logger.error("executor %s is not usable any more: %s", self.label, exception)
        self._executor_exception = exception
        self._executor_bad_state.set()
        self._open_tasks.fail_all(exception)

    # --- what Parsl and the user ask ----------------------------------------------------------

    def outstanding(self) -> int:
        """Return how many slots the open calls, maps and wishes for warm hosts could use now."""
        blocks = None if self._client is None else self._blocks
        return 0 if blocks is None else blocks.slots_wanted(len(self._tasks))

    # --- configuration of the other processes -------------------------------------------------

    def _get_launch_command(self, block_id: str) -> str:
        config = shlex.quote(str(self._manager_config_path))
        command = self.launch_cmd.format(config=config, block_id=block_id)
        return export(walltime_of(self._given_provider)) + block_command(command)
