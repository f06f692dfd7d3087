"""Facts about the GPUs that campuses have, found by whatever name a site gives them."""

from __future__ import annotations

import re
from typing import NamedTuple

GIB = 2**30


class GpuFacts(NamedTuple):
    """What is known of a model of GPU before a job has run on one."""

    model: str
    memory_bytes: int
    """What a program can count on: what the driver shows, rounded down."""
    compute_capability: float | None
    """None: not from NVIDIA."""
    bandwidth_gb_per_s: float | None
    """Of its memory: what the speed of decoding follows. None: a slice of an unnamed GPU."""


class _Model(NamedTuple):
    names: str
    """As sites write them, without spaces and signs; the first is shown to people."""
    gib: dict[int, float]
    """Memory in its name (80 in ``a100-80gb``) -> GiB that the driver shows; the smallest first."""
    compute_capability: float | None
    bandwidth_gb_per_s: float


# Source: NVIDIA's and AMD's data sheets, and NVIDIA's list of compute capabilities. Memory is the
# data sheet's less what the driver and ECC keep: a sixteenth of GDDR6 on data centre cards (15 of
# the 16 GiB of a T4, 22.4 of the 24 GiB of an A10), some percent elsewhere. Bandwidth is that of
# the slowest variant.
_MODELS = [
    _Model("titanx titanxmaxwell", {12: 11.7}, 5.2, 337),
    _Model("titanxpascal", {12: 11.8}, 6.1, 480),
    _Model("titanxp", {12: 11.8}, 6.1, 548),
    _Model("titanv", {12: 11.7}, 7.0, 653),
    _Model("titanrtx rtxtitan", {24: 23.5}, 7.5, 672),
    _Model("gtx1080 1080", {8: 7.9}, 6.1, 320),
    _Model("gtx1080ti 1080ti", {11: 10.9}, 6.1, 484),
    _Model("rtx2080 2080", {8: 7.7}, 7.5, 448),
    _Model("rtx2080ti 2080ti", {11: 10.7}, 7.5, 616),
    _Model("rtx3080 3080", {10: 9.7, 12: 11.7}, 8.6, 760),
    _Model("rtx3090 3090 rtx3090ti 3090ti", {24: 23.6}, 8.6, 936),
    _Model("rtx4080 4080", {16: 15.6}, 8.9, 717),
    _Model("rtx4090 4090", {24: 23.5}, 8.9, 1008),
    _Model("rtx5090 5090", {32: 31.3}, 12.0, 1792),
    _Model("rtx5000", {16: 15.0}, 7.5, 448),
    _Model("rtx6000", {24: 22.4}, 7.5, 672),
    _Model("rtx8000", {48: 44.4}, 7.5, 672),
    _Model("a2", {16: 14.95}, 8.6, 200),
    _Model("a4000 rtxa4000", {16: 15.0}, 8.6, 448),
    _Model("a4500 rtxa4500", {20: 18.7}, 8.6, 640),
    _Model("a5000 rtxa5000", {24: 22.4}, 8.6, 768),
    _Model("a5500 rtxa5500", {24: 22.4}, 8.6, 768),
    _Model("a6000 rtxa6000", {48: 44.9}, 8.6, 768),
    _Model("rtx4000ada", {20: 18.7}, 8.9, 360),
    _Model("rtx5000ada", {32: 29.9}, 8.9, 576),
    _Model("rtx6000ada 6000ada", {48: 44.9}, 8.9, 960),
    _Model("rtxpro6000", {96: 93.0}, 12.0, 1597),
    _Model("k80", {12: 11.1}, 3.7, 240),
    _Model("m40", {12: 11.2, 24: 22.4}, 5.2, 288),
    _Model("p40", {24: 22.38}, 6.1, 346),
    _Model("p100", {12: 11.8, 16: 15.8}, 6.0, 549),
    _Model("v100", {16: 15.7, 32: 31.7}, 7.0, 900),
    _Model("v100l", {32: 31.7}, 7.0, 900),
    _Model("v100s", {32: 31.7}, 7.0, 1134),
    _Model("t4", {16: 15.0}, 7.5, 320),
    _Model("a10", {24: 22.4}, 8.6, 600),
    _Model("a10g", {24: 22.4}, 8.6, 600),
    _Model("a16", {16: 14.95}, 8.6, 200),
    _Model("a30", {24: 23.6}, 8.0, 933),
    _Model("a40", {48: 44.9}, 8.6, 696),
    _Model("a100", {40: 39.3, 80: 79.1}, 8.0, 1555),
    _Model("a100l", {80: 79.1}, 8.0, 1935),
    _Model("l4", {24: 22.4}, 8.9, 300),
    _Model("l40", {48: 44.9}, 8.9, 864),
    _Model("l40s", {48: 44.9}, 8.9, 864),
    _Model("h100", {80: 79.1, 94: 93.0, 96: 95.0}, 9.0, 2000),
    _Model("h100nvl", {94: 93.0}, 9.0, 3900),
    _Model("h200", {141: 139.7}, 9.0, 4800),
    _Model("gh200", {96: 94.5, 144: 142.0}, 9.0, 4000),
    _Model("b200", {180: 177.0, 192: 177.0}, 10.0, 7700),
    _Model("mi100", {32: 31.9}, None, 1229),
    _Model("mi210", {64: 63.9}, None, 1638),
    # One card is two devices of 64 GB: that is what schedulers and programs see.
    _Model("mi250x", {64: 63.9, 128: 63.9}, None, 1638),
    _Model("mi250", {64: 63.9, 128: 63.9}, None, 1638),
    _Model("mi300a", {128: 127.0}, None, 5300),
    _Model("mi300x", {192: 191.0}, None, 5300),
]
_MODEL_OF_NAME = {name: model for model in _MODELS for name in model.names.split()}
_MOST_WORDS = 4
"""Of a name in the table: "rtx 6000 ada" is three words."""

