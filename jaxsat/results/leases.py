"""Leases: who is at work on what, among processes that share a folder, or an address of objects, and nothing else.

A lease is a file that can be made only where there is none. Its owner touches it while it lives. A lease is free again when
it was not touched for two minutes, or when its process, on this host, is gone. Two processes may then believe that they own
the same lease, so work under a lease must be harmless when it is done twice. Leases save work; they are no lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import threading
from typing import Any

from jaxsat.results import locations
from jaxsat.results.locations import Location

HEARTBEAT, STALE = 10.0, 120.0  # seconds: between touches, and without a touch until a lease is free


class Leases:
    """The leases of one process on names in a folder.

    Use it as a context manager: on leaving, the heartbeat stops and all leases that are still held are given back.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Leases(folder) as mine, Leases(folder) as other:
    ...     mine.take("a"), other.take("a"), other.held_by_others()
    (True, False, ['a'])
    """

    def __init__(self, folder: str | Location):
        self.folder = pathlib.Path(folder) if isinstance(folder, str) else folder
        pid = os.getpid()
        self._holder = json.dumps({"host": socket.gethostname(), "pid": pid, "born": _born(pid)}).encode()
        self._held: set[str] = set()
        self._changing = threading.Lock()
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Leases:
        locations.make_folder(self.folder)
        self._heart.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._heart.join()
        for name in tuple(self._held):
            # A lease is free when this process is gone; what ended the work matters more.
            with contextlib.suppress(Exception):
                self.give_back(name)

    def take(self, name: str) -> bool:
        """Take the lease on a name; return False if a living process has it."""
        path = self.folder / name
        if name in self._held:
            return False
        if not locations.write_new(path, self._holder):
            if self._is_held(path):
                return False
            locations.remove(path)
            if not locations.write_new(path, self._holder):
                return False
        with self._changing:
            self._held.add(name)
        return True

    def give_back(self, name: str) -> None:
        """Give the lease on a name back."""
        with self._changing:
            self._held.discard(name)
            locations.remove(self.folder / name)

    def clear(self) -> None:
        """Remove the leases of processes that are gone."""
        for name in locations.names_in(self.folder):
            if name not in self._held and not self._is_held(self.folder / name):
                locations.remove(self.folder / name)

    def held_by_others(self) -> list[str]:
        """Return the names that other living processes have leased."""
        names = locations.names_in(self.folder)
        return [name for name in names if name not in self._held and self._is_held(self.folder / name)]

    def _is_held(self, path: Location) -> bool:
        try:
            # A clock that is ahead makes times in the future: such a lease is as old as it is far from now.
            if abs(locations.age(path)) > STALE:
                return False
            owner = json.loads(locations.read_bytes(path))
            return owner["host"] != socket.gethostname() or _born(owner["pid"]) == owner["born"]
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError):  # just made and not written yet, or garbled: free when it is old
            return True

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            with self._changing:
                held = tuple(self._held)
            for name in held:
                # The next beat may succeed: a lease is stale after two minutes.
                with self._changing, contextlib.suppress(Exception):
                    if name in self._held:  # else it has just been given back
                        locations.touch(self.folder / name, self._holder)


def _born(pid: int) -> str | None:
    """Return when a process of this host began, in the kernel's own count; None if it is gone.

    A process number alone is not enough: numbers are used again.
    """
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    if pathlib.Path("/proc/self/stat").exists():
        return None
    try:  # a system without /proc
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"
