"""From ``sink=`` to where results go. Whatever cannot be written is refused here, at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from parsl_pcm.errors import SinkError
from parsl_pcm.mapping.keys import Keys
from parsl_pcm.mapping.resume import DoneItems, MapIdentity, check_sidecar, write_sidecar
from parsl_pcm.mapping.sinks.jsonl import JsonlSink
from parsl_pcm.mapping.sinks.parquet import ParquetSink
from parsl_pcm.mapping.sinks.protocol import DoneItem, Sink
from parsl_pcm.mapping.sinks.safe_file import Patience


class FileSink(Sink, Protocol):
    """A sink that a later run can go on with."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written."""
        ...

    @property
    def places(self) -> list[Path]:
        """What there is to delete for a map to start afresh."""
        ...

    def done(self) -> Iterator[DoneItem]:
        """Yield the items that have a result; to be called before the first write."""
        ...


_SINK_OF_SUFFIX: dict[str, Callable[..., FileSink]] = {
    ".jsonl": JsonlSink,
    ".ndjson": JsonlSink,
    ".parquet": ParquetSink,
}


def open_sink(target: Any, *, patience: Patience, is_tolerant: bool) -> Sink:
    """Return where results go, for a map that begins with its first item.

    Parameters
    ----------
    target
        A path that ends in ``.jsonl``, ``.ndjson`` or ``.parquet``; or a :class:`Sink`, which is
        returned as it is.
    is_tolerant
        Whether a result that the file cannot hold becomes an error row; else it ends the map.

    Raises
    ------
    SinkError
        If it cannot be written, is being written, or has results in it.
    TypeError, ValueError
        For what is no sink, and for a file of an unknown kind.
    ImportError
        For a ``.parquet`` file without pyarrow.
    """
    if not isinstance(target, str | Path):
        return _checked_object(target)
    sink = _open_file(Path(target).expanduser(), patience, is_tolerant=is_tolerant)
    if not sink.is_empty:
        sink.close(is_complete=False)
        places = " and ".join(map(str, sink.places))
        raise SinkError(
            f"{target} has results in it: give resume=True to go on with them, delete {places} to "
            "start afresh, or write to another file"
        )
    return sink


def open_sink_again(
    target: Any, *, patience: Patience, is_tolerant: bool, keys: Keys, identity: MapIdentity
) -> tuple[Sink, DoneItems]:
    """Return where results go, and what is done already, for a map with ``resume=True``.

    The file need not be there: the first run is no different.

    Parameters
    ----------
    target, patience, is_tolerant
        As for :func:`open_sink`; it must be a path.
    identity
        Of this map; what is in the file must be of the same.

    Raises
    ------
    ResumeRefused
        If the file has results of another map, or of nobody knows which.
    SinkError, TypeError, ValueError, ImportError
        As :func:`open_sink` does.
    """
    if not isinstance(target, str | Path):
        raise TypeError(f"resume=True needs the path of a file as sink=, not {target!r}")
    path = Path(target).expanduser()
    sink = _open_file(path, patience, is_tolerant=is_tolerant)
    try:
        if not sink.is_empty:
            check_sidecar(path, identity, sink.places)
        done = DoneItems(keys.mark_of(item.index, item.key) for item in sink.done())
        write_sidecar(path, identity, patience)
    except BaseException:
        sink.close(is_complete=False)
        raise
    return sink, done


def _open_file(path: Path, patience: Patience, *, is_tolerant: bool) -> FileSink:
    sink_class = _SINK_OF_SUFFIX.get(path.suffix.lower())
    if sink_class is None:
        raise ValueError(
            f"sink={str(path)!r}: results can be written to files that end in "
            f"{', '.join(_SINK_OF_SUFFIX)}"
        )
    return sink_class(path, patience, is_tolerant=is_tolerant)


def _checked_object(target: Any) -> Sink:
    if not isinstance(target, Sink) or isinstance(target, type):
        raise TypeError(
            f"sink must be the path of a file ({', '.join(_SINK_OF_SUFFIX)}), or an object with "
            f"the methods write(rows), flush() and close(*, is_complete), not {target!r}"
        )
    return target
