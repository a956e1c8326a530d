"""The public names of the package, read from its source; which page shows which, and which have no docstring.

Public is what `__all__` of the package and of its wings names, the public functions and classes of the modules in it, and
every class that these return.
"""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Iterator

import griffe

log = logging.getLogger("mkdocs.jaxsat.reference")
ROOT = pathlib.Path(__file__).parent.parent
WINGS = sorted(path.parent.name for path in (ROOT / "jaxsat").glob("*/__init__.py"))


class Reference:
    """Public names by wing.

    Attributes:
        paths: the shortest public path of each object, by its place in the source: 'jaxsat.theory.propagation.mean_field'
            is 'jaxsat.theory.mean_field'.
    """

    def __init__(self) -> None:
        self.package = griffe.load("jaxsat", search_paths=[str(ROOT)], docstring_parser="google")
        self.paths: dict[str, str] = {}
        self.shown: set[str] = set()
        for path, value in self._promised():
            self._take(path, value)
        waiting = list(self.paths)
        while waiting:
            for returned in self._returned(self.package[waiting.pop().removeprefix("jaxsat.")]):
                if returned.canonical_path not in self.paths:
                    self._take(returned.canonical_path, returned)
                    waiting.append(returned.canonical_path)

    def of(self, wing: str) -> list[str]:
        """Return the public paths of a wing, in alphabetical order; 'ground' has those outside all wings."""
        found = [path for place, path in self.paths.items() if wing_of(place) == wing]
        return sorted(found, key=lambda path: (path.count("."), path.lower()))

    def show(self, wing: str) -> str:
        """Return the Markdown of all names of a wing, under the module that they are called from."""
        self.shown.add(wing)
        groups: dict[str, list[str]] = {}
        for path in self.of(wing):
            groups.setdefault(self._heading(path.rpartition(".")[0]), []).append(path)
        return "\n\n".join(
            "\n\n".join([heading, *(f"::: {path}" for path in paths)])
            for heading, paths in sorted(groups.items(), key=lambda group: group[0].startswith("## Records"))
        )

    def _heading(self, owner: str) -> str:
        if owner == "jaxsat":
            return "## In `jaxsat`"
        if owner.count(".") > 1:
            return "## Records that functions return"
        module = self.package[owner.removeprefix("jaxsat.")]
        return f"## In `{owner}` {{ #{owner} }}\n\n{module.docstring.value.splitlines()[0] if module.docstring else ''}"

    def check(self) -> None:
        """Warn of every name without a docstring, and of every wing without a page: a strict build then fails."""
        for path in self.undocumented():
            log.warning(f"{path} has no docstring")
        for wing in sorted({wing_of(place) for place in self.paths} - self.shown):
            log.warning(f"no page in docs/reference/ shows the wing '{wing}': {', '.join(self.of(wing))}")

    def undocumented(self) -> Iterator[str]:
        """Yield the names without a docstring: functions, classes, and public methods and properties of classes."""
        for place in self.paths:
            value = self.package[place.removeprefix("jaxsat.")]
            if not value.docstring:
                yield place
            for name, member in value.members.items() if value.is_class else ():
                described = member.is_function or (member.is_attribute and "property" in member.labels)
                if described and not name.startswith("_") and not member.docstring:
                    yield f"{place}.{name}"

    def _promised(self) -> Iterator[tuple[str, griffe.Object]]:
        for owner in (self.package, *(self.package[wing] for wing in WINGS)):
            for name in owner.exports or ():
                yield from self._public(f"{owner.path}.{name}", owner[name])

    def _public(self, path: str, value) -> Iterator[tuple[str, griffe.Object]]:
        value = value.final_target if value.is_alias else value
        if not value.is_module:
            yield path, value
            return
        named = value.exports or [
            name for name, member in value.members.items() if not name.startswith("_") and not member.is_alias
        ]
        for name in named:
            member = value[name]
            if member.is_module or member.is_function or member.is_class:
                yield from self._public(f"{path}.{name}", member)

    def _take(self, path: str, value: griffe.Object) -> None:
        known = self.paths.get(value.canonical_path)
        if known is None or (path.count("."), len(path)) < (known.count("."), len(known)):
            self.paths[value.canonical_path] = path

    def _returned(self, value) -> Iterator[griffe.Object]:
        """Yield the classes of the package in what a function, or a method of a class, returns."""
        functions = [value] if value.is_function else []
        if value.is_class:
            functions = [m for name, m in value.members.items() if m.is_function and not name.startswith("_")]
        for function in functions:
            if function.returns is None or isinstance(function.returns, str):
                continue
            for part in function.returns.iterate(flat=True):
                place = getattr(part, "canonical_path", "")
                if place.startswith("jaxsat."):
                    returned = self.package[place.removeprefix("jaxsat.")]
                    if returned.is_alias and not returned.target_path.startswith("jaxsat."):
                        continue  # a class of another package
                    returned = returned.final_target if returned.is_alias else returned
                    if returned.is_class and not returned.name.startswith("_"):
                        yield returned


def wing_of(place: str) -> str:
    """Return the wing of a place in the source; 'ground' for what is in none."""
    part = place.split(".")[1]
    return part if part in WINGS else "ground"
