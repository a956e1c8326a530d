"""The shape of the code: a file holds one subject, and a function fits on a screen."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(path for top in ("jaxsat", "analyses") for path in (ROOT / top).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LONGEST_FILE, LONGEST_BODY = 350, 60  # lines
DEEPEST_CALL = 3
# Conversions and built-in functions that are read like punctuation: they do not count as a call in a call.
PUNCTUATION = {
    "abs", "array", "asarray", "astype", "bool", "dict", "enumerate", "float", "frozenset", "int", "len", "list",
    "range", "repr", "reversed", "set", "str", "tuple", "type", "zip",
}  # fmt: skip


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


def deepest(node: ast.AST, line: int) -> int:
    """How many calls that start on the line stand in each other's arguments. Chained methods stand side by side."""
    if not isinstance(node, ast.Call):
        return max((deepest(child, line) for child in ast.iter_child_nodes(node)), default=0)
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
    inside = max((deepest(argument, line) for argument in arguments), default=0)
    return max(inside + (node.lineno == line and name not in PUNCTUATION), deepest(node.func, line))


def nested_lines(text: str) -> list[int]:
    """Lines with calls deeper in each other than DEEPEST_CALL. The exception that is raised does not count."""
    tree = ast.parse(text)
    raised = {node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)}
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node not in raised)
    return sorted({call.lineno for call in calls if deepest(call, call.lineno) > DEEPEST_CALL})


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


def test_calls_are_not_nested_deeply():
    deep = [f"{path.relative_to(ROOT)}:{line}" for path in FILES for line in nested_lines(path.read_text())]
    assert not deep, "\n".join([f"Name what is computed inside more than {DEEPEST_CALL} calls:", *deep])


def test_nested_calls_are_counted():
    assert nested_lines("a(b(c(x)))\na(b(c(d(x))))\na(x=b(c(d(x))))") == [2, 3]
    assert nested_lines("a(b(c(len(x))))\na(x).b(x).c(x).d(x)\na(f(x)[g(x)], h(i(x)))\na(b(\n c(d(x))))") == []
    assert nested_lines("raise A(b(c(d(x))))\nraise A(b(c(d(e(x)))))") == [2]
    assert nested_lines("a(b(lambda x: c(d(x))))\na([b(c(d(y))) for y in x])\na(b(c(x)).d(e(x)))") == [1, 2]


def test_the_ruler_measures_bodies():
    text = 'def f():\n    """Say.\n\n    More.\n    """\n    a = 1\n\n    return a\n\n\nasync def g():\n    def h():\n        """Say."""\n    return h\n'
    assert bodies(text) == [("f", 1, 3), ("g", 11, 3), ("h", 12, 0)]
