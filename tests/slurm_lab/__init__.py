"""A private Slurm cluster with fake GPUs on this machine, for tests and benchmarks.

1. ``packages.py``   what Debian and Ubuntu call the parts, installed if they are missing
2. ``settings.py``   nodes, partitions and timings; the configuration files that say so
3. ``daemons.py``    processes that end with the one that started them
4. ``lab.py``        ``SlurmLab``: starts and stops the cluster, takes GPUs back, lets nodes fail

``python -m tests.slurm_lab`` runs one until Ctrl-C. It needs root, and nothing global but the
packages: everything else lies in a temporary folder that is removed at the end.
"""
