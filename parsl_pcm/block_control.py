"""The blocks of an executor: asked for, watched and given back, up to the last job in the queue."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from parsl.jobs.states import TERMINAL_STATES, JobState, JobStatus
from parsl.providers.base import ExecutionProvider

from parsl_pcm.block_jobs import BlockJobs
from parsl_pcm.client import InterchangeClient
from parsl_pcm.elasticity import Elasticity
from parsl_pcm.errors import InterchangeLost
from parsl_pcm.provider.leftovers.ledger import cleaning_command
from parsl_pcm.provider.opportunistic import OpportunisticProvider
from parsl_pcm.slots import slots_wanted
from parsl_pcm.types import BlockId, NodeResources, Requirements
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import AnyMessage

ANSWER_TIMEOUT_S = 10.0
"""An interchange answers in milliseconds; Parsl's strategy, which asks, serves all executors."""


class BlockExecutor(Protocol):
    """What is used of Parsl's BlockProviderExecutor."""

    blocks_to_job_id: dict[str, Any]
    job_ids_to_block: dict[Any, str]
    cores_per_worker: float
    _status: dict[str, JobStatus]
    _simulated_status: dict[str, JobStatus]

    @property
    def workers_per_node(self) -> int | float:
        """Slots of a node."""
        ...

    def scale_out_facade(self, n: int) -> list[str]:
        """Ask for n blocks."""
        ...

    def send_monitoring_info(self, status: dict[str, JobStatus]) -> None:
        """Tell Parsl's monitoring what has become of blocks."""
        ...

    def _hold_block(self, block_id: str) -> None: ...


