"""A strict build fails, and says which page, link, name or figure is wrong. It needs the site's own environment."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-docs" / "bin" / "python"
needs_mkdocs = pytest.mark.skipif(
    not PYTHON.exists(), reason="the site's environment is not made: `make docs` does that"
)


def built(project: pathlib.Path) -> subprocess.CompletedProcess:
    """What MkDocs says of a project."""
    command = [PYTHON, "-m", "mkdocs", "build", "--strict"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(project)}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@needs_mkdocs
def test_what_is_wrong_is_named(tmp_path):
    for name in ("docs", "website", "jaxsat"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mkdocs.yml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "ARCHITECTURE.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "docs" / "stray.md").write_text(
        "# Stray\n\n[a](nowhere.md), [b](index.md#nothing) and $\\fraction{1}$.\n"
    )
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "born_dead.png").write_bytes(b"")
    with (tmp_path / "jaxsat" / "theory" / "__init__.py").open("a") as file:
        file.write("\n\ndef undescribed():\n    return 1\n\n\n__all__ += ['undescribed']\n")
    seen = built(tmp_path)
    assert seen.returncode != 0
    for words in (
        "stray.md",
        "contains a link 'nowhere.md'",
        "does not contain an anchor '#nothing'",
        "jaxsat.theory.undescribed has no docstring",
        "figures/born_dead.png has no caption",
        "the tutorial report_to_cure has not been run",
        "no catalogue of measures",
        "stray.md: the formula",
    ):
        assert words in seen.stderr, seen.stderr


@pytest.mark.slow
@needs_mkdocs
@pytest.mark.parametrize("module", ["docstrings"])
def test_examples_of_the_builder_run(module):
    subprocess.run([PYTHON, "-m", "doctest", f"website/{module}.py"], cwd=ROOT, check=True, timeout=60)
