"""Hand calls to an executor: processes, a Dask cluster, batch jobs. A call that fails is made again.

Any executor of PEP 3148 works: ``submit(function, *arguments)`` returns something with ``done()`` and ``result()``.
"""

from __future__ import annotations

import contextlib
import importlib
import pickle
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from jaxsat import checks
from jaxsat.results import dask_futures

ATTEMPTS = 3  # of a call that fails
SECONDS_BETWEEN_LOOKS = 0.05
LONGEST_ERROR = 1000  # characters of a worker's error that are shown

Key = TypeVar("Key", bound=Hashable)


@runtime_checkable  # for type checks while the program runs
class Errand(Protocol):
    """What an executor returns for a call, a ``concurrent.futures.Future`` or its like."""

    def done(self) -> bool:
        """Return whether the call has ended."""
        ...

    def result(self) -> Any:
        """Return what the call returned, or raise its error."""
        ...


@runtime_checkable
class Executor(Protocol):
    """What calls functions somewhere else, a ``concurrent.futures.Executor`` or its like."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Errand:
        """Start a call."""
        ...


def check_executor(caller: str, executor: Any, store: Any) -> None:
    """Raise unless this is an executor, and there is a store that workers can write."""
    if not callable(getattr(executor, "submit", None)):
        rule, remedy = "have a method `submit`, as executors have", "Example: concurrent.futures.ProcessPoolExecutor."
        raise TypeError(checks.refusal(caller, "executor", rule, checks.Shown(type(executor).__name__), remedy))
    if store is None:
        rule, remedy = "come with a `store`", "Workers save their work there."
        raise ValueError(checks.refusal(caller, "executor", rule, checks.Shown("store=None"), remedy))


def call_all(
    executor: Executor,
    function: Callable[..., Any],
    calls: Mapping[Key, tuple[Any, ...]],
    ended: Callable[[Key, Any], bool],
) -> dict[Key, BaseException]:
    """Make all calls and return the errors of those that failed: three times, or when the executor took no more.

    An interrupt, or an error of `ended`, cancels the calls that have not begun.

    Args:
        executor: makes them, side by side.
        function: is called; the executor must be able to send it.
        calls: their arguments.
        ended: takes a call's key and what it returned, as soon as it ends, and says whether the work is done.
    """
    executor = dask_futures.unbridged(executor)
    under_way: dict[Key, Errand] = {}
    attempts, failed = dict.fromkeys(calls, 1), {}
    try:
        for key, arguments in calls.items():
            under_way[key] = executor.submit(function, *arguments)
        while under_way:
            over = [key for key, errand in under_way.items() if errand.done()]
            if not over:
                time.sleep(SECONDS_BETWEEN_LOOKS)
            for key in over:
                error = _error_of(under_way.pop(key), key, ended)
                if error is None:
                    continue
                again = _again(executor, function, calls[key]) if attempts[key] < ATTEMPTS else None
                if again is None:
                    failed[key] = error
                else:
                    attempts[key] += 1
                    under_way[key] = again
    finally:
        for errand in under_way.values():
            if callable(cancel := getattr(errand, "cancel", None)):  # jobs of a batch system have it, too
                with contextlib.suppress(Exception):  # what ended the work matters more
                    cancel()
    return failed


def check_all_done(caller: str, failed: Mapping[Any, BaseException], count: int, kept: str) -> None:
    """Raise a RuntimeError if some of `count` calls failed for good; `kept` says where the work of the others is."""
    if failed:
        error = next(iter(failed.values()))
        raise RuntimeError(
            f"{caller}: {len(failed)} of {count} tasks could not be computed by `executor`; {kept}. "
            f"Run the same again for what is missing. The first error: {_first_line(error)}"
        ) from error


def pickled(caller: str, arguments: Mapping[str, Any]) -> bytes:
    """Return arguments as bytes. Where cloudpickle is installed, it takes what pickle cannot write."""
    try:
        return pickle.dumps(dict(arguments))
    except Exception as error:
        try:
            return importlib.import_module("cloudpickle").dumps(dict(arguments))
        except Exception:
            rule = "get arguments that can be pickled"
            remedy = "Define functions in a module that the workers can import, or install cloudpickle."
            raise TypeError(checks.refusal(caller, "executor", rule, checks.Shown(error), remedy)) from None


def _first_line(error: BaseException) -> str:
    """Return the message of an error, which may be a line of jaxsat's own; what is longer is cut."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST_ERROR else text[: LONGEST_ERROR - 3] + "..."


def _error_of(errand: Errand, key: Key, ended: Callable[[Key, Any], bool]) -> BaseException | None:
    try:
        result = errand.result()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a cancelled call is no Exception
        return error
    return None if ended(key, result) else RuntimeError("the call ended, but its work is not there")


def _again(executor: Executor, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Errand | None:
    """Return a call that is made again; None if the executor takes no more."""
    try:
        return executor.submit(function, *arguments)
    except Exception:  # a pool whose process died or that was shut down, a client that was closed
        return None
