"""Scenarios as files: those that ship, reading, checking, changing, and making one of a log.

1. ``reading.py``   from a file to a ``Scenario``; ``shape.py``, ``sense.py``: what is wrong with it
2. ``what_if.py``   one value changed; ``writing.py``: back to a file
3. ``from_log.py``  from the event log of a run; ``measured.py``: what that shows of contexts
4. ``building.py``  from a scenario to what the engine runs
"""
