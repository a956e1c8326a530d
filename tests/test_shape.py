"""The shape of the code: a file holds one subject, and a function fits on a screen."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(path for top in ("jaxsat", "analyses") for path in (ROOT / top).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LONGEST_FILE, LONGEST_BODY = 350, 60  # lines


def bodies(text: str) -> list[tuple[str, int, int]]:
    """Name, first line and length of every function's body, inner functions included, without its docstring."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            documented = ast.get_docstring(node, clean=False) is not None
            rest = node.body[1:] if documented else node.body
            lines = node.end_lineno - rest[0].lineno + 1 if rest else 0
            found.append((node.name, node.lineno, lines))
    return found


def test_files_are_short():
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in [*FILES, *TESTS]}
    long = [f"{file}: {lines} lines" for file, lines in lengths.items() if lines > LONGEST_FILE]
    assert not long, "\n".join([f"Split by subject what is longer than {LONGEST_FILE} lines:", *long])


def test_functions_are_short():
    long = [
        f"{path.relative_to(ROOT)}:{first}: {name}, {lines} lines"
        for path in FILES
        for name, first, lines in bodies(path.read_text())
        if lines > LONGEST_BODY
    ]
    assert not long, "\n".join([f"Cut at a meaning what is longer than {LONGEST_BODY} lines:", *long])


def test_the_ruler_measures_bodies():
    text = 'def f():\n    """Say.\n\n    More.\n    """\n    a = 1\n\n    return a\n\n\nasync def g():\n    def h():\n        """Say."""\n    return h\n'
    assert bodies(text) == [("f", 1, 3), ("g", 11, 3), ("h", 12, 0)]
