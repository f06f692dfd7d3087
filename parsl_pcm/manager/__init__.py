"""The agent on a node: one process, one thread, one poll loop.

``__main__`` reads the configuration, finds out what the node has (:mod:`~parsl_pcm.manager.node`),
claims it (:mod:`~parsl_pcm.manager.claims`) and runs :class:`~parsl_pcm.manager.agent.Manager`.
That registers over :mod:`~parsl_pcm.manager.link` and carries pieces and results between the
interchange and its :mod:`~parsl_pcm.manager.crew` of hosts. These are started when their turn comes
(:mod:`~parsl_pcm.manager.boots`), out of a spare process if there is one
(:mod:`~parsl_pcm.manager.spares`), are measured (:mod:`~parsl_pcm.manager.memory`), and are watched
until the last of their memory is free (:mod:`~parsl_pcm.manager.hosts`). It decides nothing more:
the interchange does.
"""
