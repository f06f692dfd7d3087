"""Where the results of a map go, other than into memory.

1. ``rows.py``       what is written of an item: a :class:`Row`, and how exceptions become text
2. ``protocol.py``   what any sink can do; your own class may be one
3. ``plain.py``      results as data that files can hold
4. ``safe_file.py``  one writer, nothing torn, and a full disk is waited for
5. ``jsonl.py``; ``parquet.py`` with ``tables.py``: the files themselves
6. ``opening.py``    from ``sink=`` to one of them; refuses at once what cannot be written
"""
