"""The process between the executor and the managers: the real driver of the core.

Messages come in and become events; the scheduler decides; its actions go out as messages.

1. ``__main__.py``  starts it: configuration from stdin, log file
2. ``driver.py``    the loop and its steps
3. ``admission.py`` which managers may take part; ``meaning.py``: their messages as events
4. ``performer.py`` carries out the scheduler's actions: with payloads, as messages
5. ``peers.py``     the managers that are connected, and what each has been sent
6. ``commands.py``  what the executor may ask
7. ``orphanhood.py`` whether the executor's process is gone, and what is done then
"""
