"""The scheduler's driver in virtual time, and the nodes that it drives.

1. ``timeline.py``  what is planned; ``driver.py``: the central process; ``users.py``: their tasks
2. ``managers.py``  nodes that boot hosts; ``working.py``: pieces at hosts
3. ``staging.py``   files on their way to nodes; ``files.py``: on nodes
4. ``parts.py``     what all of it is made of; ``memory.py``: what hosts hold
5. ``pool.py``      the whole
"""
