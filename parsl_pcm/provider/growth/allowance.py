"""How much may be taken now: idle GPUs, less what is on its way to them, within all limits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from parsl_pcm.provider.flavours import Flavour
from parsl_pcm.provider.growth.block import Block
from parsl_pcm.provider.growth.catalogue import Catalogue
from parsl_pcm.provider.growth.demand import BlockRequest, Limits
from parsl_pcm.provider.growth.holdback import HoldBack

REQUEUE_WAIT_S = 120.0
"""A job that is started again takes no GPU before (Slurm's AuthInfo cred_expire, by default)."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a probe saw of one flavour."""

    num_idle: int
    at_s: float


@dataclass(slots=True)
class _Share:
    """GPUs of one pool, or of all."""

    num_idle: int = 0
    num_expected: int = 0
    """Idle ones that our own blocks are about to take, or have taken since the look."""
    num_ours: int = 0
    """Taken by us at the time of the look."""
    num_held: int = 0
    """Of all our blocks, those on their way included."""

    def left(self, *, max_share: float, keep_free: int) -> int:
        """Return how many more may be taken."""
        by_idle = self.num_idle - self.num_expected - keep_free
        if max_share == 1.0:
            return by_idle
        by_share = math.floor(max_share * (self.num_idle + self.num_ours) + 1e-9) - self.num_held
        return min(by_idle, by_share)


class Allowance:
    """What may still be taken; :meth:`take` counts down. Made anew for each question.

    Parameters
    ----------
    looks
        The last look at each flavour that has a probe; one without a look has nothing to give.
    holds
        How each flavour has behaved.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        limits: Limits,
        looks: Mapping[str, Look],
        holds: Mapping[str, HoldBack],
        now: float,
    ) -> None:
        self._limits = limits
        self._looks = looks
        self._holds = holds
        self._now = now
        self._num_blocks: Counter[str] = Counter()
        self._num_waiting: Counter[str] = Counter()
        pool_of = {
            flavour.name: flavour.pool
            for flavour in catalogue.flavours
            if flavour.idle_probe is not None
        }
        self._pools: dict[Hashable, _Share] = {
            pool: _Share(num_idle=looks[name].num_idle if name in looks else 0)
            for name, pool in pool_of.items()
        }
        self._pool_of = {name: self._pools[pool] for name, pool in pool_of.items()}
        """Where GPUs of a flavour count, if anybody tells what is idle."""

    @property
    def num_blocks_left(self) -> int | None:
        """How many more blocks max_blocks of all flavours together allows; None: no limit."""
        most = self._limits.max_blocks
        return None if most is None else max(most - self._num_blocks.total(), 0)

    def count(self, blocks: Iterable[Block]) -> None:
        """Take into account what is open already."""
        for block in blocks:
            self._num_blocks[block.flavour] += 1
            if block.is_waiting_for_the_first_time:
                self._num_waiting[block.flavour] += 1
            pool = self._pool_of.get(block.flavour)
            if pool is None:
                continue
            pool.num_held += block.num_gpus
            if self._had_its_gpus(block):
                pool.num_ours += block.num_gpus
            elif not _is_delayed(block, self._now):
                pool.num_expected += block.num_gpus

    def _had_its_gpus(self, block: Block) -> bool:
        look = self._looks.get(block.flavour)
        since_s = block.running_since_s
        return look is not None and since_s is not None and since_s <= look.at_s

    def take(self, flavour: Flavour, request: BlockRequest) -> bool:
        """Count one more block as taken if it may be; return whether it may."""
        if self.why_not(flavour, request.num_gpus) is not None:
            return False
        self._num_blocks[flavour.name] += 1
        self._num_waiting[flavour.name] += 1
        pool = self._pool_of.get(flavour.name)
        if pool is not None:
            pool.num_expected += request.num_gpus
            pool.num_held += request.num_gpus
        return True

    def why_not(self, flavour: Flavour, num_gpus: int) -> str | None:
        """Return what is against one more block of this size, in words; None if nothing is."""
        return (
            self._holds[flavour.name].why(self._now, num_gpus)
            or self._why_no_block(flavour)
            or self._why_no_gpu(flavour, num_gpus)
        )

    def _why_no_block(self, flavour: Flavour) -> str | None:
        if self.num_blocks_left == 0:
            return f"max_blocks={self._limits.max_blocks} is reached"
        if flavour.max_blocks is not None and self._num_blocks[flavour.name] >= flavour.max_blocks:
            return f"its max_blocks={flavour.max_blocks} is reached"
        num_waiting = self._num_waiting[flavour.name]
        if num_waiting >= self._holds[flavour.name].window:
            return f"{num_waiting} blocks of it wait to be started already"
        return None

    def _why_no_gpu(self, flavour: Flavour, num_gpus: int) -> str | None:
        pool = self._pool_of.get(flavour.name)
        if pool is None:
            return None
        if flavour.name not in self._looks:
            return "its idle GPUs have not been seen yet"
        limits = self._limits
        return _why_too_few(
            pool, num_gpus, max_share=flavour.max_share, keep_free=flavour.keep_free
        ) or _why_too_few(
            self._whole(), num_gpus, max_share=limits.max_share, keep_free=limits.keep_free
        )

    def _whole(self) -> _Share:
        """Return all pools as one; blocks that wait for one pool take nothing of another."""
        pools = self._pools.values()
        return _Share(
            num_idle=sum(pool.num_idle for pool in pools),
            num_expected=sum(min(pool.num_expected, pool.num_idle) for pool in pools),
            num_ours=sum(pool.num_ours for pool in pools),
            num_held=sum(pool.num_held for pool in pools),
        )


def _is_delayed(block: Block, now: float) -> bool:
    """Whether the site has taken it back and lets it wait before it starts it again."""
    return block.is_between_lives and now - block.waiting_since_s < REQUEUE_WAIT_S


def _why_too_few(share: _Share, num_gpus: int, *, max_share: float, keep_free: int) -> str | None:
    left = share.left(max_share=max_share, keep_free=keep_free)
    if left >= num_gpus:
        return None
    if share.num_idle == 0:
        return "no GPU is idle"
    words = [f"{share.num_idle} GPUs are idle"]
    if share.num_expected:
        words.append(f"{share.num_expected} of them for blocks that wait already")
    if keep_free:
        words.append(f"keep_free={keep_free}")
    if max_share < 1.0:
        words.append(f"max_share={max_share:g}")
    return f"{', '.join(words)}: {max(left, 0)} may be taken"
