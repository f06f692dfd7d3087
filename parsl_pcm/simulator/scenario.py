"""What a simulated campaign is: contexts, work, GPUs, and the system that schedules. Data.

Read from TOML by ``reading.py``. Times are seconds, sizes are strings such as ``"7.4 GB"``. What
depends on the GPU is a number, or a table by the GPU's name in which ``default`` is for all others.
"""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta, Struct

MOST = 10**12
Seconds = Annotated[float, Meta(ge=0.0, le=1e9, description="a number from 0 to 1e9")]
Above0 = Annotated[float, Meta(gt=0.0, le=1e9, description="a number above 0, at most 1e9")]
Count = Annotated[int, Meta(ge=1, le=MOST, description="a whole number from 1 to 10^12")]
Few = Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
FewOrNone = Annotated[int, Meta(ge=0, le=1000, description="a whole number from 0 to 1000")]
Priority = Annotated[
    int, Meta(ge=-(10**6), le=10**6, description="a whole number from -1,000,000 to 1,000,000")
]
Frac = Annotated[float, Meta(ge=0.0, le=1.0, description="a number from 0 to 1")]
Nodes = Annotated[int, Meta(ge=1, le=10**6, description="a whole number from 1 to 1,000,000")]
Cv = Annotated[float, Meta(ge=0.0, le=10.0, description="a number from 0 to 10")]
"""Standard deviation over mean."""
AtLeast1 = Annotated[float, Meta(ge=1.0, le=1e9, description="a number from 1 to 1e9")]
SIZE = 'a size such as "24 GB"'
Size = Annotated[str, Meta(description=SIZE)]
ByGpu = Annotated[
    Seconds | dict[str, Seconds],
    Meta(description="a number from 0 to 1e9, or a table of such numbers by the names of GPUs"),
]
Steps = Annotated[
    tuple[tuple[Seconds, Annotated[int, Meta(ge=0, le=10**6)]], ...],
    Meta(
        min_length=1,
        description="a list of [time in seconds, number of nodes], for example [[0, 4], [600, 9]]",
    ),
]
Mix = Annotated[
    dict[str, Above0],
    Meta(description="a table of numbers above 0 by the names of GPUs, {A10 = 2, T4 = 1}"),
]
Names = Annotated[
    tuple[str, ...], Meta(description='a list of parts of names of GPUs, as in ["A100", "H100"]')
]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ContextModel(_Part, frozen=True, kw_only=True):
    """A context: what it asks for, and the truth about what it costs, which the scheduler learns.

    Attributes
    ----------
    gpu_memory
        Declared; None: the whole device.
    files
        What a node reads, through the network, that has none of its files (weights, environment).
    unpack_s
        Then, once on each node.
    import_s, load_s, warm_up_s
        Then, in each process that builds it: imports; weights from disk to GPU; the first call.
    load_cv
        How much loads differ: standard deviation over mean of the sum of the times above.
    item_s
        Mean time of an item.
    item_cv
        How much items differ: standard deviation over mean of one item.
    piece_s
        What each call of the function costs besides its items.
    """

    name: str
    gpus: FewOrNone = 1
    gpu_memory: Size | None = None
    host_memory: Size | None = None
    cores: Above0 = 1.0
    max_concurrency: Few = 1
    keep_warm_s: Seconds | None = None
    gpu_types: Names = ()
    files: Size = "0 B"
    unpack_s: ByGpu = 0.0
    import_s: ByGpu = 0.0
    load_s: ByGpu = 0.0
    warm_up_s: ByGpu = 0.0
    load_cv: Cv = 0.0
    item_s: ByGpu
    item_cv: Cv = 0.0
    piece_s: ByGpu = 0.0
    can_sleep: bool = False
    sleep_s: Seconds = 0.0
    wake_s: Seconds = 0.0
    source: str = ""
    """Of these numbers."""


class Work(_Part, frozen=True, kw_only=True):
    """Items that a user wants done.

    Attributes
    ----------
    call_items
        So many items in each call that the user makes. None: one map over all of them.
    is_divisible
        Whether calls are maps, which may be cut anywhere; else each call is one piece.
    at_s
        When it is submitted.
    effort
        So many times as long as the context's items its items take; 0.0: no time at all.
    """

    context: str
    items: Count
    call_items: Count | None = None
    is_divisible: bool = True
    at_s: Seconds = 0.0
    effort: Seconds = 1.0
    priority: Priority = 0


class Churn(_Part, frozen=True, kw_only=True):
    """GPUs that come and go by chance: each of ``count`` slots is there, gone, there, ...

    Attributes
    ----------
    life_s, gap_s
        Means of how long a GPU stays and stays away.
    life_cv
        Standard deviation over mean of lives; 1.0 is memoryless. Gaps are memoryless.
    """

    count: Nodes
    life_s: Above0
    gap_s: Above0
    life_cv: Cv = 1.0
    source: str = ""


