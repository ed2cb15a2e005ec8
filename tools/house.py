"""Measures of the code, read from its source alone; a test keeps them from getting worse."""

import ast
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import quantiles

ROOT = Path(__file__).resolve().parents[1]
TREES = {path: ast.parse(path.read_text()) for path in sorted((ROOT / "neuralot").rglob("*.py"))}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
OF_OTHERS = ("_fused", "_foreach", "_forward", "_init_callback")  # of torch and scikit-learn
OWN = {"self", "cls", "super()"}  # the object, its class or its parent
Found = namedtuple("Found", "name value path line")  # a part of the code that a measure counts


def walk(*kinds: type) -> Iterator[tuple[Path, ast.AST]]:
    """Nodes of some kinds, in all files."""
    return ((path, node) for path, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, kinds))


def sized(of: Callable[[ast.AST], int], *kinds: type) -> list[Found]:
    """Nodes of some kinds with their sizes."""
    found = walk(*kinds)
    return [Found(getattr(node, "name", "module"), of(node), path, getattr(node, "lineno", 1)) for path, node in found]


def cyclic_modules() -> list[Found]:
    """Modules that import each other in a circle, also inside of functions."""
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in TREES}
    graph: dict[str, dict[str, Found]] = {name: {} for name in names.values()}
    for path, node in walk(ast.Import, ast.ImportFrom):
        module = getattr(node, "module", None)
        used = {f"{module}.{alias.name}" if module else alias.name for alias in node.names} | {module}
        for name in (used & graph.keys()) - {"neuralot", names[path]}:
            graph[names[path]][name] = Found(f"{names[path]} imports {name}", 1, path, node.lineno)
    while free := {n for n in graph if not graph[n].keys() & graph.keys() or not any(n in u for u in graph.values())}:
        graph = {name: used for name, used in graph.items() if name not in free}
    return [next(used[name] for name in used if name in graph) for used in graph.values()]


def private_reads() -> list[Found]:
    """Private members that a module reads of another's objects; a class may read its parents'."""
    parents = {ast.unparse(base) for _, node in walk(ast.ClassDef) for base in node.bases} | OWN
    found = {}
    for path, tree in TREES.items():
        read = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
        own = {node.attr for node in read if ast.unparse(node.value) in parents}
        own |= {node.name for node in ast.walk(tree) if isinstance(node, FUNCTIONS)}
        others = [node for node in read if ast.unparse(node.value) not in OWN and node.attr not in own]
        found |= {(path, node.attr): Found(ast.unparse(node), 1, path, node.lineno) for node in others}
    return [each for (_, attr), each in found.items() if not attr.endswith("__") and not attr.startswith(OF_OTHERS)]


def asked_of_a_problem(*kinds: type) -> list[Found]:
    """Methods or attributes of `Problem` that the rest of `solve` uses, and where."""
    [(home, problem)] = [(path, node) for path, node in walk(ast.ClassDef) if node.name == "Problem"]
    names = {getattr(node, "name", "") or node.target.id for node in problem.body if isinstance(node, kinds)}
    users = [(path, node) for path, node in walk(ast.Attribute) if path.parent == home.parent and path != home]
    asked = {node.attr: (path, node.lineno) for path, node in users if "problem" in ast.unparse(node.value)}
    return [Found(name, 1, *asked[name]) for name in names & asked.keys()]


def n_parameters(cls: ast.ClassDef) -> int:
    """Number of parameters of a constructor, or of those that decorated classes declare."""
    if made := [node.args for node in cls.body if getattr(node, "name", "") == "__init__"]:
        return len(made[0].args + made[0].kwonlyargs) - 1
    lines = [ast.unparse(node) for node in cls.body if isinstance(node, ast.AnnAssign) and cls.decorator_list]
    parents = [node for _, node in walk(ast.ClassDef) if node.name in map(ast.unparse, cls.bases)]
    return sum("ClassVar" not in line for line in lines) + sum(map(n_parameters, parents))


def n_lines(function: ast.AST) -> int:
    """Number of lines of a function without its docstring."""
    first = function.body[0] if ast.get_docstring(function) else None
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if first else 0)


def has_long_summary(node: ast.AST) -> bool:
    """Whether the first line of a docstring has over ten words."""
    return len((ast.get_docstring(node) or "").partition("\n")[0].split()) > 10


README, LINES = ROOT / "README.md", sized(n_lines, *FUNCTIONS)
MEASURES = {  # measure: what it counts, the total, what the test allows, and the goal
    "modules in import cycles": (cyclic_modules(), sum, 0, 0),
    "private members read across modules": (private_reads(), sum, 0, 0),
    "methods that the loop asks of a problem": (asked_of_a_problem(*FUNCTIONS), sum, 5, 5),
    "attributes that the loop asks of a problem": (asked_of_a_problem(ast.AnnAssign), sum, 4, 4),
    "parameters of the widest constructor": (sized(n_parameters, ast.ClassDef), max, 30, 30),
    "first docstring lines over ten words": (sized(has_long_summary, ast.Module, ast.ClassDef, *FUNCTIONS), sum, 0, 0),
    "function lines, 90th percentile": (LINES, lambda values: round(quantiles(values, n=10)[-1]), 16, 16),
    "function lines, longest": (LINES, max, 50, 50),
    "lines of the longest module": (sized(lambda module: module.body[-1].end_lineno, ast.Module), max, 350, 350),
    "words of the README": ([Found("words", len(README.read_text().split()), README, 1)], max, 600, 600),
}

if __name__ == "__main__":
    for name, (found, total, at_most, goal) in MEASURES.items():
        print(f"{name:45} {total(each.value for each in found):5}, at most {at_most}, goal {goal}")
