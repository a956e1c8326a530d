"""What survives when a run is killed: a folder beside the store, with one file for each tile of networks.

While a run is under way, ``<store>.partial`` holds ``request.json`` and, for each tile, the state of its networks and
what was recorded of them. Files are written under another name, flushed and renamed, so that each is whole at any
moment. At the end the dataset is written in the folder, renamed to ``<store>``, and the folder removed. Several processes
may train different tiles (see ``elsewhere``); only one of them finishes.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat.results import zarr_files
from jaxsat.results.files import write_whole
from jaxsat.results.machine import Machine, check_known, this_machine

if TYPE_CHECKING:
    import xarray

KIND = "jaxsat.train"  # the attribute, and the entry of request.json, that say who wrote it


def finished(store: pathlib.Path, request: Mapping[str, Any]) -> xarray.Dataset | None:
    """Return the dataset of an earlier run of this request, read into memory; None if there is no such run.

    Raises:
        ValueError: something else is there, or the result of another request.
    """
    if not store.exists():
        return None
    import xarray

    attributes: dict[str, Any] = {}
    if (store / "zarr.json").is_file():
        attributes = json.loads((store / "zarr.json").read_text()).get("attributes", {})
    _compare(store, attributes.get(KIND), request, but_for=("platform", "jaxlib"))
    dataset = xarray.open_zarr(str(store)).load()
    if Folder.beside(store).exists():  # killed between renaming and removing
        Folder(store, request, allow_mixed=True).remove()
    return dataset


class Folder:
    """The checkpoints of one run.

    Raises:
        ValueError: the folder is of another request or, unless `allow_mixed`, another kind of machine; or it was not made
            by this module, or cannot be written.
    """

    def __init__(self, store: pathlib.Path, request: Mapping[str, Any], allow_mixed: bool = False):
        self.store, self.path = store, self.beside(store)
        zarr_files.check_folder(store.absolute().parent, "train: `store`")
        if self.path.exists():
            about = self.path / "request.json"
            _compare(self.path, about.read_text() if about.is_file() else None, request)
            if not allow_mixed:
                check_known(f"train: `store`: {self.path}", this_machine(), self.machines())
            self._note_machine(self.path)
            return
        new = self.path.with_name(f"{self.path.name}-{os.getpid()}")  # renamed when it says whose it is
        new.mkdir(exist_ok=True)  # an interrupted start may have left it
        write_whole(new / "request.json", lambda file: file.write(json.dumps(request).encode()))
        self._note_machine(new)
        new.rename(self.path)

    @staticmethod
    def beside(store: pathlib.Path) -> pathlib.Path:
        return store.with_name(store.name + ".partial")

    def machines(self) -> list[Machine]:
        """Return the kinds of machines that have worked here, in the order in which they came."""
        files = sorted(self.path.glob("machine-*.json"), key=lambda file: (file.stat().st_mtime_ns, file.name))
        return [json.loads(file.read_text()) for file in files]

    @staticmethod
    def _note_machine(folder: pathlib.Path) -> None:
        text = json.dumps(this_machine())
        file = folder / f"machine-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        if not file.exists():
            write_whole(file, lambda opened: opened.write(text.encode()))

    def save(self, name: str, tree: Any, done: int) -> None:
        """Put the leaves of a tree, and how many records it has, into the file of that name."""
        leaves: dict[str, Any] = {"done": np.asarray(done)}
        leaves |= {f"leaf{i}": np.asarray(_raw(leaf)) for i, leaf in enumerate(jax.tree.leaves(tree))}
        write_whole(self.path / f"{name}.npz", lambda file: np.savez(file, **leaves))

    def load(self, name: str, template: Any) -> tuple[Any, int] | None:
        """Return what was saved under that name, in the shape of a tree of arrays; None if nothing was saved."""
        path = self.path / f"{name}.npz"
        if not path.exists():
            return None
        leaves, structure = jax.tree.flatten(template)
        with np.load(path) as kept:
            restored = [_restored(kept[f"leaf{i}"], leaf) for i, leaf in enumerate(leaves)]
            return jax.tree.unflatten(structure, restored), int(kept["done"])

    def finish(self, dataset: xarray.Dataset) -> None:
        """Write the dataset to the path of the store, and remove the folder."""
        whole = self.path / "result.zarr"
        zarr_files.write(dataset, whole, mode="w")
        if self.store.exists():
            raise ValueError(f"train: `store`: {self.store} appeared during the run; the result is kept in {whole}.")
        whole.rename(self.store)
        self.remove()

    def remove(self) -> None:
        shutil.rmtree(self.path)


def _compare(path: pathlib.Path, text: str | None, request: Mapping[str, Any], but_for: Sequence[str] = ()) -> None:
    """Raise unless `text` is this request, but for some entries."""
    there = json.loads(text) if text else {}
    if there.get("kind") != KIND:
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
