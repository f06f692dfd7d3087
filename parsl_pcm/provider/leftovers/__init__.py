"""No job is left in a queue.

1. ``ledger.py``      every job that a run submitted, on disk
2. ``queues.py``      what this user has in the queue of a scheduler
3. ``cancelling.py``  cancelling without the provider that submitted
4. ``orphans.py``     the jobs of runs that are over, found and cancelled
"""
