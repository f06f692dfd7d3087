"""Messages between the processes, and their bytes. No sockets are opened here but in sockets.py.

A batch of messages travels as a list of frames: the head (msgpack) first, then the payload frames
of each message in order. Payloads (pickled arguments, results, recipes) are never looked into on
the way.
"""
