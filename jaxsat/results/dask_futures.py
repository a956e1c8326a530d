"""Dask's own futures in place of its bridge to ``concurrent.futures``, which loses answers.

If the scheduler ends while an answer is fetched, the bridge waits for ever: nobody resolves its future. Dask's own
future is cancelled and says why. The bridge also gives a call that failed the key of the first try, and so the same error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any


class OfClient:
    """Calls functions on the workers of a Dask client.

    Args:
        client: a ``distributed.Client``.
        options: of ``Client.submit``.
    """

    def __init__(self, client: Any, options: Mapping[str, Any]) -> None:
        self.client, self.options = client, {**options, "pure": False}

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> CallOfClient:
        """Start a call."""
        return CallOfClient(self.client, self.client.submit(fn, *args, **self.options))


class CallOfClient:
    """A call on a worker of Dask. It ends when its future does, or when the client, as it closes, forgets the future."""

    def __init__(self, client: Any, future: Any) -> None:
        self.client, self.future = client, future

    def done(self) -> bool:
        """Return whether the call has ended."""
        return self.future.done() or self.client.status in ("closing", "closed")

    def result(self) -> Any:
        """Return what the call returned, or raise its error."""
        if not self.future.done():
            raise RuntimeError("the Dask client was closed")
        return self.future.result()

    def cancel(self) -> None:
        """Do not begin the call, unless it has begun already."""
        self.future.cancel()


def unbridged(executor: Any) -> Any:
    """Return an executor that loses no answer: this one, or one of the client where it is Dask's.

    >>> import concurrent.futures
    >>> with concurrent.futures.ThreadPoolExecutor(1) as pool:
    ...     unbridged(pool) is pool
    True
    """
    dask = sys.modules.get("distributed")  # not imported: then it cannot be Dask's
    if dask is not None and isinstance(executor, dask.Client):
        return OfClient(executor, {})
    if type(executor).__module__ == "distributed.cfexecutor" and hasattr(executor, "_client"):
        return OfClient(executor._client, getattr(executor, "_kwargs", {}))
    return executor
