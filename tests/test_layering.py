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
    "datasets": set(),
    "estimates": set(),
    "plotting": set(),
    "gaussian": {"activations"},
    "normalization": set(),
    "theory/__init__": {"theory"},
    "theory/arguments": {"activations"},
    "theory/lengths": {"activations", "gaussian"},
    "theory/propagation": {"activations", "gaussian", "theory"},
    "theory/remedies": {"activations", "gaussian", "theory"},
    "theory/free_probability": {"activations", "gaussian", "theory"},
    "theory/exact_norms": {"activations", "theory"},
    "theory/log_normal": {"activations", "gaussian", "theory"},
    "theory/dying": {"activations", "theory"},
    "precision": {"activations"},
    "magnitudes": set(),
    "initializers": {"activations", "ensembles", "theory"},
    "monitoring": {"magnitudes", "probing"},
    "probing/__init__": {"probing"},
    "probing/primitives": set(),
    "probing/values": set(),
    "probing/naming": {"activations", "probing"},
    "probing/facts": {"probing"},
    "probing/loops": {"probing"},
    "probing/reader": {"probing"},
    "probing/places": {"activations", "probing"},
    "probing/measuring": {"magnitudes", "probing"},
    "probing/program": {"probing"},
    "probing/sites": {"activations", "probing"},
    "probing/findings": {"activations", "precision", "probing", "theory"},
    "probing/report": {"plotting", "probing"},
    "probing/prober": {"probing"},
    "saturation": {"activations"},
    "ordering": set(),
    "network": {"activations", "ensembles", "normalization", "ordering"},
    "graded_svd": set(),
    "graded": {"graded_svd", "ordering"},
    "krylov": set(),
    "spectrum": {"graded", "krylov", "ordering"},
    "jacobian": {"graded", "network", "normalization", "spectrum"},
    "gradients": {"network", "normalization"},
    "measures": {"activations", "gradients", "jacobian", "network", "ordering", "saturation", "spectrum"},
    "grid": {"activations", "network"},
    "tiles": {"measures", "network"},
    "layout": set(),
    "claims": set(),
    "progress": set(),
    "request": {"grid", "layout", "measures", "network", "tiles"},
    "store": {"claims", "layout", "storage"},
    "config": {"network"},
    "cost": {"request", "tiles"},
    "default_figure": {"estimates", "plotting"},
    "__main__": {"config", "cost", "default_figure", "request", "store", "sweep"},
    "work": {"grid", "layout", "request", "tiles"},
    "stored": {
        "claims",
        "layout",
        "progress",
        "provenance",
        "request",
        "storage",
        "store",
        "tiles",
        "work",
    },
    "sweep": {"measures", "network", "progress", "provenance", "request", "stored", "work"},
    "training/__init__": {"training"},
    "training/request": {"grid", "network"},
    "training/recording": {"gradients", "jacobian", "measures", "network", "saturation"},
    "training/steps": {"grid", "network", "training"},
    "training/checkpoints": {"storage"},
    "training/program": {"grid", "training"},
    "training/labels": {"grid", "measures", "training"},
    "training/together": {"grid", "network", "progress", "provenance", "training"},
}


MODULES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


def name_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix()


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


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_imports_only_what_the_table_allows(path):
    assert name_of(path) in ALLOWED, f"{path.name} has no row in the table"
    assert imports_of(path) <= ALLOWED[name_of(path)]


def test_table_names_existing_modules():
    assert set(ALLOWED) == {name_of(path) for path in MODULES}


@pytest.mark.parametrize("path", [ROOT / "__init__.py", *MODULES], ids=name_of)
def test_only_plotting_knows_matplotlib_and_it_knows_no_jax(path):
    outside = outside_imports_of(path)
    assert ("matplotlib" in outside) == (path.stem == "plotting")
    if path.stem in ("plotting", "estimates", "storage", "store", "claims", "layout", "progress"):
        assert "jax" not in outside