class BlockControl:
    """The blocks of one executor, from its start to its shutdown.

    Implements :class:`parsl_pcm.elasticity.Blocks`.

    Parameters
    ----------
    client
        Not started yet.
    jobs
        Of this executor; closed here.
    on_failure
        Called if blocks cannot be asked for any more because of an error of ours.
    """

    def __init__(
        self,
        executor: BlockExecutor,
        provider: ExecutionProvider,
        client: InterchangeClient,
        jobs: BlockJobs,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._executor = executor
        self._provider = provider
        self._client = client
        self._jobs = jobs
        self._opportunist: OpportunisticProvider | None = None
        self._elasticity: Elasticity | None = None
        if isinstance(provider, OpportunisticProvider):
            self._opportunist = provider
            self._elasticity = Elasticity(self, provider, on_failure)

    # --- for the executor ---------------------------------------------------------------------

    @property
    def clean_command(self) -> tuple[str, ...]:
        """What cancels the jobs that are left if this process dies; empty if there can be none."""
        return cleaning_command(self._jobs.ledger.path) if self._jobs.has_queue else ()

    @property
    def possible_nodes(self) -> tuple[NodeResources, ...]:
        """What the provider could bring; empty if it does not tell."""
        return () if self._opportunist is None else self._opportunist.possible_nodes()

    def start(self) -> None:
        """Begin to grow and shrink, if the provider is one that wants to be driven."""
        if self._elasticity is not None:
            self._elasticity.start()

    def launch(self, command: str, block_id: str) -> object:
        """Submit the job of a block; raises whatever the provider raises."""
        return self._jobs.submit(command, block_id)

    def limited(self, num_blocks: int) -> int:
        """Return how many of so many blocks may be asked for now."""
        return (
            num_blocks if self._opportunist is None else min(num_blocks, self._opportunist.room())
        )

    def slots_wanted(self, num_futures: int) -> int:
        """Return how many slots so many open futures could use now, and wishes for warm hosts.

        As many as there are futures, if the interchange does not answer.
        """
        if self._client.is_own_thread:  # whose answers would come through it
            return num_futures
        try:
            demands = self._client.ask("DEMAND", timeout_s=ANSWER_TIMEOUT_S)["contexts"]
        except (InterchangeLost, TimeoutError):
            return num_futures
        if num_futures == 0:
            demands = [each for each in demands if each["num_warm"]]
            if not demands:
                return 0
        executor = self._executor
        num_blocks = sum(not each.terminal for each in executor._status.values())
        return slots_wanted(
            demands,
            num_slots=int(num_blocks * executor.workers_per_node * self._provider.nodes_per_block),
            cores_per_slot=executor.cores_per_worker,
        )

    def hosts_to_come(
        self, ways: Sequence[Requirements], hosts_on_nodes: Sequence[int], num_blocks: int
    ) -> int | None:
        """Return how many hosts of a context nodes could hold that are not there yet, at most.

        Parameters
        ----------
        ways
            To build the context.
        hosts_on_nodes
            How many of it each node could hold that is there.
        num_blocks
            Of those nodes.

        Returns
        -------
        int | None
            None: nobody knows yet.
        """
        if self._opportunist is not None:
            return self._opportunist.hosts_to_come(ways, num_blocks)
        most_nodes = self._provider.max_blocks * self._provider.nodes_per_block
        num_nodes = most_nodes - len(hosts_on_nodes)
        if num_nodes <= 0:
            return 0
        return num_nodes * max(hosts_on_nodes) if hosts_on_nodes else None

    def work_came(self) -> None:
        """Take note that there may be more to do than there was."""
        if self._elasticity is not None:
            self._elasticity.work_came()

    def manager_came(self, block_id: BlockId) -> None:
        """Take note that a manager of a block registered."""
        job_id = self.job_of_block(block_id)
        if self._opportunist is not None and job_id is not None:
            self._opportunist.manager_registered(job_id)

    def manager_went(self) -> None:
        """Take note that a manager is gone, or about to be: the site can tell more."""
        if self._elasticity is not None:
            self._elasticity.wake()

    def stop(self) -> None:
        """Ask for no more blocks."""
        if self._elasticity is not None:
            self._elasticity.stop()

    def close(self, *, is_cancelling: bool) -> None:
        """Leave no job behind.

        Parameters
        ----------
        is_cancelling
            Whether the blocks are to be cancelled first; Parsl does so itself, but not for an
            executor in a bad state.
        """
        if is_cancelling:
            status = self._executor._status
            ended = {block for block, each in status.items() if each.state in TERMINAL_STATES}
            to_job = self._executor.blocks_to_job_id.items()
            with contextlib.suppress(Exception):  # one more failure must not stop the shutdown
                self._provider.cancel([job for block, job in to_job if block not in ended])
        self._jobs.close()

    # --- for the thread that makes them more or fewer -----------------------------------------

    def block_of_job(self, job_id: str) -> BlockId | None:
        """Return the block of a job; None if it is not known (yet)."""
        block_id = self._executor.job_ids_to_block.get(job_id)
        return None if block_id is None else BlockId(block_id)

    def job_of_block(self, block_id: BlockId) -> str | None:
        """Return the job of a block; None if there is none."""
        return self._executor.blocks_to_job_id.get(block_id)

    def ask_demand(self) -> Any:
        """Return the interchange's answer to ``DEMAND``."""
        return self._client.ask("DEMAND")

    def tell_interchange(self, message: AnyMessage) -> None:
        """Send a message."""
        self._client.send(Envelope(message))

    def scale_out_facade(self, n: int) -> Sequence[str]:
        """Ask for n blocks."""
        return self._executor.scale_out_facade(n)

    def give_back(self, block_ids: Sequence[BlockId]) -> None:
        """Let blocks take nothing new, then cancel their jobs; what runs there may finish."""
        executor = self._executor
        for block_id in block_ids:
            executor._hold_block(block_id)
        taken = self._provider.cancel([executor.blocks_to_job_id[each] for each in block_ids])
        ended: dict[str, JobStatus] = {
            block_id: JobStatus(JobState.SCALED_IN)
            for block_id, is_taken in zip(block_ids, taken, strict=True)
            if is_taken
        }
        executor._status.update(ended)
        executor._simulated_status.update(ended)
        executor.send_monitoring_info(ended)

    def job_ended(self, job_id: str) -> None:
        """Take note that a job will never run again."""
        self._jobs.ledger.ended(job_id)
