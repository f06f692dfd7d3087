"""The command ``parsl-pcm``: what a person does before and after a run, on a login node.

Each sub-command is a module with ``add_parser(subparsers)``, which sets ``func``: a function from
the parsed arguments to the exit code. Parsl is imported when a sub-command runs, not before.
"""
