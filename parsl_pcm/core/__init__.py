"""The scheduler: it decides, it never does. Events in, actions out.

Read it in this order:

1. ``events.py``      what can happen (a task was submitted, a host died, time passed)
2. ``actions.py``     what can be decided (start a host, send a piece, deliver a range)
3. ``transitions.py`` which state may follow which: tables
4. ``records.py``     what is known: tasks, pieces, leases, contexts, hosts, managers
   (``backlog.py``, ``loads.py``, ``capacity.py`` and ``timers.py`` keep each step cheap, however
   many tasks and managers there are; ``speeds.py``, ``inflight.py`` and ``memory.py`` hold what was
   measured; ``quarantine.py``: on which nodes a context failed; ``rooms.py``: what is free on one)
5. ``cluster.py``     the ways to change that, and ``check.py``: what must hold in between
6. ``policy.py``      what is best: when one more host pays, who leaves for whom (``shares.py``),
   how far to prefetch, and (``sizing.py``) how large a piece shall be
7. ``walltime.py``    whether a node lasts long enough for a host, or for one item more
8. ``placement.py``   which hosts start, wake up, sleep and end; ``making_room.py``: for whom
9. ``dispatch.py``    which piece goes to which host;
   ``racing.py``: which piece runs on a second host too
10. ``endings.py``    how tasks and items end; ``narrowing.py``: how the item to blame is found;
   ``departures.py``: how nodes leave; ``host_events.py``: what becomes of hosts
11. ``scheduler.py``  ``handle(event, now) -> actions``: the only way in and out
12. ``demand.py``     what the work could use: for whoever asks the site for nodes

Nothing here opens a socket or a file, reads a clock, logs, or draws a random number. The
interchange drives it with real messages; a replay of its event log reproduces its actions.
"""
