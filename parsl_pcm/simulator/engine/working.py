"""Pieces at hosts in virtual time: when they begin and end, and what is said of them.

What happens at a host between two reports is not planned: a piece is known to the host when it
leaves the central process, with the time of its arrival, and a host catches up whenever something
reaches or leaves it. So a piece costs one plan, that of its report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from parsl_pcm.core import events
from parsl_pcm.core.actions import SendPiece
from parsl_pcm.simulator.engine.files import Files
from parsl_pcm.simulator.engine.parts import Held, TaskTruth, VirtualHost
from parsl_pcm.simulator.engine.timeline import Timeline
from parsl_pcm.simulator.scenario import Keeps
from parsl_pcm.types import LeaseId


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """What all that happens stands on."""

    time: Timeline
    """Where what takes time is planned."""
    random: Random
    """For how long builds take."""
    latency_s: float
    """Of a message, each way."""
    say: Callable[[events.Event], object]
    """Tells the scheduler."""


class Working:
    """The pieces of all hosts."""

    def __init__(self, world: World, files: Files) -> None:
        self._time = world.time
        self._random = world.random
        self._latency_s = world.latency_s
        self._say = world.say
        self._files = files

    def take(self, host: VirtualHost, order: SendPiece, task: TaskTruth, at: float) -> None:
        """Let a host have one more piece, from that time on."""
        host.held.append(Held(order.lease_id, order.start, order.stop, task, at))
        if host.num_running:
            self.catch_up(host)
        if host.num_running < host.way.requirements.max_concurrency:
            self._begin_next(host, at)

    def give_back(self, host: VirtualHost, lease_id: LeaseId) -> None:
        """Let a host give up a piece, unless it has begun."""
        self.catch_up(host)
        for held in host.held[host.num_running :]:
            if held.lease_id == lease_id:
                host.held.remove(held)
                self._tell_later(host, events.LeaseRevoked(lease_id=lease_id))

    def catch_up(self, host: VirtualHost) -> None:
        """Let pieces end that have ended by now, and others begin in their place."""
        now = self._time.now
        while host.num_running:
            held = host.held
            first = held[0] if host.num_running == 1 else min(held[: host.num_running], key=_end_of)
            if first.ends_at > now:
                return
            held.remove(first)
            host.num_running -= 1
            self._begin_next(host, first.ends_at)

    def _begin_next(self, host: VirtualHost, at: float) -> None:
        """Let the next piece that waits begin then, or when it arrives."""
        if host.num_running == len(host.held):
            return
        held = host.held[host.num_running]
        host.num_running += 1
        begins_at = max(at, held.arrives_at)
        if host.model.keeps is Keeps.CONTEXT:
            self._run(host, held, begins_at, 0.0)
        else:
            self._time.at(begins_at, partial(self._build_for, host, held, begins_at))

    # --- hosts that keep no context -----------------------------------------------------------

    def _build_for(self, host: VirtualHost, held: Held, began_at: float) -> None:
        if not host.is_gone:
            keeps_files = host.model.keeps is Keeps.FILES
            bring = self._files.bring if keeps_files else self._files.bring_again
            bring(host, partial(self._build, host, held, began_at, self._time.now))

    def _build(self, host: VirtualHost, held: Held, began_at: float, asked_at: float) -> None:
        if not host.is_gone:
            lead_s = self._time.now - asked_at + host.draw_setup_s(self._random)
            held.task.tally.built_in_pieces_s += lead_s
            self._run(host, held, began_at, lead_s)

    # --- what is said of them -----------------------------------------------------------------

    def _run(self, host: VirtualHost, held: Held, began_at: float, lead_s: float) -> None:
        """Plan the end of a piece, whose items begin so long after it."""
        run_s = lead_s + host.run_s(held, began_at + lead_s)
        host.busy_s += run_s
        held.ends_at = began_at + run_s
        if host.node.is_yielding:
            self._plan_item(host, held, run_s, held.start)
            return
        done = events.PieceFinished(
            lease_id=held.lease_id, start=held.start, stop=held.stop, run_s=run_s
        )
        told_at = began_at + (run_s + self._latency_s)
        self._time.at(told_at, partial(self._tell, host, done))

    def _plan_item(self, host: VirtualHost, held: Held, run_s: float, item: int) -> None:
        """Plan the report of one item of a piece; the next one follows it."""
        size = held.stop - held.start
        began_at = held.ends_at - run_s
        told_at = began_at + (run_s * (item + 1 - held.start) / size + self._latency_s)
        self._time.at(told_at, partial(self._tell_item, host, held, run_s, item))

    def _tell_item(self, host: VirtualHost, held: Held, run_s: float, item: int) -> None:
        if item + 1 < held.stop:
            self._plan_item(host, held, run_s, item + 1)
        item_s = run_s / (held.stop - held.start)
        done = events.PieceFinished(lease_id=held.lease_id, start=item, stop=item + 1, run_s=item_s)
        self._tell(host, done)

    def _tell_later(self, host: VirtualHost, event: events.Event) -> None:
        self._time.after(self._latency_s, partial(self._tell, host, event))

    def _tell(self, host: VirtualHost, event: events.Event) -> None:
        """Let arrive what a host said, if that was before it went."""
        if self._time.now <= host.heard_until:
            if not host.is_gone:
                self.catch_up(host)
            self._say(event)


def _end_of(held: Held) -> float:
    return held.ends_at
