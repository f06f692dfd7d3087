"""Which blocks to give back, and why."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence

from parsl_pcm.provider.growth.block import Block
from parsl_pcm.provider.growth.catalogue import Catalogue
from parsl_pcm.provider.growth.demand import BlockUse, Demand
from parsl_pcm.provider.schedulers.observations import JobPhase

KEEP_WARM_S = 30.0
"""At least: a person at a notebook, or the next stage of a workflow, comes back within that."""
CANCEL_AGAIN_S = 30.0
"""A block that is still there so long after it was cancelled is cancelled again."""
UNNEEDED_S = 5.0
"""A waiting block is cancelled when nobody has needed it for so long: demand flickers."""
USELESS_S = 10.0
"""A manager that did not get a host in this time, though one is wanted, cannot serve it."""
MANAGERLESS_S = 60.0
"""A job that runs on without a manager for so long serves nobody; a site that takes a node back
shows it in the state of the job well before."""


class Why(enum.Enum):
    """Reasons to give a block back."""

    UNNEEDED = "waits, and nobody needs it any more"
    IDLE = "idle for longer than loading again would take"
    TAIL = "idle, and nothing is left for it to do"
    OVER = "loads, though there has been no work for as long as an idle block is kept"
    USELESS = "idle though work waits that it should be able to do"
    REPLACED = "waits to be started again, and another was asked for meanwhile"
    EMPTY = "runs without a manager"


class Idleness:
    """Judges blocks that have a manager and nothing to do.

    Parameters
    ----------
    demands
        Contexts with open work.
    keep_warm_s
        None: as long as loading again would take. To keep a thing for as long as getting it
        again would cost costs at most twice what knowing the future would: the ski-rental rule
        (Karlin et al., "Competitive snoopy caching", Algorithmica 3, 1988).
    is_tail_over
        Whether blocks that were given back in a tail had to be asked for again.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        demands: Sequence[Demand],
        *,
        keep_warm_s: float | None,
        is_tail_over: bool,
    ) -> None:
        self._catalogue = catalogue
        self._demands = demands
        self._keep_warm_s = keep_warm_s
        self._is_tail_over = is_tail_over
        self._has_work = any(d.num_wanted > d.num_warm for d in demands)
        """More than the hosts do that are held warm anyway."""
        self._num_spare = {d.key: d.num_hosts - d.num_wanted for d in demands}

    def judge(self, block: Block, use: BlockUse) -> Why | None:
        """Return why the block should go; None if it should stay. Spare hosts count down."""
        if use.idle_s < use.keep_warm_s:
            return None
        served = self._served(block)
        is_cold = use.idle_s >= self.keep_warm_s(use.setup_s)
        if not self._has_work:
            return Why.IDLE if is_cold else None
        if any(self._num_spare[demand.key] < 0 for demand, _ in served):
            return Why.USELESS if use.idle_s >= USELESS_S else None
        is_spare = all(self._num_spare[demand.key] >= num_hosts for demand, num_hosts in served)
        if is_spare and not (served and self._is_tail_over):
            for demand, num_hosts in served:
                self._num_spare[demand.key] -= num_hosts
            return Why.TAIL
        return Why.IDLE if is_cold else None

    def judge_loading(self, use: BlockUse, over_s: float) -> Why | None:
        """Return why a block that is not idle should go when there is no work for so long."""
        if use.num_managers == 0 or use.num_leases > 0:
            return None
        is_cold = over_s >= max(use.keep_warm_s, self.keep_warm_s(use.setup_s))
        return Why.OVER if is_cold else None

    def keep_warm_s(self, setup_s: float | None) -> float:
        """Return for how long an idle block is kept."""
        if self._keep_warm_s is not None:
            return self._keep_warm_s
        return max(KEEP_WARM_S, setup_s or 0.0)

    def _served(self, block: Block) -> list[tuple[Demand, int]]:
        hosts = self._catalogue.hosts_per_block
        served = [(each, hosts(block.flavour, each)) for each in self._demands]
        return [(demand, num_hosts) for demand, num_hosts in served if num_hosts]


def find_surplus(
    blocks: Iterable[Block],
    uses: Mapping[str, BlockUse],
    idleness: Idleness,
    *,
    over_s: float | None,
    now: float,
) -> list[tuple[Block, Why]]:
    """Return the blocks that should go, those first that are missed least.

    Parameters
    ----------
    over_s
        For how long there has been no open work; None: there is some.
    """
    found = []
    idle = []
    for block in blocks:
        use = uses.get(block.job_id)
        if use is not None and use.is_idle:
            idle.append((block, use))
            continue
        why = _judge_without_idleness(block, idleness, over_s=over_s, now=now)
        if why is None and use is not None and over_s is not None:
            why = idleness.judge_loading(use, over_s)
        if why is not None:
            found.append((block, why))
    for block, use in sorted(idle, key=_longest_idle_first):
        why = idleness.judge(block, use)
        if why is not None:
            found.append((block, why))
    return found


def _judge_without_idleness(
    block: Block, idleness: Idleness, *, over_s: float | None, now: float
) -> Why | None:
    if block.is_replaced and block.is_between_lives:
        return Why.REPLACED
    since_s = block.managerless_since_s
    if since_s is not None and block.phase is JobPhase.RUNNING and now - since_s >= MANAGERLESS_S:
        return Why.EMPTY
    if not block.is_coming or not block.was_needed or block.unneeded_since_s is None:
        return None
    patience_s = UNNEEDED_S
    if block.phase is JobPhase.RUNNING and over_s is not None:
        patience_s = max(UNNEEDED_S, idleness.keep_warm_s(None))
    return Why.UNNEEDED if now - block.unneeded_since_s >= patience_s else None


def _longest_idle_first(pair: tuple[Block, BlockUse]) -> tuple[float, str]:
    block, use = pair
    return (-use.idle_s, block.job_id)
