"""Growth: which blocks to ask for, which to give back, when to hold back. Pure.

What happened goes in, questions are answered from it and change nothing. The flow: work that
lacks hosts (``needs.py``) asks the flavours that serve it, the best first (``catalogue.py``), as
far as idle GPUs and limits allow (``allowance.py``) and what became of earlier blocks
(``history.py``, ``holdback.py``) gives no reason to wait. What is over goes back (``surplus.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from parsl_pcm.provider.flavours import Flavour
from parsl_pcm.provider.growth.allowance import Allowance
from parsl_pcm.provider.growth.block import Block, note_use
from parsl_pcm.provider.growth.catalogue import Catalogue
from parsl_pcm.provider.growth.demand import BlockRequest, BlockUse, Demand, Limits
from parsl_pcm.provider.growth.history import History
from parsl_pcm.provider.growth.needs import Needs
from parsl_pcm.provider.growth.surplus import CANCEL_AGAIN_S, Idleness, Why, find_surplus
from parsl_pcm.types import Requirements


class Growth(History):
    """Decides over the blocks of a run. Same history at the same times, same answers.

    Not safe to use from several threads at once. What happened is told by the methods of
    :class:`History` and by :meth:`saw_demand` and :meth:`given_back`; all others are questions.

    Parameters
    ----------
    keep_warm_s
        An idle block is given back after so long while there is no open work. None: after as long
        as it takes to load its contexts again, at least 30 s.
    """

    def __init__(
        self, flavours: Sequence[Flavour], limits: Limits, *, keep_warm_s: float | None = None
    ) -> None:
        super().__init__(flavours)
        self._catalogue = Catalogue(flavours)
        self._limits = limits
        self._keep_warm_s = keep_warm_s
        self._demands: tuple[Demand, ...] | None = None
        self._uses: dict[str, BlockUse] = {}
        self._over_since_s: float | None = None
        """Since when there has been no open work; None: there is some."""
        self._last_tail_s: float | None = None
        """When a block was last given back since nothing seemed to be left for it to do."""
        self._is_tail_over = False
        """It came to be missed."""

    # --- what happened ------------------------------------------------------------------------

    def saw_demand(
        self, demands: Sequence[Demand] | None, uses: Sequence[BlockUse], now: float
    ) -> None:
        """Take in a snapshot of the work and of all blocks with managers, both of one moment.

        Parameters
        ----------
        demands
            None: unknown (an executor without contexts), so whatever limits allow is wanted.
        """
        self._demands = None if demands is None else tuple(demands)
        self._uses = {use.job_id: use for use in uses}
        if self._open_demands():
            self._over_since_s = None
        elif self._over_since_s is None:
            self._over_since_s = now
        setups = [*(each.setup_s for each in demands or ()), *(use.setup_s for use in uses)]
        self._setup_s = max((setup_s for setup_s in setups if setup_s is not None), default=0.0)
        for block in self._blocks.values():
            self._note_use(block, now)
        self._note_needs(now)
        self._note_regret(now)

    def given_back(self, job_id: str, now: float) -> None:
        """Take in that the scheduler was asked to cancel a block, for whatever reason."""
        block = self._blocks.get(job_id)
        if block is None:
            return
        block.given_back_s = now
        use = self._uses.get(job_id)
        why = self._idleness().judge(block, use) if use is not None and use.is_idle else None
        if why is Why.USELESS:
            self._holds[block.flavour].futility.set_back(now)
        elif why is Why.TAIL:
            self._last_tail_s = now

    # --- questions: asking for more -----------------------------------------------------------

    def wanted(self, now: float) -> list[BlockRequest]:
        """Return the blocks to ask for now, the most useful first."""
        return self._plan(self._allowance(now), self._lack(now))

    def room(self, now: float) -> int:
        """Return how many blocks are wanted now."""
        return len(self.wanted(now))

    def any_block(self, now: float) -> BlockRequest | None:
        """Return the best block for one who wants a block now, needed or not; None: no room."""
        wanted = self.wanted(now)
        return wanted[0] if wanted else self._best(self._allowance(now))

    def hosts_to_come(self, ways: tuple[Requirements, ...], num_blocks: int) -> int | None:
        """Return how many hosts of a context could come with blocks besides so many, at most.

        None: no limit is set.
        """
        demand = Demand(name="", ways=ways, num_wanted=0, num_hosts=0)
        flavours = self._catalogue.best_first(demand)
        if not flavours:
            return 0
        limits = [flavour.max_blocks for flavour in flavours]
        most = self._limits.max_blocks
        if None not in limits:
            of_all = sum(limit or 0 for limit in limits)
            most = of_all if most is None else min(most, of_all)
        if most is None:
            return None
        hosts = [self._catalogue.hosts_per_block(flavour.name, demand) for flavour in flavours]
        return max(most - num_blocks, 0) * max(hosts)

    def waiting_for(self, now: float) -> str:
        """Return in a sentence what is lacking and why it is not asked for; "" if all is well."""
        allowance, needs = self._allowance(now), self._lack(now)
        requests = self._plan(allowance, needs)
        if self._demands is None:
            return "" if requests else f"no block may be asked for: {self._whys(allowance, None)}"
        if not needs.lacking:
            return ""
        demand = needs.lacking[0]
        num_hosts = needs.num_missing(demand)
        return f"{demand.name} could use {num_hosts} more hosts: {self._whys(allowance, demand)}"

    def reason_to_give_up(self) -> str | None:
        """Return why no block will ever serve the open work, if so; None while there is hope."""
        useful = [each.name for each in self._catalogue.flavours if self._is_useful(each)]
        is_over = bool(useful) and all(self._is_hopeless(name) for name in useful)
        if self._has_ever_registered or not is_over:
            return None
        return "no manager has ever registered.\n" + "\n".join(map(self._epitaph, useful))

    # --- questions: giving back ---------------------------------------------------------------

    def to_give_back(self, now: float) -> list[str]:
        """Return the jobs to cancel now; one that outlives its cancelling is named again."""
        again = [
            block.job_id
            for block in self._blocks.values()
            if block.given_back_s is not None and now - block.given_back_s >= CANCEL_AGAIN_S
        ]
        if self._demands is None:
            return again
        kept = [block for block in self._blocks.values() if not block.is_given_back]
        over_s = None if self._over_since_s is None else now - self._over_since_s
        surplus = find_surplus(kept, self._uses, self._idleness(), over_s=over_s, now=now)
        empty = [block.job_id for block, why in surplus if why is Why.EMPTY]
        others = [block.job_id for block, why in surplus if why is not Why.EMPTY]
        num_others = max(len(kept) - len(empty) - self._limits.min_blocks, 0)
        return [*again, *empty, *others[:num_others], *self._in_the_way(now)]

    def _in_the_way(self, now: float) -> list[str]:
        """Return waiting blocks in whose place another would get an idle GPU at once."""
        stuck = [each for each in self._blocks.values() if each.is_coming and each.is_stuck(now)]
        if not stuck:
            return []
        num_going = sum(block.is_given_back for block in self._blocks.values())
        unlimited = self._allowance(now, replace(self._limits, max_blocks=None))
        num_left = self._allowance(now).num_blocks_left
        forbidden = [] if num_left is None else self._plan(unlimited, self._lack(now))[num_left:]
        found = []
        for request in forbidden[num_going:]:
            victim = next((each for each in stuck if _may_make_way(each, request)), None)
            if victim is not None:
                stuck.remove(victim)
                found.append(victim.job_id)
        return found

    # --- learning from demand -----------------------------------------------------------------

    def _note_use(self, block: Block, now: float) -> None:
        use = self._uses.get(block.job_id)
        has_manager = use is not None and use.num_managers > 0
        if use is not None and has_manager:
            self.manager_registered(block.job_id, now)
            if not use.is_idle:
                self._holds[block.flavour].futility.clear()
        if use is not None and use.setup_s is not None:  # a context is warm there
            self._note_worth(block)
        note_use(block, has_manager=has_manager, now=now)

    def _note_needs(self, now: float) -> None:
        """Note which of the blocks on their way nobody needs any more."""
        coming = [block for block in self._blocks.values() if block.is_coming]
        needed = Needs(self._catalogue, self._demands or ()).supply(coming, now)
        for block in coming:
            if block.job_id in needed:
                block.was_needed = True
                block.unneeded_since_s = None
            elif block.unneeded_since_s is None:
                block.unneeded_since_s = now

    def _note_regret(self, now: float) -> None:
        """Note if what looked like the end of the work was a lull: then blocks are kept warm.

        A workflow in waves has a tail in each of them.
        """
        if self._last_tail_s is None or not self._lack(now).lacking:
            return
        if now - self._last_tail_s <= self._idleness().keep_warm_s(self._setup_s):
            self._is_tail_over = True

    # --- planning -----------------------------------------------------------------------------

    def _open_demands(self) -> list[Demand]:
        return [demand for demand in self._demands or () if demand.num_wanted > 0]

    def _idleness(self) -> Idleness:
        return Idleness(
            self._catalogue,
            self._open_demands(),
            keep_warm_s=self._keep_warm_s,
            is_tail_over=self._is_tail_over,
        )

    def _lack(self, now: float) -> Needs:
        """Return what is needed beyond the blocks that are surely on their way."""
        needs = Needs(self._catalogue, self._demands or ())
        coming = (block for block in self._blocks.values() if block.is_coming)
        needs.supply((block for block in coming if not block.is_stuck(now)), now)
        return needs

    def _allowance(self, now: float, limits: Limits | None = None) -> Allowance:
        allowance = Allowance(
            self._catalogue, limits or self._limits, self._looks, self._holds, now
        )
        allowance.count(self._blocks.values())
        return allowance

    def _plan(self, allowance: Allowance, needs: Needs) -> list[BlockRequest]:
        """Return requests within the allowance; both count down."""
        requests: list[BlockRequest] = []
        for demand in needs.lacking:
            for flavour in self._catalogue.best_first(demand):
                num_hosts = self._catalogue.hosts_per_block(flavour.name, demand)
                request = self._catalogue.request_for(flavour, demand)
                while needs.num_missing(demand) and allowance.take(flavour, request):
                    needs.get(demand, num_hosts)
                    requests.append(request)
        num_kept = sum(not block.is_given_back for block in self._blocks.values())
        is_unknown = self._demands is None
        while is_unknown or num_kept + len(requests) < self._limits.min_blocks:
            best = self._best(allowance)
            if best is None:
                break
            requests.append(best)
        return requests

    def _best(self, allowance: Allowance) -> BlockRequest | None:
        """Take a block for anybody."""
        for flavour in self._catalogue.best_first(None):
            request = self._catalogue.request_for(flavour, None)
            if allowance.take(flavour, request):
                return request
        return None

    def _whys(self, allowance: Allowance, demand: Demand | None) -> str:
        """Return what is against a block of each flavour that would do."""
        flavours = self._catalogue.best_first(demand)
        if not flavours:
            return "no flavour has nodes that are large enough, or GPUs that are new enough"
        size = self._catalogue.request_for
        whys = [
            f"{flavour.name}: {allowance.why_not(flavour, size(flavour, demand).num_gpus)}"
            for flavour in flavours
        ]
        return "; ".join(whys)

    def _is_useful(self, flavour: Flavour) -> bool:
        """Whether it could serve work that is open."""
        if self._demands is None:
            return True
        hosts = self._catalogue.hosts_per_block
        return any(hosts(flavour.name, each) for each in self._open_demands())


def _may_make_way(block: Block, request: BlockRequest) -> bool:
    """Whether it is better to wait for the request than for the block.

    One of the same flavour would wait just as long, unless the site holds the block itself back.
    """
    return block.flavour != request.flavour or block.num_restarts > 0
