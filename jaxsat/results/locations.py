"""Where stores are: folders of this machine, and addresses of objects such as s3://bucket/run.zarr.

A location has the methods of a path: for an address, those of ``upath.UPath``. What cannot be done alike is done here.

- A file is whole at any moment if it is written under another name, flushed and renamed. An object always is, and it is
  safe once it is written; it has no other name, and there are no folders.
- Both can be created only where there is nothing yet, so that of two processes one succeeds.
- Every look at an object takes milliseconds. Many are looked at or read with one call, side by side.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, BinaryIO, Protocol, runtime_checkable

from jaxsat import checks

METADATA = "zarr.json"  # of a store: without it, there is none
# Clients of object stores, which have errors of their own for networks and permissions.
_CLIENTS = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure", "adlfs", "fsspec")


@runtime_checkable  # for type checks while the program runs
class Location(Protocol):
    """What ``pathlib.Path`` and ``upath.UPath`` have in common, as far as stores use it."""

    @property
    def name(self) -> str: ...
    @property
    def parent(self) -> Location: ...
    def __truediv__(self, key: Any, /) -> Location: ...
    def joinpath(self, *names: Any) -> Location: ...
    def with_name(self, name: str) -> Location: ...
    def absolute(self) -> Location: ...
    def exists(self) -> bool: ...
    def iterdir(self) -> Iterator[Location]: ...


def location_of(where: str, store: Any) -> Location:
    """Return the location that a user names.

    Args:
        where: begins the messages of errors.
        store: a path, or an address with "://", or a ``UPath``, whose options are kept.

    Raises:
        TypeError: neither.
        ValueError: an address that names no store, or cannot be reached: no such service, network or permission.
        ImportError: the library for such addresses is not installed.
    """
    if not isinstance(store, str | os.PathLike | Location):
        raise TypeError(checks.refusal(where, "store", "be a path", store, "Example: 'results/run.zarr'."))
    text = str(store)
    if "://" not in text:
        return pathlib.Path(text)
    try:
        from upath import UPath

        # Others write there, too: what was listed a moment ago may have changed.
        options: dict[str, Any] = {"use_listings_cache": False}
        if text.startswith(
            ("s3:", "s3a:")
        ):  # else s3fs asks how long an object is, to read it in parts; chunks are short
            options["max_concurrency"] = 1
        location = UPath(text, **options | dict(getattr(store, "storage_options", {})))
        if location.protocol in ("file", "local"):
            return pathlib.Path(location.path)
        (location / METADATA).exists()
    except ImportError as error:
        remedy = "Install it: pip install 'jaxsat[objects]', and for gs:// gcsfs."
        raise ImportError(f"{where}: `store` {text} needs a library ({checks.first_line(error)}). {remedy}") from None
    except Exception as error:  # whatever fsspec, its clients and their networks raise
        remedy = "Check the address, the network and the keys, or write to a folder."
        raise ValueError(
            checks.refusal(
                where, "store", "be within reach", checks.Shown(f"{text} ({checks.first_line(error)})"), remedy
            )
        ) from None
    if not location.name:
        remedy = "Example: 's3://bucket/run.zarr'."
        raise ValueError(checks.refusal(where, "store", "name what it is in, and the store", text, remedy))
    return location


@contextlib.contextmanager
def within_reach(where: str, location: Location | None) -> Iterator[None]:
    """Turn errors of the client of an object store, which are of many kinds, into an OSError of one line."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or not is_lost(error):
            raise
        said = f"can no longer be reached ({checks.first_line(error)}). What was done before stays: run the same again."
        raise OSError(f"{where}: `store` {location} {said}") from error


def is_address(location: Any) -> bool:
    """Return whether a location holds objects, not files of this machine."""
    return not isinstance(location, pathlib.Path)


def make_folder(location: Location) -> None:
    """Make a folder, and those above it; objects need none."""
    if isinstance(location, pathlib.Path):
        location.mkdir(parents=True, exist_ok=True)


def read_bytes(path: Location) -> bytes:
    """Return what a file or object holds.

    Raises:
        FileNotFoundError: there is none.
    """
    if isinstance(path, pathlib.Path):
        return path.read_bytes()
    return _objects(path).cat_file(_key(path))  # at one moment: UPath asks twice, and fails if it is written in between


