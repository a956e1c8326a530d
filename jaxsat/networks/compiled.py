"""Programs that are kept in the process, so that a second call with the same shapes neither traces nor compiles."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import jax

Kept = TypeVar("Kept")


SETTINGS = [
    "jax_default_device",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_debug_nans",
    "jax_disable_jit",
]


def settings() -> tuple[str, ...]:
    """Return the settings of JAX that decide what a trace becomes: dtypes, precision, promotion, devices, random keys."""
    default = str(jax.numpy.result_type(float))
    return (default, str(jax.local_devices()), *(str(getattr(jax.config, name)) for name in SETTINGS))


def seen_from_here(work: Callable[[], Kept]) -> Callable[[], Kept]:
    """Return `work` to be done in another thread, which does not see the caller's ``enable_x64`` by itself.

    >>> import concurrent.futures
    >>> with jax.enable_x64(True), concurrent.futures.ThreadPoolExecutor() as pool:
    ...     pool.submit(seen_from_here(lambda: jax.numpy.result_type(float).name)).result()
    'float64'
    """
    double = jax.numpy.result_type(float) == jax.numpy.float64

    def within() -> Kept:
        with jax.enable_x64(double):
            return work()

    return within


class Programs(Generic[Kept]):
    """The programs used last, up to a number, under the keys that determine them.

    A key names all that a program depends on beside JAX's settings, which are added to it: static fields, shapes, dtypes,
    and the objects (a measure's function, an optimiser) that are traced. Such objects are kept alive as long as their
    program. Threads may share it.

    Args:
        most: how many programs to keep.

    >>> programs = Programs(most=2)
    >>> [programs.get(key, lambda: key.upper()) for key in ("a", "b", "a", "c")], len(programs)
    (['A', 'B', 'A', 'C'], 2)
    """

    def __init__(self, most: int):
        self._most = most
        self._kept: collections.OrderedDict[tuple[object, ...], Kept] = collections.OrderedDict()
        self._changing = threading.RLock()

    def get(self, key: object, make: Callable[[], Kept]) -> Kept:
        """Return the program under a key; make it if it is not there, or if the key has no hash.

        Args:
            key: what determines the program.
            make: traces it, compiles it, or both. Called at most once for a key while the program is kept.
        """
        try:
            hash(key)
        except TypeError:
            return make()
        with self._changing:
            whole = (key, settings())
            if whole not in self._kept:
                made = make()
                self._kept[whole] = made
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
                return made
            self._kept.move_to_end(whole)
            return self._kept[whole]

    def clear(self) -> None:
        """Forget all programs."""
        with self._changing:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)
