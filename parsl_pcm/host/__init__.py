"""The process that keeps one context live and runs pieces in it.

The manager starts it with one end of a socket pair and sends, in this order: the blob of the
recipes, StartHost, then function blobs and pieces. ``__main__`` sets the process up,
:mod:`~parsl_pcm.host.process` builds the context and hands piece after piece to
:mod:`~parsl_pcm.host.calls`, or to :mod:`~parsl_pcm.host.mapped` if it is a piece of a map.
Meanwhile :mod:`~parsl_pcm.host.inbox` receives, and :mod:`~parsl_pcm.host.outbox` sends what maps
have given so far. Between pieces the context may sleep (:mod:`~parsl_pcm.host.sleeping`).

A spare process (:mod:`~parsl_pcm.host.spare`) is first told what to import; the rest comes when it
is needed.
"""