def write_whole(path: Location, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file or object so that at any moment it is either whole or as it was before."""
    if not isinstance(path, pathlib.Path):
        buffer = io.BytesIO()
        fill(buffer)
        _objects(path).pipe_file(_key(path), buffer.getvalue())
        return
    new = path.with_name(f"{path.name}-{os.getpid()}.new")  # another process may write the same
    with open(new, "wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def write_new(path: Location, data: bytes) -> bool:
    """Write a new file or object; return False, and write nothing, if there is one of that name."""
    try:
        if isinstance(path, pathlib.Path):
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY), "wb") as file:
                file.write(data)
        else:
            _objects(path).pipe_file(_key(path), data, mode="create")
    except FileExistsError:
        return False
    return True


def touch(path: Location, data: bytes) -> None:
    """Make a file or object as young as if it had been written now; `data` is what it holds."""
    if isinstance(path, pathlib.Path):
        os.utime(path)
    else:
        _objects(path).pipe_file(_key(path), data)


def age(path: Location) -> float:
    """Return the seconds since a file or object was written: below 0 where its clock is ahead of this one.

    Raises:
        FileNotFoundError: there is none.
    """
    if isinstance(path, pathlib.Path):
        return time.time() - path.stat().st_mtime
    return time.time() - _objects(path).modified(_key(path)).timestamp()


def version(path: Location) -> Hashable:
    """Return what changes when a file or object is written anew; None if there is none."""
    try:
        if isinstance(path, pathlib.Path):
            stat = path.stat()
            return stat.st_mtime_ns, stat.st_size, stat.st_ino
        return _objects(path).ukey(_key(path))
    except OSError:
        return None


def flush(paths: Iterable[Location]) -> None:
    """Flush files, and the entries of the folders that hold them, to the disk. Objects are safe already."""
    folders = set()
    for path in paths:
        if isinstance(path, pathlib.Path):
            _sync(path)
            folders.add(path.parent)
    for folder in folders:
        _sync(folder)


def names_in(folder: Location) -> list[str]:
    """Return the sorted names of what is in a folder; none if there is no such folder."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(entry.name for entry in folder.iterdir())
    return []


def files_below(folder: Location) -> set[str]:
    """Return all files below a folder, relative to it, with "/"; none if there is no such folder."""
    if isinstance(folder, pathlib.Path):
        return set(_walk(str(folder), ""))
    start = len(_key(folder)) + 1
    return {name[start:] for name in _objects(folder).find(_key(folder))}


def read_all(folder: Location, names: Iterable[str]) -> dict[str, bytes]:
    """Return what files below a folder hold, of those that are there."""
    if isinstance(folder, pathlib.Path):
        found, start = {}, str(folder)
        for name in names:
            with contextlib.suppress(FileNotFoundError), open(f"{start}/{name}", "rb") as file:
                found[name] = file.read()
        return found
    asked = list(names)
    keys = [f"{_key(folder)}/{name}" for name in asked]
    held = _objects(folder).cat_ranges(keys, None, None, on_error="return") if keys else []
    for data in held:
        if isinstance(data, Exception) and not isinstance(data, FileNotFoundError):
            raise data
    return {name: data for name, data in zip(asked, held, strict=True) if isinstance(data, bytes)}


def put_whole(made: pathlib.Path, location: Location, last: str) -> bool:
    """Move a folder to another location; return False if that has the file `last` already.

    Args:
        made: the folder. It stays where the location is an address.
        location: of a folder or objects.
        last: the file that says that all the others are there.
    """
    if isinstance(location, pathlib.Path):
        try:
            made.rename(location)
        except OSError:
            if not (location / last).exists():
                raise
            return False
        return True
    held = read_all(made, files_below(made) - {last})
    _objects(location).pipe({f"{_key(location)}/{name}": data for name, data in held.items()})
    return write_new(location / last, (made / last).read_bytes())


def remove(path: Location) -> None:
    """Remove a file or object, if there is one."""
    if isinstance(path, pathlib.Path):
        path.unlink(missing_ok=True)
    else:  # without a look before
        with contextlib.suppress(FileNotFoundError):
            _objects(path).rm_file(_key(path))


def remove_all(folder: Location, but_for: str | None = None, last: str | None = None) -> None:
    """Remove all objects below an address, as far as they are there.

    Args:
        folder: the address.
        but_for: a folder in it that stays.
        last: the object that goes last.
    """
    names = [name for name in files_below(folder) if name.partition("/")[0] != but_for]
    for name in sorted(names, key=lambda name: (name == last, name)):
        remove(folder / name)


def is_lost(error: Exception) -> bool:
    """Return whether an error says that a location can no longer be reached or written."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _CLIENTS


def reason_of(error: Exception) -> str:
    """Return in a few words why a location is lost."""
    return getattr(error, "strerror", None) or checks.first_line(error)


def _objects(location: Location) -> Any:
    """Return the file system of fsspec that has an object."""
    return location.fs  # type: ignore[attr-defined]


def _key(location: Location) -> str:
    return location.path  # type: ignore[attr-defined]


def _walk(folder: str, before: str) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(entry.path, f"{before}{entry.name}/")
            else:
                yield before + entry.name


def _sync(path: pathlib.Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
