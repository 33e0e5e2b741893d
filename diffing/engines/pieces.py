"""Pieces of bytes: cut by where they end, and put together in another order."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ends: TypeAlias = npt.NDArray[np.integer[Any]]
Data: TypeAlias = bytes | memoryview | npt.NDArray[np.uint8] | pa.Buffer


def cut(data: Data, ends: Ends) -> pa.Array:
    """Pieces that follow each other from the first byte on; fewer than 2 GB of them."""
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends
    return pa.BinaryArray.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def put_together(pieces: pa.Array, wanted: npt.NDArray[np.integer[Any]]) -> tuple[pa.Buffer, Ends]:
    """The pieces with these numbers, one after the other, and where each of them ends."""
    numbers = np.ascontiguousarray(wanted, np.int64)
    places = pa.Array.from_buffers(pa.int64(), len(wanted), [None, pa.py_buffer(numbers)])
    taken = _call()("take", [pieces, places], memory_pool=pa.system_memory_pool())  # others keep what they get
    _, offsets, data = taken.buffers()
    return data, np.frombuffer(offsets, np.int32, len(taken) + 1)[1:]


@cache
def _call() -> Callable[..., Any]:
    """Arrow's `call_function`, without the wrappers around it, which take 80 ms to load."""
    try:
        from pyarrow._compute import call_function
    except ImportError:
        from pyarrow.compute import call_function
    found: Callable[..., Any] = call_function
    return found
