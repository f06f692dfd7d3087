"""Where nodes come from: traces, chance, a batch system that is asked for them.

1. ``trace.py``         traces of nodes that came and went; those that ship are in ``traces/``
2. ``availability.py``  when each node can be had; ``gpus.py``: what it has
3. ``standing.py``      every node that can be had is taken, and kept
4. ``site.py``          nodes as the provider asks for them; ``batch.py``: the queue that it asks
"""
