"""What survives when a run is killed: a folder beside the store, or an address, with one file for each tile of networks.

While a run is under way, ``<store>.partial`` holds ``request.json`` and, for each tile, the state of its networks and
what was recorded of them. Files are written under another name, flushed and renamed, so that each is whole at any
moment. At the end the dataset is written in the folder, renamed to ``<store>``, and the folder removed. Several processes
may train different tiles (see ``elsewhere``), or all of them: whoever ends first makes the store, and the others find it.
Objects cannot be renamed: there, the object that says what the others are is written last, and removed last.
"""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat.results import locations, zarr_files
from jaxsat.results.locations import METADATA, Location, write_whole
from jaxsat.results.machine import Machine, check_known, this_machine

if TYPE_CHECKING:
    import xarray

REQUEST = "request.json"  # of a folder of checkpoints
KIND = "jaxsat.train"  # the attribute, and the entry of request.json, that say who wrote it


def finished(store: Location, request: Mapping[str, Any]) -> xarray.Dataset | None:
    """Return the dataset of an earlier run of this request, read into memory; None if there is no such run.

    Raises:
        ValueError: something else is there, the result of another request, or one that is damaged.
    """
    if not _is_there(store):
        return None
    _check_result(store, request)
    try:
        dataset = zarr_files.read_whole(store)
    except ValueError as error:
        raise ValueError(f"train: `store`: {error}. Move it away, and the training is done anew.") from error
    if (Folder.beside(store) / REQUEST).exists():  # killed between renaming and removing
        Folder(store, request, allow_mixed=True).remove()
    return dataset


class Folder:
    """The checkpoints of one run.

    Raises:
        ValueError: the folder is of another request or, unless `allow_mixed`, another kind of machine; or it was not made
            by this module, or cannot be written.
    """

    def __init__(self, store: Location, request: Mapping[str, Any], allow_mixed: bool = False):
        self.store, self.path, self.request = store, self.beside(store), request
        zarr_files.check_folder(store.absolute().parent, "train: `store`")
        if not self._is_begun():
            self._make(request)
        _compare(self.path, self.path / REQUEST, lambda kept: kept, request)
        if not allow_mixed:
            check_known(f"train: `store`: {self.path}", this_machine(), self.machines())
        self._note_machine(self.path)

    def _is_begun(self) -> bool:
        if isinstance(self.path, pathlib.Path):
            return self.path.exists()
        # Without a request, and with more than this, it is somebody else's.
        return not all(name.startswith("machine-") for name in locations.names_in(self.path))

    def _make(self, request: Mapping[str, Any]) -> None:
        """Make the folder, unless another process does so at the same time."""
        text = json.dumps(request).encode()
        if not isinstance(self.path, pathlib.Path):
            self._note_machine(self.path)
            locations.write_new(self.path / REQUEST, text)
            return
        new = self.path.with_name(f"{self.path.name}-{uuid.uuid4().hex}")
        new.mkdir()
        try:
            write_whole(new / REQUEST, lambda file: file.write(text))
            self._note_machine(new)
            new.rename(self.path)  # now that it says whose it is
        except OSError:
            if not self.path.exists():
                raise
        finally:
            shutil.rmtree(new, ignore_errors=True)

    @staticmethod
    def beside(store: Location) -> Location:
        return store.with_name(store.name + ".partial")

    def machines(self) -> list[Machine]:
        """Return the kinds of machines that have worked here, in the order in which they came."""
        files = [self.path / name for name in locations.names_in(self.path) if name.startswith("machine-")]
        files = [file for file in files if file.name.endswith(".json")]
        return [json.loads(locations.read_bytes(file)) for file in sorted(files, key=locations.age, reverse=True)]

    @staticmethod
    def _note_machine(folder: Location) -> None:
        text = json.dumps(this_machine())
        file = folder / f"machine-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        if not file.exists():
            write_whole(file, lambda opened: opened.write(text.encode()))

    def save(self, name: str, tree: Any, done: int) -> None:
        """Put the leaves of a tree, and how many records it has, into the file of that name.

        Nothing is saved any more once another process has made the store of this request, and removed the folder.
        """
        leaves: dict[str, Any] = {"done": np.asarray(done)}
        leaves |= {f"leaf{i}": np.asarray(_raw(leaf)) for i, leaf in enumerate(jax.tree.leaves(tree))}
        try:
            if locations.is_address(self.path) and not (self.path / REQUEST).exists():
                raise FileNotFoundError(f"{self.path} is no longer there")
            write_whole(self.path / f"{name}.npz", lambda file: np.savez(file, **leaves))
        except FileNotFoundError:
            if not self._is_finished():
                raise

    def load(self, name: str, template: Any) -> tuple[Any, int] | None:
        """Return what was saved under that name, in the shape of a tree of arrays.

        None if nothing was saved or, with a warning, if the file is damaged: then it is as if nothing had been saved.
        """
        path = self.path / f"{name}.npz"
        if not path.exists():
            return None
        leaves, structure = jax.tree.flatten(template)
        content = io.BytesIO(locations.read_bytes(path))
        try:
            with np.load(content) as kept:
                restored = [_restored(kept[f"leaf{i}"], leaf) for i, leaf in enumerate(leaves)]
                return jax.tree.unflatten(structure, restored), int(kept["done"])
        except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds for bytes that are wrong
            what = f"train: `store`: {path} is damaged ({error}); its networks are trained from their start"
            warnings.warn(what, stacklevel=2)
            return None

    def finish(self, dataset: xarray.Dataset) -> None:
        """Write the dataset to the path of the store, unless another process has done so, and remove the folder."""
        name = f"result-{uuid.uuid4().hex}.zarr"
        if isinstance(self.path, pathlib.Path):
            self._move_to_store(dataset, self.path / name)
        else:
            with tempfile.TemporaryDirectory() as folder:
                self._move_to_store(dataset, pathlib.Path(folder) / name)
        self.remove()

    def _move_to_store(self, dataset: xarray.Dataset, whole: pathlib.Path) -> None:
        """Write the dataset somewhere on this machine, and move it to the path of the store."""
        try:
            zarr_files.write(dataset, whole)
            if _is_there(self.store):  # an empty folder would be replaced
                raise FileExistsError
            if not locations.put_whole(whole, self.store, METADATA):
                raise FileExistsError
        except OSError:
            if not _is_there(self.store):
                raise
            if not self._is_finished():
                kept = f"; the result is kept in {whole}" if isinstance(self.store, pathlib.Path) else ""
                raise ValueError(f"train: `store`: {self.store} appeared during the run{kept}.") from None

    def _is_finished(self) -> bool:
        """Return whether another process has made the store of this request."""
        try:
            _check_result(self.store, self.request)
        except (ValueError, OSError):
            return False
        return True

    def remove(self) -> None:
        # Another process that has ended, too, may be removing it.
        if isinstance(self.path, pathlib.Path):
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            locations.remove_all(self.path, last=REQUEST)


