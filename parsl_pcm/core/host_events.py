"""What becomes of hosts: ready, measured, asleep, awake, failed, gone.

A set-up that fails puts its node into quarantine for that context; whether it is the recipe that is
bad is judged in ``endings.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parsl_pcm.core import events
from parsl_pcm.core.blame import Explanation
from parsl_pcm.core.cluster import Cluster
from parsl_pcm.core.departures import Departures
from parsl_pcm.core.dispatch import Dispatcher
from parsl_pcm.core.endings import Endings
from parsl_pcm.core.explain import (
    explain_deaths,
    explain_no_sleep,
    explain_no_wake,
    explain_overdrawn,
    explain_quarantine,
)
from parsl_pcm.core.memory import NOTHING_HELD, Held
from parsl_pcm.core.quarantine import gist
from parsl_pcm.core.records import ContextRecord, HostRecord, LeaseRecord
from parsl_pcm.core.timers import TimerKind, Timers
from parsl_pcm.core.transitions import HostState, ManagerState

DEATHS_TOLD = 3
"""The user is told of a context each time that so many of its hosts have died at work."""


class HostEvents:
    """The handlers of what hosts report, and of their end.

    Parameters
    ----------
    cluster, dispatcher, endings, departures, timers
        The state of the run, and who else changes it.
    max_attempts
        So many hosts killed while they build a context are a failed set-up.
    """

    def __init__(
        self,
        cluster: Cluster,
        dispatcher: Dispatcher,
        endings: Endings,
        departures: Departures,
        timers: Timers,
        *,
        max_attempts: int,
    ) -> None:
        self._cluster = cluster
        self._dispatcher = dispatcher
        self._placement = dispatcher.placement
        self._endings = endings
        self._departures = departures
        self._timers = timers
        self._troubles = endings.troubles
        self._max_attempts = max_attempts

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """Return who handles which event."""
        return {
            events.HostReady: self._on_host_ready,
            events.HostMeasured: self._on_host_measured,
            events.HostAsleep: self._on_host_asleep,
            events.HostAwake: self._on_host_awake,
            events.SleepFailed: self._on_sleep_failed,
            events.SetupFailed: self._on_setup_failed,
            events.HostExited: self._on_host_exited,
        }

    def _host(self, event: Any, *states: HostState) -> HostRecord | None:
        """Return the host of an event; None if it is gone, or in none of these states."""
        host = self._cluster.hosts.get(event.host_id)
        return host if host is not None and host.state in states else None

    # --- life ---------------------------------------------------------------------------------

    def _on_host_ready(self, event: events.HostReady) -> None:
        host = self._host(event, HostState.STARTING)
        if host is not None:
            host.context.setup_s.add(event.setup_s)
            self._measure(host, Held(event.gpu_memory_bytes, event.host_memory_bytes))
            self._cluster.host_ready(host, self._cluster.now)
            self._put_to_work(host)

    def _on_host_awake(self, event: events.HostAwake) -> None:
        host = self._host(event, HostState.WAKING)
        if host is not None:
            host.context.wake_s.add(event.wake_s)
            self._cluster.host_awake(host, self._cluster.now)
            self._put_to_work(host)

    def _put_to_work(self, host: HostRecord) -> None:
        self._placement.settle(host)
        self._dispatcher.dispatch(host.context)
        self._placement.feed_hungry(host.manager)

    def _on_host_measured(self, event: events.HostMeasured) -> None:
        host = self._cluster.hosts.get(event.host_id)
        if host is not None:
            self._measure(host, Held(event.gpu_memory_bytes, event.host_memory_bytes))

    def _measure(self, host: HostRecord, held: Held) -> None:
        if held != NOTHING_HELD and self._cluster.measure(host, held):
            self._troubles.tell(host.context, "memory", explain_overdrawn(host, held))
            self._placement.relieve(host.manager)

    def _on_host_asleep(self, event: events.HostAsleep) -> None:
        host = self._host(event, HostState.DOZING)
        if host is not None:
            host.context.sleep_s.add(event.sleep_s)
            held = Held(event.gpu_memory_bytes, event.host_memory_bytes)
            favoured = self._cluster.host_asleep(host, held)
            self._placement.use_room(host.manager, favoured)

    def _on_sleep_failed(self, event: events.SleepFailed) -> None:
        host = self._host(event, HostState.DOZING)
        if host is not None:
            self._sleep_no_more(host.context, explain_no_sleep(host, event.message))
            self._placement.stop_host(host)

    def _sleep_no_more(self, context: ContextRecord, why: Explanation) -> None:
        context.has_sleep_trouble = True
        self._troubles.tell(context, "sleep", why)

    # --- set-ups that fail --------------------------------------------------------------------

    def _on_setup_failed(self, event: events.SetupFailed) -> None:
        host = self._cluster.hosts.get(event.host_id)
        if host is not None:
            why = Explanation(event.message, event.remote_traceback, event.log_tail)
            self._lose_starting_host(host, why)

    def _lose_starting_host(self, host: HostRecord, why: Explanation) -> None:
        context, manager = host.context, host.manager
        has_failed = host.state is HostState.STARTING
        self._cluster.remove_host(host, self._cluster.now)
        if has_failed:
            until = context.quarantine.add(manager.manager_id, why, self._cluster.now)
            self._timers.hasten(TimerKind.RETRY, context.context_key, until)
        self._endings.give_up_if_hopeless(context)
        self._dispatcher.use_room_of(host)
        is_in_quarantine = has_failed and manager.manager_id in context.quarantine
        if is_in_quarantine and (context.num_ready_ever or not context.hosts):
            told = explain_quarantine(context, manager, why, until - self._cluster.now)
            self._troubles.tell(context, f"set-up: {gist(why)}", told)

    def _on_death_in_setup(self, host: HostRecord, event: events.HostExited) -> None:
        """Try again after a death that may be the node's doing; only several tell of the recipe."""
        context = host.context
        context.num_setup_deaths += 1
        context.quarantine.num_deaths[host.manager.manager_id] += 1
        self._departures.blame(host, [])
        num_here = context.quarantine.num_deaths[host.manager.manager_id]
        if max(context.num_setup_deaths, num_here) >= self._max_attempts:
            self._lose_starting_host(host, Explanation(event.description, "", event.log_tail))
            return
        self._cluster.remove_host(host, self._cluster.now)
        self._dispatcher.use_room_of(host)

    def retry(self, context: ContextRecord) -> None:
        """See what becomes of a context when the quarantine of a node ends."""
        if context.num_waiting or context.num_warm > context.num_hosts:
            self._placement.grow(context)
        ends = [until for _, until in context.quarantine.ends(self._cluster.now)]
        if ends:
            self._timers.hasten(TimerKind.RETRY, context.context_key, min(ends))

    # --- ends ---------------------------------------------------------------------------------

    def _on_host_exited(self, event: events.HostExited) -> None:
        host = self._cluster.hosts.get(event.host_id)
        if host is None:
            return
        if host.state is HostState.STARTING:
            self._on_death_in_setup(host, event)
            return
        if not host.manager.is_closing:
            self._tell_of_death_in_sleep(host, event)
        guilty = [] if host.manager.is_closing else self._blame_what_ran(host)
        self._cluster.remove_host(host, self._cluster.now)
        if host.manager.state is not ManagerState.ACTIVE:
            self._departures.wind_down(host.manager)
        self._endings.blame_deaths(guilty, event)
        if guilty:
            self._tell_of_deaths(host.context, event)
        self._endings.give_up_if_hopeless(host.context)
        self._dispatcher.use_room_of(host)

    def _blame_what_ran(self, host: HostRecord) -> list[LeaseRecord]:
        """Hold a death against what ran; nobody holds these pieces then, and they do not wait."""
        guilty = [lease for lease in host.running() if lease.is_answerable]
        for lease in guilty:
            lease.piece.num_kills += 1
            self._cluster.release(lease, self._cluster.now)
        if guilty:
            host.context.num_deaths += 1
            self._departures.blame(host, [lease.piece for lease in guilty])
        return guilty

    def _tell_of_deaths(self, context: ContextRecord, event: events.HostExited) -> None:
        if context.num_deaths % DEATHS_TOLD == 0:
            topic = f"deaths: {context.num_deaths}"
            self._troubles.tell(context, topic, explain_deaths(context, event))

    def _tell_of_death_in_sleep(self, host: HostRecord, event: events.HostExited) -> None:
        if host.state is HostState.DOZING:
            self._sleep_no_more(host.context, explain_no_sleep(host, event.description))
        elif host.state is HostState.WAKING:
            self._sleep_no_more(host.context, explain_no_wake(host, event))
