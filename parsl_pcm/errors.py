"""Every error that parsl_pcm raises to its user or puts into a future.

::

    ParslError
    +-- PCMError
        +-- NotPicklable             a function, its arguments or a recipe cannot travel
        +-- ContextNotFound          a context named by a string cannot be imported
        +-- TaskError                why one task has no result
        |   +-- ContextSetupFailed   the set-up raised, hung, died or gave nothing useful
        |   +-- ContextDoesNotFit    the context needs more than any node has
        |   +-- TaskKillsHost        the task killed its host on every attempt
        |   +-- WrongResults         a mapped app gave something else than one result for each item
        |   +-- RemoteError          stands for a user's exception that cannot travel
        +-- SinkError                results cannot be written where they are to go
        |   +-- ResultNotWritable    one item's result is nothing that the file can hold
        +-- ResumeRefused            what is there belongs to another map
        +-- InterchangeLost          our central process ended
        +-- BlocksFailed             no block can serve the tasks: none starts, or none is left

Wrong types and values given to ``@context`` or ``PCMExecutor`` are plain ``TypeError`` and
``ValueError``. All hold data, never live objects, and survive pickle. Only the user's own process
imports this module (it pulls in all of Parsl); the other processes send
:class:`parsl_pcm.wire.messages.Failure` instead.
"""

from __future__ import annotations

from parsl.errors import ParslError

from parsl_pcm.wire.messages import Failure, FailureKind


class PCMError(ParslError):
    """Root of all errors of parsl_pcm."""


class NotPicklable(PCMError):
    """A function, its arguments, or a recipe cannot be sent to another process."""


class ContextNotFound(PCMError):
    """A context that was named ``"package.module:name"`` cannot be imported or is no context."""


class TaskError(PCMError):
    """Why a task has no result.

    Attributes
    ----------
    message
        What was wrong, the value, and the usual cure.
    remote_traceback
        Formatted on the node where it happened; may be empty.
    log_tail
        Last lines of the log of the host concerned; may be empty.
    """

    def __init__(self, message: str, remote_traceback: str = "", log_tail: str = "") -> None:
        super().__init__(message, remote_traceback, log_tail)
        self.message = message
        self.remote_traceback = remote_traceback
        self.log_tail = log_tail

    def __str__(self) -> str:
        parts = [self.message]
        if self.remote_traceback:
            parts.append(f"Remote traceback:\n{self.remote_traceback.rstrip()}")
        if self.log_tail:
            parts.append(f"Last lines of the host's log:\n{self.log_tail.rstrip()}")
        return "\n\n".join(parts)


class ContextSetupFailed(TaskError):
    """The context of the task could not be built."""


class ContextDoesNotFit(TaskError):
    """The context of the task needs more than any node has."""


class TaskKillsHost(TaskError):
    """The task killed its host on each of its attempts."""


class WrongResults(TaskError):
    """An app that is mapped gave something else than one result for each of its items."""


class RemoteError(TaskError):
    """The user's function raised an exception, or gave a result, that cannot be pickled."""


class SinkError(PCMError):
    """Results of a map cannot be written where ``sink=`` or ``resume=`` says."""


class ResultNotWritable(SinkError):
    """The result of an item is nothing that the file can hold."""


class ResumeRefused(PCMError):
    """A map cannot go on with what is there: it is another map's, or nothing tells whose."""


class InterchangeLost(PCMError):
    """Our central process ended while tasks were open."""


class BlocksFailed(PCMError):
    """Blocks end before a manager registers, or none is left and nobody starts another."""


_CLASS_OF_KIND = {
    FailureKind.RAISED: RemoteError,
    FailureKind.SETUP_FAILED: ContextSetupFailed,
    FailureKind.KILLS_HOST: TaskKillsHost,
    FailureKind.DOES_NOT_FIT: ContextDoesNotFit,
    FailureKind.WRONG_RESULTS: WrongResults,
}


def error_from_failure(failure: Failure) -> TaskError:
    """Return the exception that tells the user about a failure."""
    error_class = _CLASS_OF_KIND[failure.kind]
    return error_class(failure.message, failure.remote_traceback, failure.log_tail)


def error_to_store(error: BaseException) -> Exception:
    """Return what a future may hold in place of what an app raised.

    Parsl's callbacks let ``SystemExit`` and its like through, into the thread that calls them.
    """
    if isinstance(error, Exception):
        return error
    stand_in = RemoteError(
        f"the app raised {type(error).__name__}: {error}. That ended this call and nothing else; "
        "return, or raise an Exception, instead"
    )
    stand_in.__cause__ = error
    return stand_in
