"""Who may import whom: imports point down, file by file, and never in a circle.

A wing may import the wings of its row in BELOW, and itself. `theory` and `networks` never see each other, so that what
is predicted and what is measured are two witnesses; they meet in the analyses, and in the advice of `probing`.
"""

import ast
import functools
import graphlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
GROUND = {"checks", "addresses", "jax_compat"}
MATRICES = GROUND | {"activations", "linalg", "results"}
MEASURED = MATRICES | {"networks", "measures"}

BELOW: dict[str, set[str]] = {
    "checks": {"jax_compat"},
    "addresses": {"checks", "jax_compat"},
    "jax_compat": set(),
    "activations": GROUND,
    "linalg": GROUND,
    "results": GROUND,
    "theory": MATRICES,
    "networks": MATRICES,
    "measures": MATRICES | {"networks"},
    "sweeps": MEASURED,
    "training": MEASURED,
    "probing": MATRICES | {"theory", "networks"},
    "plotting": GROUND | {"activations", "results", "theory"},
    "__init__": MEASURED | {"theory", "sweeps", "training", "probing", "plotting"},
    "__main__": MEASURED | {"sweeps", "training", "plotting"},
}
# Files that no library may reach: NumPy-only code, so that results open where JAX is not installed.
WITHOUT_JAX = {
    "estimates",
    "student",
    "sample_arrays",
    "drawing",
    "tidy",
    "zarr_files",
    "header",
    "locations",
    "new_store",
    "worker_memory",
    "marks",
    "store",
    "verify",
    "leases",
    "layout",
    "progress",
}

FILES = sorted(p.relative_to(ROOT).as_posix() for top in ("jaxsat", "analyses") for p in (ROOT / top).rglob("*.py"))
PACKAGE = [file for file in FILES if file.startswith("jaxsat/")]
QUESTIONS = [file for file in FILES if file.startswith("analyses/")]


def wing_of(file: str) -> str:
    return pathlib.PurePath(file).parts[1].removesuffix(".py")


def file_of(dotted: str) -> str | None:
    """The file of a module or package; None if there is none."""
    path = dotted.replace(".", "/")
    return next((file for file in (f"{path}.py", f"{path}/__init__.py") if (ROOT / file).is_file()), None)


@functools.cache
def tree_of(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


@functools.cache
def imports_of(file: str) -> frozenset[str]:
    """Files of the project that a file imports: at its top or inside a function, by absolute or relative names."""
    package = list(pathlib.PurePath(file).parent.parts)
    found: set[str] = set()
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" if file_of(f"{module}.{alias.name}") else module for alias in node.names]
        else:
            continue
        found |= {target for name in names if (target := file_of(name)) is not None}
    return frozenset(found - {file})


@pytest.mark.parametrize("file", PACKAGE)
def test_imports_point_down(file):
    wing = wing_of(file)
    assert wing in BELOW, f"{file} stands in no wing that the table knows"
    for target in imports_of(file):
        assert target.startswith("jaxsat/"), f"{file} imports {target}"
        assert wing_of(target) in BELOW[wing] | {wing}, f"{file} imports {target}"


def test_table_has_no_circle_and_names_what_exists():
    assert set(BELOW) == {wing_of(file) for file in PACKAGE}
    list(graphlib.TopologicalSorter(BELOW).static_order())


@pytest.mark.parametrize("file", QUESTIONS)
def test_questions_import_the_library_and_what_they_share_but_no_other_question(file):
    own = f"analyses/{wing_of(file)}/"
    for target in imports_of(file):
        allowed = target.startswith(("jaxsat/", "analyses/shared/", own))
        assert allowed or target == "analyses/__init__.py", f"{file} imports {target}"


def test_no_file_is_in_a_circle():
    list(graphlib.TopologicalSorter({file: imports_of(file) for file in FILES}).static_order())


def test_the_reader_of_imports_sees_every_form():
    assert imports_of("jaxsat/__init__.py") >= {"jaxsat/theory/__init__.py", "jaxsat/networks/mlp.py"}
    assert "jaxsat/results/drawing.py" in imports_of("jaxsat/probing/report.py")  # inside a function


@pytest.mark.parametrize("file", PACKAGE)
def test_only_drawing_knows_matplotlib_and_it_knows_no_jax(file):
    nodes = list(ast.walk(tree_of(file)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    outside = {name.split(".")[0] for name in names}
    stem = pathlib.PurePath(file).stem
    assert ("matplotlib" in outside) == (stem == "drawing")
    if stem in WITHOUT_JAX:
        assert "jax" not in outside
