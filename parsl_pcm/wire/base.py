"""What all messages share: their base, what a failure is, the version of the protocol."""

from __future__ import annotations

import enum

from msgspec import Struct

PROTOCOL_VERSION = 4
"""Raised by one with every change of a message; a manager of another version is refused."""


class Message(Struct, frozen=True, kw_only=True, tag=True):
    """Base of all messages."""


class FailureKind(enum.Enum):
    """Why a task failed. Everything but RAISED is our report, not the user's exception."""

    RAISED = "raised"
    """The user's function raised; the pickled exception is the payload frame."""
    SETUP_FAILED = "setup_failed"
    """Its context could not be built."""
    KILLS_HOST = "kills_host"
    """It killed its host on each of its attempts."""
    DOES_NOT_FIT = "does_not_fit"
    """Its context needs more than any node has."""
    WRONG_RESULTS = "wrong_results"
    """An app that is mapped gave something else than one result for each item."""


class Failure(Struct, frozen=True, kw_only=True):
    """What the user is told about a failed task."""

    kind: FailureKind
    message: str
    """A sentence: what was wrong, the value, the usual cure."""
    remote_traceback: str = ""
    log_tail: str = ""