_WORD = re.compile(r"[a-z0-9]+")
_SIZE = re.compile(r"(\d+)(?:gb|g)?")
_SLICE = re.compile(r"(?<![0-9])([1-7])g[._](\d+)gb")
_SLICE_GIB_SHOWN = 0.95
"""Of the memory in the name of a MIG slice; an A100's 1g.5gb shows 4864 of 5120 MiB."""
_SHARE_OF_SLICES = {1: 1 / 8, 2: 2 / 8, 3: 4 / 8, 4: 4 / 8, 7: 1.0}
"""Of a GPU's memory and its bandwidth, by compute slices (NVIDIA MIG user guide)."""
_FIRST_MIG_CAPABILITY = 8.0


def find_gpu(name: str) -> GpuFacts | None:
    """Return what is known of a GPU by one of a site's names for it, or None.

    Understands the names of drivers (``NVIDIA A100-SXM4-80GB``), of schedulers
    (``nvidia_h100_80gb_hbm3``, ``titanx``), and of MIG slices (``a100_1g.5gb``). Where the name
    leaves open how much memory it has, the smaller variant is meant.
    """
    lower = name.lower()
    words = _WORD.findall(lower)
    model_name = _longest_name(words)
    model = _MODEL_OF_NAME.get(model_name)
    match = _SLICE.search(lower)
    if match is not None:
        return _slice_facts(name, model, num_slices=int(match[1]), gb=int(match[2]))
    if model is None:
        return None
    return GpuFacts(
        model.names.split()[0],
        int(_gib(model, words) * GIB),
        model.compute_capability,
        model.bandwidth_gb_per_s,
    )


def is_of_type(name: str, wanted: str) -> bool:
    """Whether a part of a name of a GPU that a context asks for is in a site's name for it.

    Blanks and signs do not count, for the core either: ``RTX 2080 Ti`` is in ``rtx2080ti``.
    """
    return _letters(wanted) in _letters(name)


def _letters(name: str) -> str:
    return "".join(_WORD.findall(name.lower()))


def _longest_name(words: list[str]) -> str:
    """Return the longest name in the table that consecutive words make up; "" if there is none."""
    names = [
        "".join(words[start : start + num_words])
        for num_words in range(1, _MOST_WORDS + 1)
        for start in range(len(words) - num_words + 1)
    ]
    return max((name for name in names if name in _MODEL_OF_NAME), key=len, default="")


def _gib(model: _Model, words: list[str]) -> float:
    sizes = [int(match[1]) for word in words if (match := _SIZE.fullmatch(word))]
    return next((model.gib[size] for size in sizes if size in model.gib), min(model.gib.values()))


def _slice_facts(name: str, model: _Model | None, *, num_slices: int, gb: int) -> GpuFacts:
    share = _SHARE_OF_SLICES.get(num_slices, num_slices / 8)
    return GpuFacts(
        name,
        int(gb * _SLICE_GIB_SHOWN * GIB),
        model.compute_capability if model else _FIRST_MIG_CAPABILITY,
        model.bandwidth_gb_per_s * share if model else None,
    )
