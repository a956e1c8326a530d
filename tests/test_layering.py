"""Who may import whom inside jaxsat. Imports point one way; theory and measurement never meet here."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent / "jaxsat"

ALLOWED: dict[str, set[str]] = {
    "derived": set(),
    "activations": {"derived"},
    "ensembles": set(),
    "provenance": set(),
    "storage": set(),
    "estimates": set(),
    "plotting": set(),
    "precision": {"activations"},
    "saturation": {"activations"},
    "ordering": set(),
    "network": {"activations", "ensembles", "ordering"},
    "graded_svd": set(),
    "graded": {"graded_svd", "ordering"},
    "krylov": set(),
    "spectrum": {"graded", "krylov", "ordering"},
    "jacobian": {"graded", "network", "spectrum"},
    "gradients": {"network"},
    "measures": {"activations", "gradients", "jacobian", "network", "ordering", "saturation", "spectrum"},
    "sweep": {"activations", "measures", "network", "provenance", "storage"},
}


def imports_of(path: pathlib.Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "jaxsat":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxsat."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("jaxsat.")}
    return found


def outside_imports_of(path: pathlib.Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    names += [n.module or "" for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", sorted(p for p in ROOT.glob("*.py") if p.stem != "__init__"), ids=lambda p: p.stem)
def test_module_imports_only_what_the_table_allows(path):
    assert path.stem in ALLOWED, f"{path.name} has no row in the table"
    assert imports_of(path) <= ALLOWED[path.stem]


def test_table_names_existing_modules():
    assert set(ALLOWED) == {p.stem for p in ROOT.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.py")), ids=lambda p: p.stem)
def test_only_plotting_knows_matplotlib_and_it_knows_no_jax(path):
    outside = outside_imports_of(path)
    assert ("matplotlib" in outside) == (path.stem == "plotting")
    if path.stem in ("plotting", "estimates", "storage"):
        assert "jax" not in outside
