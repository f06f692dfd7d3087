"""``pcm_map``: checks what it is given, and submits the map to Parsl as one task."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from parsl.app.bash import BashApp
from parsl.app.python import PythonApp
from parsl.dataflow.dflow import DataFlowKernel, DataFlowKernelLoader

from parsl_pcm.context import find_recipes
from parsl_pcm.declaration import unwrap
from parsl_pcm.executor import PCMExecutor
from parsl_pcm.mapping.bar import is_watched
from parsl_pcm.mapping.feed import Earlier
from parsl_pcm.mapping.journal import Journal
from parsl_pcm.mapping.keys import Key, Keys
from parsl_pcm.mapping.resume import identify
from parsl_pcm.mapping.run import MapPlan, MapRun
from parsl_pcm.mapping.sinks.opening import open_sink, open_sink_again
from parsl_pcm.mapping.sinks.protocol import Sink
from parsl_pcm.mapping.sources import open_source
from parsl_pcm.mapping.state import MapState
from parsl_pcm.mapping.writer import JournalOutput, Output, SinkOutput, patience_of
from parsl_pcm.signatures import SPECIFICATION_PARAMETER


def pcm_map(  # noqa: PLR0913 - what a user may choose
    app: PythonApp,
    items: Any,
    /,
    *,
    ordered: bool = True,
    on_error: Literal["raise", "return"] = "raise",
    progress: bool | None = None,
    sink: str | Path | Sink | None = None,
    resume: bool | str | Path | None = None,
    key: str | Callable[[Any], Key] | None = None,
    **app_kwargs: Any,
) -> MapRun:
    """Run an app over many items, as one task of Parsl, without choosing a batch size.

    The app takes a list of items as its first argument. It returns a list of as many results, or
    yields them one by one; what it has yielded is not lost with its host. How many items it gets
    at a time follows from how fast they are done.

    Parameters
    ----------
    app
        A ``python_app`` that may run on a :class:`~parsl_pcm.executor.PCMExecutor`.
    items
        A list, another sequence, or any iterable, with an end or not in sight; a Hugging Face
        dataset; or the path of a ``.jsonl``, ``.csv`` or ``.parquet`` file. A generator runs in a
        thread of its own.
    ordered
        Whether iterating gives results in the order of the items, or as they are completed. A sink
        gets them as they are completed; its rows have the index.
    on_error
        ``"raise"``: the first item in which the app raises ends the map with that exception;
        results before it are given out first. ``"return"``: each such item has an
        :class:`~parsl_pcm.mapping.report.ItemError` as its result, and all others are done.
    progress
        Whether a progress bar is shown; None: if somebody looks, in a terminal or a notebook.
    sink
        Where results go instead of memory: the path of a ``.jsonl`` or ``.parquet`` file, or an
        object with the methods of :class:`~parsl_pcm.mapping.sinks.protocol.Sink`.
    resume
        True, with a file as sink: go on with what it has, if it is there. A path, without a sink:
        keep results there besides, and take from there what an earlier run has done.
    key
        What tells items apart from run to run: a field of theirs, or a function of the item. None:
        their index, and with `resume` their content too.
    **app_kwargs
        The other arguments of the app; futures among them are waited for.

    Returns
    -------
    MapRun
        To iterate over, or to ask for its ``result()``.

    Raises
    ------
    TypeError, ValueError
        For arguments that cannot be; the app has not been called then.
    OSError
        For a file of items that cannot be read.
    SinkError, ResumeRefused
        For results that cannot be written, and those of another map.
    """
    _check_options(ordered, on_error, progress, resume)
    function = _function_of(app, app_kwargs)
    kernel, label = _place_of(app)
    keys = Keys(key, is_resumable=bool(resume))
    source = open_source(items)
    state = MapState(
        is_ordered=ordered and sink is None, has_writer=sink is not None or bool(resume)
    )
    is_tolerant = on_error == "return"
    opener = _Opener(state, keys, function, {**app.kwargs, **app_kwargs}, is_tolerant=is_tolerant)
    output, earlier = opener.open(sink, resume)
    plan = MapPlan(
        app=app.__name__,
        source=source,
        keys=keys,
        earlier=earlier,
        output=output,
        sink=None if sink is None else str(sink),
        is_ordered=ordered,
        is_tolerant=is_tolerant,
        has_bar=is_watched() if progress is None else progress,
    )
    run = MapRun(plan, state)
    submit = PythonApp(function, data_flow_kernel=kernel, executors=[label])
    try:
        run.attach(submit(run, **app_kwargs))
    except BaseException as error:
        run.fail(error)
        raise
    return run


class _Opener:
    """Opens what results are written to, and what earlier runs wrote."""

    def __init__(
        self,
        state: MapState,
        keys: Keys,
        function: Callable[..., Any],
        kwargs: dict[str, Any],
        *,
        is_tolerant: bool,
    ) -> None:
        self._patience = patience_of(state)
        self._keys = keys
        self._function = function
        self._kwargs = kwargs
        self._is_tolerant = is_tolerant

    def open(self, sink: Any, resume: Any) -> tuple[Output | None, Earlier | None]:
        """Return both; None for those there are not."""
        if sink is None:
            return self._open_journal(resume) if resume else (None, None)
        if isinstance(resume, str | Path):
            raise ValueError(
                f"resume={str(resume)!r}: what was done is read from the sink itself: give "
                "resume=True"
            )
        if resume:
            return self._open_sink_again(sink)
        opened = open_sink(sink, patience=self._patience, is_tolerant=self._is_tolerant)
        return SinkOutput(opened, self._keys.column), None

    def _open_sink_again(self, sink: Any) -> tuple[Output, Earlier]:
        identity = identify(self._function, self._kwargs, self._keys)
        opened, done = open_sink_again(
            sink,
            patience=self._patience,
            is_tolerant=self._is_tolerant,
            keys=self._keys,
            identity=identity,
        )
        mark_of = self._keys.mark_of
        earlier = Earlier(
            look_up=lambda index, key: (mark_of(index, key) in done, None), has_results=False
        )
        return SinkOutput(opened, self._keys.column), earlier

    def _open_journal(self, resume: Any) -> tuple[Output, Earlier]:
        if not isinstance(resume, str | Path):
            raise ValueError(
                f"resume={resume!r} needs a sink that has the results; without one, give the path "
                "of a file to keep them in"
            )
        identity = identify(self._function, self._kwargs, self._keys)
        path = Path(resume).expanduser()
        journal = Journal(path, self._patience, keys=self._keys, identity=identity)
        return JournalOutput(journal), Earlier(look_up=journal.get, has_results=True)


# --- checks --------------------------------------------------------------------------------------

_OPTIONS = tuple(
    name
    for name, parameter in inspect.signature(pcm_map).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)


def _check_options(ordered: Any, on_error: Any, progress: Any, resume: Any) -> None:
    if not isinstance(ordered, bool):
        raise TypeError(f"ordered must be True or False, not {ordered!r}")
    if on_error not in ("raise", "return"):
        raise ValueError(f"on_error must be 'raise' or 'return', not {on_error!r}")
    if progress is not None and not isinstance(progress, bool):
        raise TypeError(f"progress must be True, False or None, not {progress!r}")
    if resume is not None and not isinstance(resume, bool | str | Path):
        raise TypeError(f"resume must be True, or the path of a file, not {resume!r}")


def _function_of(app: Any, app_kwargs: dict[str, Any]) -> Callable[..., Any]:
    """Return the function of an app that can be mapped."""
    if isinstance(app, BashApp) or (isinstance(app, PythonApp) and app.join):
        kind = "bash_app" if isinstance(app, BashApp) else "join_app"
        raise TypeError(f"app {app.__name__!r} is a @{kind}: only a @python_app can be mapped")
    if not isinstance(app, PythonApp):
        name = getattr(app, "__name__", repr(app))
        raise TypeError(f"pcm_map needs an app, but {name} is none: decorate it with @python_app")
    function = unwrap(app.func)
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    name = f"app {app.__name__!r}"
    _check_first_parameter(name, parameters)
    taken = [each.name for each in parameters if each.name in _OPTIONS]
    if taken:
        raise TypeError(
            f"{name} has a parameter {taken[0]!r}, which is an option of pcm_map: rename it"
        )
    if "walltime" in signature.parameters or "walltime" in app_kwargs:
        raise TypeError(
            f"{name} has a walltime, which is for one call: a map cuts its own; leave it out"
        )
    _check_keywords(name, signature, parameters[0], app_kwargs)
    return function


def _check_first_parameter(name: str, parameters: list[inspect.Parameter]) -> None:
    first = parameters[0] if parameters else None
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        raise TypeError(f"{name} takes no positional argument: its first one is the list of items")
    if find_recipes(first.default):
        raise TypeError(
            f"the first parameter of {name}, {first.name!r}, is a context, but would get the list "
            "of items: move it behind one for the items"
        )


def _check_keywords(
    name: str,
    signature: inspect.Signature,
    first: inspect.Parameter,
    app_kwargs: dict[str, Any],
) -> None:
    if first.name in app_kwargs and first.kind is first.POSITIONAL_OR_KEYWORD:
        raise TypeError(f"{first.name!r} of {name} gets the items: it cannot be given besides")
    given = {k: v for k, v in app_kwargs.items() if k != SPECIFICATION_PARAMETER}
    try:
        signature.bind_partial(None, **given)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None


def _place_of(app: PythonApp) -> tuple[DataFlowKernel, str]:
    """Return where an app runs: Parsl's kernel, and the label of one of its PCMExecutors."""
    kernel = app.data_flow_kernel or DataFlowKernelLoader.dfk()
    labels = list(kernel.executors) if app.executors == "all" else app.executors
    for label in labels:
        if isinstance(kernel.executors.get(label), PCMExecutor):
            return kernel, label
    raise ValueError(
        f"app {app.__name__!r} runs on {', '.join(map(repr, labels))}, none of which is a "
        "PCMExecutor: add one to the Config, and its label to executors= of the app, if that is "
        "given"
    )
