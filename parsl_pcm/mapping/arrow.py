"""pyarrow, where it is installed: it is wanted for Parquet files alone."""

from __future__ import annotations

import importlib
from typing import Any


def import_pyarrow(purpose: str) -> Any:
    """Return the package ``pyarrow`` with ``pyarrow.parquet``.

    Parameters
    ----------
    purpose
        For the error, as in "to read claims.parquet".

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise ImportError(
            f"pyarrow is needed {purpose}: pip install 'parsl-pcm[parquet]'"
        ) from error