def _is_there(store: Location) -> bool:
    """Return whether something is at the path of a store, but not what a killed process left there among objects."""
    if locations.is_address(store) and (Folder.beside(store) / REQUEST).exists():
        return (store / METADATA).exists()
    return store.exists()


def is_result(store: Location) -> bool:
    """Return whether a folder is a store that ``train`` has written."""
    try:
        return KIND in json.loads(locations.read_bytes(store / METADATA))["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check_result(store: Location, request: Mapping[str, Any]) -> None:
    """Raise unless a finished store is of this request."""

    def request_in(kept: Any) -> Any:
        return json.loads(kept["attributes"][KIND])

    _compare(store, store / METADATA, request_in, request, but_for=("platform", "jaxlib"))


def _compare(
    path: Location, file: Location, request_in: Callable[[Any], Any], request: Mapping[str, Any],
    but_for: Sequence[str] = (),
) -> None:  # fmt: skip
    """Raise unless the JSON in a file holds this request, but for some entries."""
    there: Any = None
    try:
        there = request_in(json.loads(locations.read_bytes(file)))
        own = there.get("kind") == KIND
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, AttributeError):
        own = False
    except ValueError as error:  # no JSON, or no text
        raise ValueError(
            f"train: `store`: {file} is damaged ({error}). Move {path.name} away, or choose another path."
        ) from None
    if not own:
        raise ValueError(f"train: `store`: {path} exists and was not written by jaxsat.train. Choose another path.")
    asked = json.loads(json.dumps(request))
    names = [name for name in {**there, **asked} if name not in but_for]
    different = [name for name in names if there.get(name) != asked.get(name)]
    others = [name for name in different if name != "program"]
    if others:
        parts = [f"{name} is {_short(there.get(name))} there and {_short(asked.get(name))} here" for name in others]
        raise ValueError(f"train: `store`: {path} is of another request: {'; '.join(parts)}. Choose another path.")
    if different:
        raise ValueError(
            f"train: `store`: {path} is of another optimiser, activation, device or version of JAX: the compiled program "
            "differs, all else is equal. Choose another path."
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _raw(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _restored(kept: np.ndarray, leaf: Any) -> Any:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(kept), impl=jax.random.key_impl(leaf))
    return kept.view(leaf.dtype)  # NumPy's files forget the names of bfloat16 and its like
