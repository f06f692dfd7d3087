"""What growth is told of the work, what it answers, and the limits that it keeps. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from parsl_pcm.types import Requirements

LOOK_EVERY_S = 5.0
"""Between two looks at the site while there is work or a block."""
MIN_TURN_S = 1.0
"""Between two looks at the site, whatever happens: schedulers are shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one context could use now, as the interchange sees it."""

    name: str
    ways: tuple[Requirements, ...]
    """What each way to build it needs, at least one; where the first does not fit, the next..."""
    num_wanted: int
    """Hosts that it could use in total; 0: it has no open work."""
    num_hosts: int
    """Hosts that live or are being built."""
    num_warm: int = 0
    """Hosts that somebody asked to be held warm, whatever waits."""
    setup_s: float | None = None
    """Measured time to build it; None: never built yet."""
    context_key: str = ""
    """Tells contexts of one name apart; may be left out where names do."""

    @property
    def key(self) -> str:
        """What no other demand has."""
        return self.context_key or self.name


class BlockUse(msgspec.Struct, frozen=True, kw_only=True):
    """What goes on in one block, from the same moment as the demand."""

    job_id: str
    num_managers: int
    num_leases: int
    num_starting: int
    """Hosts that are being built there."""
    idle_s: float
    """Seconds since the last lease ended there; 0.0 if there are leases."""
    setup_s: float | None = None
    """Of the context warm there that took longest to build; None: nothing is warm there."""
    keep_warm_s: float = 0.0
    """It is to be kept for so long after that lease, for the sake of a host; may be infinite."""

    @property
    def is_idle(self) -> bool:
        """Whether a manager is there and has nothing to do."""
        return self.num_managers > 0 and self.num_leases == 0 and self.num_starting == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRequest:
    """A block that shall be asked for."""

    flavour: str
    num_gpus: int
    context: str | None = None
    """Key of the demand that it is meant for; None: anybody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What we take at most, and hold at least, over all flavours.

    Raises
    ------
    ValueError
        If they cannot be, or contradict each other.
    """

    max_blocks: int | None = None
    """None: as many as there are idle GPUs."""
    min_blocks: int = 0
    """Held even without work, as far as there are idle GPUs."""
    max_share: float = 1.0
    """Of the GPUs that are idle or ours, above 0 and at most 1."""
    keep_free: int = 0
    """Idle GPUs that are left to others."""

    def __post_init__(self) -> None:
        check_limits(
            "OpportunisticProvider",
            max_blocks=self.max_blocks,
            max_share=self.max_share,
            keep_free=self.keep_free,
        )
        if self.min_blocks < 0:
            raise ValueError(f"min_blocks={self.min_blocks} must be at least 0")
        if self.max_blocks is not None and self.min_blocks > self.max_blocks:
            raise ValueError(
                f"min_blocks={self.min_blocks} is above max_blocks={self.max_blocks}: raise "
                "max_blocks or lower min_blocks"
            )


def check_limits(owner: str, *, max_blocks: int | None, max_share: float, keep_free: int) -> None:
    """Refuse limits that cannot be.

    Raises
    ------
    ValueError
        With a message that begins with the owner of the limits.
    """
    if max_blocks is not None and max_blocks < 0:
        raise ValueError(
            f"{owner}: max_blocks={max_blocks} must be at least 0; None means no limit"
        )
    if not 0.0 < max_share <= 1.0:
        raise ValueError(
            f"{owner}: max_share={max_share} must be above 0 and at most 1; 0.5 means half of the "
            "GPUs that are idle or ours"
        )
    if keep_free < 0:
        raise ValueError(
            f"{owner}: keep_free={keep_free} must be at least 0: it is a number of idle GPUs that "
            "are left to others"
        )


def demand_of(row: Mapping[str, Any]) -> Demand:
    """Return what the scheduler of tasks tells of one context."""
    return Demand(
        name=row["name"],
        context_key=row["context_key"],
        ways=msgspec.convert(row["ways"], tuple[Requirements, ...]),
        num_wanted=row["num_wanted"],
        num_hosts=row["num_hosts"],
        num_warm=row["num_warm"],
        setup_s=row["setup_s"],
    )


def use_of(job_id: str, row: Mapping[str, Any]) -> BlockUse:
    """Return what the scheduler of tasks tells of the block of a job."""
    return BlockUse(
        job_id=job_id,
        num_managers=row["num_managers"],
        num_leases=row["num_leases"],
        num_starting=row["num_starting"],
        idle_s=row["idle_s"],
        setup_s=row["setup_s"],
        keep_warm_s=row["keep_warm_s"],
    )
