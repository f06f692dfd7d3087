"""The agent on a node: one process, one thread, one poll loop.

``__main__`` reads the configuration, finds out what the node has (:mod:`~parsl_pcm.manager.node`),
claims it (:mod:`~parsl_pcm.manager.claims`) and runs :class:`~parsl_pcm.manager.agent.Manager`.
That registers over :mod:`~parsl_pcm.manager.link`, then starts, watches and stops hosts
(:mod:`~parsl_pcm.manager.hosts`) and carries pieces and results between the interchange and them.
It decides nothing: the interchange does.
"""
