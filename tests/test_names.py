"""One word, one meaning: no two public things of the package share a name.

A thing is a module, or a class, function or constant that a module defines at its top. Handing a thing on
(``from .. import ..``) gives it no second meaning. A module and a function of one name clash too: once the function is
imported into the package, ``jaxsat.NAME`` is the function, and the module can no longer be reached.
"""

import ast
import collections
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "jaxsat").rglob("*.py"))

# Every catalogue is read in the same way: ``names()`` lists it, ``get(name)`` returns one entry.
SAME_IN_EVERY_CATALOGUE = {"get", "names"}
# One quantity, measured in `measures` and predicted in `theory`: two witnesses, one name.
MEASURED_AND_PREDICTED = {"log_gradient_norms"}
# A function of `jaxsat.plotting` is called as what it draws.
DRAWN = {"spectrum"}


def definitions(file: str, text: str) -> list[tuple[str, str]]:
    """Public names that a file defines, each with its place: a module stands for itself, a package's __init__ for it."""
    path = pathlib.PurePath(file)
    module = path.parent.name if path.stem == "__init__" else path.stem
    found = [(module, f"{file} (module)")]
    for node in ast.parse(text).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            overload = any(isinstance(by, ast.Name) and by.id == "overload" for by in node.decorator_list)
            names = [] if overload else [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            leaves = [leaf for target in targets for leaf in ast.walk(target)]
            names = [leaf.id for leaf in leaves if isinstance(leaf, ast.Name) and isinstance(leaf.ctx, ast.Store)]
        else:
            continue
        found += [(name, f"{file}:{node.lineno}") for name in names]
    return [(name, place) for name, place in found if not name.startswith("_")]


def clashes(defined: list[tuple[str, str]]) -> dict[str, list[str]]:
    places = collections.defaultdict(list)
    for name, place in defined:
        places[name].append(place)
    return {name: where for name, where in sorted(places.items()) if len(where) > 1}


def test_no_two_public_things_share_a_name():
    defined = [pair for file in FILES for pair in definitions(file, (ROOT / file).read_text())]
    found = {
        name: where
        for name, where in clashes(defined).items()
        if name not in SAME_IN_EVERY_CATALOGUE | MEASURED_AND_PREDICTED | DRAWN
    }
    lines = [f"{name}: {', '.join(where)}" for name, where in found.items()]
    assert not found, "\n".join(["Rename all but one, or let one file define it and the others import it:", *lines])


def test_the_walk_sees_every_form_of_definition():
    text = (
        "import a\nfrom b import c\nclass D: ...\ndef e(): ...\nF = G = 1\nh: int = 2\nI, J = 3, 4\n_k = 5\nn.o = 6\n"
    )
    assert [name for name, _ in definitions("p/m.py", text)] == ["m", "D", "e", "F", "G", "h", "I", "J"]
    assert definitions("p/__init__.py", "") == [("p", "p/__init__.py (module)")]
    assert definitions("p/__main__.py", "") == []
    both = [*definitions("p/m.py", "def x(): ..."), *definitions("p/x.py", "")]
    assert clashes(both) == {"x": ["p/m.py:1", "p/x.py (module)"]}
