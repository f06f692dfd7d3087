"""Engines keep to their share of a GPU; without one, what they ask of their libraries shows it."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from parsl_pcm.engines.transformers_engine import _keep_to_budget
from parsl_pcm.engines.vllm_engine import _gpu_defaults
from parsl_pcm.types import GPU_MEMORY_VARIABLE

GB = 10**9


@pytest.fixture(autouse=True)
def vllm_on_a_gpu_of_80_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = SimpleNamespace(
        get_device_total_memory=lambda: 80 * GB, is_sleep_mode_available=lambda: True
    )
    module(monkeypatch, "vllm", AsyncEngineArgs=SimpleNamespace(gpu_memory_utilization=0.92))
    module(monkeypatch, "vllm.platforms", current_platform=platform)
    monkeypatch.delenv(GPU_MEMORY_VARIABLE, raising=False)


def module(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    fake = ModuleType(name)
    fake.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, fake)


def test_vllm_alone_on_a_gpu_takes_what_it_takes_by_default() -> None:
    assert _gpu_defaults({}) == {"enable_sleep_mode": True}


@pytest.mark.parametrize(("budget_gb", "utilization"), [(20, 0.25), (79, 0.92)])
def test_vllm_takes_its_share_of_a_gpu_and_never_more_than_by_default(
    monkeypatch: pytest.MonkeyPatch, budget_gb: int, utilization: float
) -> None:
    monkeypatch.setenv(GPU_MEMORY_VARIABLE, str(budget_gb * GB))
    assert _gpu_defaults({})["gpu_memory_utilization"] == utilization


def test_kv_cache_of_a_given_size_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPU_MEMORY_VARIABLE, str(20 * GB))
    assert "gpu_memory_utilization" not in _gpu_defaults({"kv_cache_memory_bytes": GB})


@pytest.mark.parametrize(
    ("budget_gb", "device", "asked"),
    [
        (20, "cuda", [(0.25, "cuda")]),
        (99, "cuda", [(1.0, "cuda")]),
        (20, "cpu", []),
        (0, "cuda", []),
    ],
)
def test_torch_is_told_the_share(
    monkeypatch: pytest.MonkeyPatch, budget_gb: int, device: str, asked: list[tuple[float, str]]
) -> None:
    told: list[tuple[float, str]] = []
    cuda = SimpleNamespace(
        mem_get_info=lambda device: (GB, 80 * GB),
        set_per_process_memory_fraction=lambda share, device: told.append((share, device.type)),
    )
    module(monkeypatch, "torch", cuda=cuda)
    if budget_gb:
        monkeypatch.setenv(GPU_MEMORY_VARIABLE, str(budget_gb * GB))
    on: Any = SimpleNamespace(type=device)
    _keep_to_budget(on)
    assert told == asked
