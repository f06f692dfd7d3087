"""Schedulers as far as we must see them: what is idle there, and what has become of our jobs.

1. ``observations.py``  what can be seen, and the two Protocols of those who see it
2. ``commands.py``      asking through command-line tools; ``loose_json.py``: reading the answers
3. ``slurm.py`` (``slurm_text.py``, ``slurm_json.py``, ``slurm_rows.py``), ``htcondor.py``,
   ``pbspro.py``, ``grid_engine.py``; ``parsl_jobs.py`` for whatever else Parsl has a provider for
4. ``defaults.py``      which of them belongs to which provider of Parsl
"""
