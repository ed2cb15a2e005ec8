"""Measures of the code, read from its source alone; a test keeps them from getting worse."""

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TREES = {path: ast.parse(path.read_text()) for path in sorted((ROOT / "neuralot").rglob("*.py"))}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
OF_OTHERS = ("_fused", "_foreach", "_forward", "_init_callback")  # of torch and scikit-learn

OWN = {"self", "cls", "super()"}  # the object, its class or its parent

LIMITS = {  # measure: what the test allows, and the goal
    "modules in import cycles": (0, 0),
    "private members read across modules": (0, 0),
    "methods that the loop asks of a problem": (5, 5),
    "attributes that the loop asks of a problem": (4, 4),
    "parameters of the widest constructor": (24, 24),
    "first docstring lines over ten words": (0, 0),
    "function lines, 90th percentile": (16, 16),
    "function lines, longest": (50, 50),
    "lines of the longest module": (350, 350),
    "words of the README": (600, 600),
}


def walk(*kinds: type) -> Iterator[tuple[Path, ast.AST]]:
    """Nodes of some kinds, in all files."""
    return ((path, node) for path, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, kinds))


def n_in_cycles() -> int:
    """Number of modules that import each other in a circle, also inside of functions."""
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in TREES}
    graph: dict[str, set[str]] = {name: set() for name in names.values()}
    for path, node in walk(ast.Import, ast.ImportFrom):
        module = getattr(node, "module", None)
        found = {f"{module}.{alias.name}" if module else alias.name for alias in node.names} | {module}
        graph[names[path]] |= (found & graph.keys()) - {"neuralot", names[path]}
    while free := {name for name, used in graph.items() if not used & graph.keys()}:
        graph = {name: used for name, used in graph.items() if name not in free}
    return len(graph)


def n_private_reads() -> int:
    """Number of private members that a module reads of another's objects; a class may read its parents'."""
    found = set()
    for path, tree in TREES.items():
        read = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
        parents = {ast.unparse(base) for _, node in walk(ast.ClassDef) for base in node.bases} | OWN
        own = {node.attr for node in read if ast.unparse(node.value) in parents}
        own |= {node.name for node in ast.walk(tree) if isinstance(node, FUNCTIONS)}
        found |= {(path, node.attr) for node in read if ast.unparse(node.value) not in OWN and node.attr not in own}
    return sum(not attr.endswith("__") and not attr.startswith(OF_OTHERS) for _, attr in found)


def asked_of_a_problem() -> tuple[int, int]:
    """Number of methods and of attributes of `Problem` that the rest of `solve` uses."""
    home = ROOT / "neuralot" / "solve" / "problem.py"
    [problem] = [node for node in ast.walk(TREES[home]) if getattr(node, "name", "") == "Problem"]
    methods = {node.name for node in problem.body if isinstance(node, FUNCTIONS)}
    attributes = {node.target.id for node in problem.body if isinstance(node, ast.AnnAssign)}
    users = [node for path, node in walk(ast.Attribute) if path.parent == home.parent and path != home]
    asked = {node.attr for node in users if "problem" in ast.unparse(node.value)}
    return len(asked & methods), len(asked & attributes)


def n_parameters(cls: ast.ClassDef) -> int:
    """Number of parameters of a constructor, or of those that decorated classes declare."""
    if made := [node.args for node in cls.body if getattr(node, "name", "") == "__init__"]:
        return len(made[0].args + made[0].kwonlyargs) - 1
    lines = [ast.unparse(node) for node in cls.body if isinstance(node, ast.AnnAssign) and cls.decorator_list]
    parents = [node for _, node in walk(ast.ClassDef) if node.name in map(ast.unparse, cls.bases)]
    return sum("ClassVar" not in line for line in lines) + sum(map(n_parameters, parents))


def n_lines(function: ast.AST) -> int:
    """Number of lines of a function without its docstring."""
    first = function.body[0]
    of_docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno + 1 - of_docstring


def measures() -> dict[str, int]:
    """Each measure by its name."""
    lines = [n_lines(node) for _, node in walk(*FUNCTIONS)]
    docstrings = [ast.get_docstring(node) or "" for _, node in walk(ast.Module, ast.ClassDef, *FUNCTIONS)]
    n_long = sum(len(text.partition("\n")[0].split()) > 10 for text in docstrings)
    parameters = max(n_parameters(node) for _, node in walk(ast.ClassDef))
    of_functions = round(statistics.quantiles(lines, n=10)[-1]), max(lines)
    of_files = max(len(path.read_text().splitlines()) for path in TREES), len((ROOT / "README.md").read_text().split())
    found = n_in_cycles(), n_private_reads(), *asked_of_a_problem(), parameters, n_long, *of_functions, *of_files
    return dict(zip(LIMITS, found, strict=True))


if __name__ == "__main__":
    for name, value in measures().items():
        print(f"{name:45} {value:5}, at most {LIMITS[name][0]}, goal {LIMITS[name][1]}")
