"""What the workflow ``prompt_for_fact.py`` is made of, none of which runs on the nodes.

claims (read or generated) x prompts x models -> the sweep in ``prompt_for_fact.py`` -> results,
one row for each inference -> leaderboard and picture.
"""
