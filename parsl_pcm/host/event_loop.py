"""The host's event loop, in a thread of its own so that engines live on between pieces."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class EventLoopThread:
    """Runs the coroutines of any thread on one loop, until :meth:`stop` joins it.

    The main thread cannot run the loop: it waits for pieces, and the background tasks of an
    asynchronous engine must go on meanwhile.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="pcm-event-loop", daemon=True)
        self._thread.start()

    def submit(self, call: Coroutine[Any, Any, T], finish: Callable[[T], None]) -> None:
        """Run a call and hand what it returns to `finish`."""

        async def run() -> None:
            finish(await call)

        asyncio.run_coroutine_threadsafe(run(), self._loop)

    def run(self, call: Coroutine[Any, Any, None]) -> None:
        """Run a call and wait for its end, in another thread; raises what the call raises."""

        async def catch() -> BaseException | None:
            try:
                await call
            except BaseException as error:  # noqa: BLE001 - raised below; some would end the loop
                return error
            return None

        error = asyncio.run_coroutine_threadsafe(catch(), self._loop).result()
        if error is not None:
            raise error

    def stop(self) -> None:
        """End the loop; tasks that user code left behind are dropped."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()
