"""How many pieces a host of a highly concurrent context should hold: learned from its throughput.

An engine with ``max_concurrency=256`` may be saturated by 64 pieces; with more it is no faster, and
what it holds is lost with it and cannot go elsewhere. So a host begins with a few places, and gets
twice as many while that makes it clearly faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parsl_pcm.core.records import HostRecord

FIRST_PLACES = 16
"""Places at first; a context with no more than these gets all of them at once."""
MIN_GAIN = 1.1
"""Twice as many places must make a host so many times as fast."""
NUM_SETTLING = 1
"""Pieces for each place that are done before a measurement: they began with other numbers."""
NUM_MEASURED = 1
"""Pieces for each place that are done during a measurement."""
TRY_AGAIN_S = 60.0
"""More places are tried so long after they did not help: the work may have changed."""


@dataclass(slots=True, eq=False)
class InFlight:
    """What a host's present number of places is worth; measured while all of them are taken."""

    fewer_rate: float | None = None
    """Items a second with half as many places; None: not measured."""
    num_pieces: int = 0
    """Pieces done since all places have been taken without a break."""
    num_items: int = 0
    """Items done since the measurement began."""
    began_at: float = 0.0
    try_at: float = 0.0
    """When it is measured whether more places help."""

    def begin_again(self) -> None:
        """Forget what was measured of the present number of places."""
        self.num_pieces = self.num_items = 0


def is_learned(host: HostRecord) -> bool:
    """Whether a host begins with fewer places than it may have."""
    return host.requirements.max_concurrency > FIRST_PLACES


def first_places(host: HostRecord) -> int:
    """Return how many places a new host gets: what such hosts have learned, or a few."""
    learned = host.context.places.get(host.device_kind, FIRST_PLACES)
    return min(host.requirements.max_concurrency, learned)


def observe(host: HostRecord, num_items: int, now: float, *, is_end: bool) -> None:
    """Take in that a host has done so many items; before the lease is advanced.

    Parameters
    ----------
    host, num_items
        Who did how many.
    now
        The present.
    is_end
        Whether a piece ends with them.
    """
    if not is_learned(host) or now < host.in_flight.try_at:
        return
    state, places = host.in_flight, host.num_places
    if host.load < places:
        state.begin_again()
        return
    if state.num_pieces >= NUM_SETTLING * places:
        state.num_items += num_items
    state.num_pieces += is_end
    if is_end and state.num_pieces == NUM_SETTLING * places:
        state.began_at = now
    elif state.num_pieces >= (NUM_SETTLING + NUM_MEASURED) * places and now > state.began_at:
        _judge(host, state.num_items / (now - state.began_at), now)


def _judge(host: HostRecord, rate: float, now: float) -> None:
    """Go on with twice the places if they were worth it so far, else back to half."""
    state, context = host.in_flight, host.context
    state.begin_again()
    is_worth_it = state.fewer_rate is None or rate >= MIN_GAIN * state.fewer_rate
    most = host.requirements.max_concurrency
    if not is_worth_it:
        _set_places(host, max(FIRST_PLACES, host.num_places // 2))
    context.places[host.device_kind] = host.num_places
    if is_worth_it and host.num_places < most:
        state.fewer_rate = rate
        _set_places(host, min(most, 2 * host.num_places))
    else:
        state.fewer_rate = None
        state.try_at = now + TRY_AGAIN_S


def _set_places(host: HostRecord, num_places: int) -> None:
    host.num_places = num_places
    if host.host_id in host.context.loads:
        host.context.loads.put(host)