class Pool(_Part, frozen=True, kw_only=True):
    """Nodes of one kind, and when they can be had: by ``count``, ``steps``, ``trace`` or ``churn``.

    Nodes of a pool without ``gpu`` and ``gpu_mix`` have no GPUs.

    Attributes
    ----------
    count
        So many nodes, always.
    steps
        (time, number of nodes from then on), in order.
    trace
        Name of a trace that comes with the package, or path of a CSV file (``trace.py``).
    churn
        A stochastic model.
    is_fitted
        In place of the trace itself a stochastic model that fits it: the same ups and downs on
        average, another course for each seed.
    scale
        Traces and steps: so many times as many nodes.
    starts_at_s
        Traces: where in it the campaign begins.
    gpu_mix
        In place of ``gpu``: types and their weights; each node has one of them, in these shares.
    queue_wait_s, queue_wait_cv
        From asking for a node that is free to its manager's start.
    walltime_s
        The site ends a node so long after its start; a new one may be asked for. None: never.
    notice_s
        The site says so long before that it takes a node back. None: it says nothing.
    requeue_s
        The site starts a job again by itself that it took a node from, not before so long after.
        None: the job is over. Elastic sites only.
    detect_s
        A node that vanishes without a word is missed so much later.
    speed_cv
        How much nodes of one type differ in speed: standard deviation over mean.
    slow_frac, slow_factor
        Of nodes: so many of them take so many times as long for each item.
    bad_frac
        Of nodes: so many of them can build no context.
    mtbf_s
        Mean time between failures of a node: it vanishes, without notice. None: it never fails.
    """

    gpu: str | None = None
    gpu_mix: Mix = {}
    gpus_per_node: Few = 1
    count: Nodes | None = None
    steps: Steps | None = None
    trace: str | None = None
    is_fitted: bool = False
    churn: Churn | None = None
    scale: Above0 = 1.0
    starts_at_s: Seconds = 0.0
    queue_wait_s: Seconds = 0.0
    queue_wait_cv: Cv = 0.0
    walltime_s: Above0 | None = None
    notice_s: Seconds | None = None
    requeue_s: Seconds | None = None
    detect_s: Seconds = 0.0
    speed_cv: Frac = 0.0
    slow_frac: Frac = 0.0
    slow_factor: AtLeast1 = 1.0
    bad_frac: Frac = 0.0
    mtbf_s: Above0 | None = None
    cores: Above0 = 16.0
    memory: Size = "256 GB"
    source: str = ""


class Gpu(_Part, frozen=True, kw_only=True):
    """A type of GPU, if it is none of ``gpus.py``.

    Attributes
    ----------
    speed
        Items a second beside other types, for contexts whose ``item_s`` does not name it: its
        ``default`` is for speed 1.0.
    """

    name: str
    memory: Size
    compute_capability: Above0
    speed: Above0 = 1.0
    source: str = ""


class Site(_Part, frozen=True, kw_only=True):
    """What nodes share.

    Attributes
    ----------
    shared_fs
        Bytes a second of the shared file system, for all nodes together. None: no limit.
    node_network
        Bytes a second into one node. None: no limit.
    peers
        So many nodes at a time may fetch files from one that has them. 0: none.
    latency_s
        Of a message, each way.
    is_elastic
        Whether nodes are asked for and given back as the work needs them, as the provider does;
        else every node that can be had is taken, and kept.
    keep_warm_s
        Elastic: a node without work is kept so long. None: as the provider does by itself.
    """

    shared_fs: Size | None = None
    node_network: Size | None = None
    peers: FewOrNone = 0
    latency_s: Seconds = 0.002
    is_elastic: bool = False
    keep_warm_s: Seconds | None = None
    max_nodes: Nodes | None = None
    source: str = ""


class Keeps(enum.Enum):
    """What a node keeps of a context from one call to the next."""

    CONTEXT = "context"
    """The live context: as parsl_pcm does, and the published systems at their best."""
    FILES = "files"
    """Files on its disk: each call imports and loads."""
    NOTHING = "nothing"
    """Each call reads its files through the network, imports and loads."""


class System(_Part, frozen=True, kw_only=True):
    """How work is scheduled: by parsl_pcm, or as the published systems did.

    Attributes
    ----------
    dispatch_s
        Time of the central process for each piece that it sends, one after the other.
    is_prefetching
        Whether the next piece is at a host before the present one ends.
    waits_for_frac
        Nothing is submitted before this share of the nodes that are there at the beginning joined.
    """

    name: str = "parsl_pcm"
    keeps: Keeps = Keeps.CONTEXT
    is_prefetching: bool = True
    dispatch_s: Seconds = 0.0
    waits_for_frac: Frac = 0.0
    max_attempts: Few = 3
    source: str = ""


class Published(_Part, frozen=True, kw_only=True):
    """What a paper says of the same campaign, to be shown beside."""

    makespan_s: Above0 | None = None
    num_items: Count | None = None
    source: str


class Scenario(_Part, frozen=True, kw_only=True):
    """A campaign.

    Attributes
    ----------
    stop_s
        The run is cut off then, done or not. None: when all is done, when nothing will come any
        more, or when nothing was done for days.
    """

    name: str
    about: str = ""
    contexts: tuple[ContextModel, ...]
    work: tuple[Work, ...]
    pools: tuple[Pool, ...]
    gpus: tuple[Gpu, ...] = ()
    site: Site = Site()
    system: System = System()
    stop_s: Above0 | None = None
    published: Published | None = None
