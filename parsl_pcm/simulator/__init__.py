"""The scheduler in virtual time: the very code that decides in live runs, on nodes that are models.

It imports no Parsl and opens no socket; the same scenario and seed give the same run.
"""
