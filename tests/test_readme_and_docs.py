"""What the documents show is so: their code runs, and every path, make target and public name in them exists.

Code with prompts (``>>>``) runs as doctests of the files that pytest's `testpaths` names, or in `tests/website/test_pages.py`.
Code without prompts runs in a test of its own.
"""

import importlib
import pathlib
import re
import tomllib

import pytest

from tests.test_layering import BELOW, GROUND
from tests.website.test_pages import QUICK, SLOW

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
RUN_BY = {"docs/from_pytorch_hooks.md": "tests/website/test_pytorch_page.py"}
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
# Folders of the project: a path that begins with one of them must exist. What `make` makes is not there yet.
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()} - {".venv", "figures"}

pages = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def code_spans(text: str) -> list[str]:
    """What stands in backticks outside of blocks, and the lines of blocks that are not Python."""
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", prose) + [line for block in blocks for line in block.splitlines()]


def paths_in(text: str) -> set[str]:
    words = {word.rstrip(".,;:") for span in code_spans(text) for word in span.split()}
    links = set(re.findall(r"\]\((?!https?:)([^)#]+)\)", text))
    named = {word for word in words if re.fullmatch(r"[\w.]+(/[\w.-]+)+/?|[A-Z]+\.(md|cff)", word)}
    return links | {word for word in named if "/" not in word or word.split("/")[0] in FOLDERS}


@pages
def test_python_code_is_run_by_some_test(page):
    name = page.relative_to(ROOT).as_posix()
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    if name in RUN_BY:
        assert page.name in (ROOT / RUN_BY[name]).read_text()
        blocks = [block for block in blocks if block.startswith(">>> ")]
    if blocks:
        assert all(block.startswith(">>> ") for block in blocks), f"{name}: a block that no test runs"
        assert name in PROJECT["tool"]["pytest"]["ini_options"]["testpaths"] or page.name in {*QUICK, *SLOW}


@pages
def test_paths_exist(page):
    missing = sorted(path for path in paths_in(page.read_text()) if not any(ROOT.glob(path.rstrip("/"))))
    assert not [path for path in missing if not (page.parent / path).exists()], f"{page.name} names {missing}"


@pages
def test_make_targets_exist(page):
    named = {m for span in code_spans(page.read_text()) for m in re.findall(r"^make ([\w-]+)", span.strip())}
    assert named <= TARGETS


@pages
def test_public_names_exist(page):
    """`jaxsat.theory.mean_field`, with or without arguments behind it."""
    for dotted in {d for span in code_spans(page.read_text()) for d in re.findall(r"^jaxsat(?:\.\w+)+", span)}:
        found = importlib.import_module("jaxsat")
        for name in dotted.split(".")[1:]:
            assert hasattr(found, name), f"{page.name} shows {dotted}"
            found = getattr(found, name)


def test_the_gallery_names_every_analysis():
    """A question is a module of analyses/, or a folder, that can be run; `shared` holds what they share."""
    runs = {path.stem for path in (ROOT / "analyses").glob("*.py") if "__main__" in path.read_text()}
    runs |= {path.parent.name for path in (ROOT / "analyses").glob("*/__main__.py")}
    shown = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "gallery.md").read_text()))
    assert len(runs) >= 14
    assert runs <= shown


def test_architecture_shows_the_table_of_imports():
    rows = re.findall(r"^\| `(\w+)` \|.*\|([^|]*)\|$", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    shown = {wing: set(re.findall(r"`(\w+)`", below)) for wing, below in rows}
    wings = BELOW.keys() - GROUND - {"__init__", "__main__"}
    assert shown == {wing: BELOW[wing] - GROUND for wing in wings}


def test_the_finder_of_paths_finds_every_form():
    text = "See `tests/x.py`, [a](docs/y.md) and `README.md`; run\n```\nmake bench\njaxsat run jobs/z.toml\n```\nnot `1/2`.\n"
    assert paths_in(text) == {"tests/x.py", "docs/y.md", "README.md", "jobs/z.toml"}
    assert "make bench" in code_spans(text)
