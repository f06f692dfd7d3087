"""Calls that their sender serialized itself (``submit_payload``): run in a host, with Parsl."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any


def run_payload(buffer: bytes, task_executor: Mapping[str, Any] | None) -> Any:
    """Run a buffer with the function that its sender names, or with Parsl's own.

    Parameters
    ----------
    task_executor
        ``{"f": "package.module.function", "a": arguments, "k": keyword arguments}``.
    """
    named = task_executor or {}
    path = named.get("f", "parsl.executors.execute_task.execute_task")
    module_name, _, function_name = path.rpartition(".")
    function = getattr(importlib.import_module(module_name), function_name)
    return function(buffer, *named.get("a", ()), **named.get("k", {}))
