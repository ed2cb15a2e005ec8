"""The floors of the house: who may import whom, and that importing does nothing but define names."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import neuralot
import neuralot.methods

ROOT = Path(neuralot.__file__).parent
# a folder or module imports from itself and from lower floors
FLOORS = {
    0: {"_torch", "affine", "costs", "defaults", "divergences", "networks", "parameters", "sampling"},
    1: {"forms"},
    2: {"solve"},
    3: {"semidual"},
    4: {"methods"},
    5: {"estimators"},
    6: {"adaptation"},
    7: {"datasets", "metrics", "plots"},
}
FLOOR = {module: floor for floor, modules in FLOORS.items() for module in modules}
# beside the floors: what may be imported from others of the house, as no solver may know its exam
SIDE = {"datasets": {"costs"}, "metrics": {"costs", "divergences"}, "plots": {"metrics"}}
OUTSIDE = {
    0: {"torch", "numpy", "scipy"},
    1: {"torch"},
    2: {"torch"},
    3: {"torch"},
    4: {"torch"},
    5: {"torch", "numpy", "safetensors", "scipy", "sklearn"},
    6: {"numpy", "sklearn"},
    7: {"numpy", "scipy", "torch"},
}
INSIDE_FUNCTIONS = {
    "divergences": {"ot"},
    "metrics": {"ot"},
    "solve": {"rich"},
    "plots": {"matplotlib"},
}


def top(path):
    """The module of `neuralot` that a file belongs to; '' for the package itself."""
    part = path.relative_to(ROOT).parts[0]
    return "" if part == "__init__.py" else part.removesuffix(".py")


FILES = {str(path.relative_to(ROOT)): path for path in sorted(ROOT.rglob("*.py"))}
MODULES = sorted({top(path) for path in FILES.values()} - {""})
each_file = pytest.mark.parametrize("file", FILES)


def imports(path, of_packages=False):
    """Each import of a file as (full dotted name, whether it happens on import).

    With `of_packages`, also the modules that a name may be, as in ``from neuralot.methods import otnet``.
    """
    package = ["neuralot", *path.relative_to(ROOT).parts[:-1]]
    found = []

    def visit(node, at_import):
        if isinstance(node, ast.Import):
            found.extend((alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            if name == "neuralot" or of_packages:  # from neuralot import datasets: each name is a module
                found.extend((f"{name}.{alias.name}", at_import) for alias in node.names)
            if name != "neuralot":
                found.append((name, at_import))
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, at_import and not inside)

    visit(ast.parse(path.read_text()), True)
    return found


def house_imports(path):
    return {name.split(".")[1] for name, _ in imports(path) if name.startswith("neuralot.")} - {top(path)}


def foreign_imports(path, at_import):
    names = {name.split(".")[0] for name, now in imports(path) if now == at_import}
    return names - {"neuralot"} - sys.stdlib_module_names


def test_every_module_has_a_place():
    assert set(MODULES) == set(FLOOR)


def test_contributing_shows_this_map():
    text = (ROOT.parent / "CONTRIBUTING.md").read_text()
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    shown = {int(floor): set(re.findall(r"`(\w+)`", modules)) for floor, modules, _ in rows}
    assert shown == FLOORS
    assert {int(floor): set(packages.replace(",", " ").split()) for floor, _, packages in rows} == OUTSIDE


@each_file
def test_imports_point_down_only(file):
    module, used = top(FILES[file]), house_imports(FILES[file])
    if module in SIDE:
        assert used <= SIDE[module]
    elif module:
        assert not used & set(SIDE), "a solver must not know its exam"
        assert all(FLOOR[other] < FLOOR[module] or FLOOR[module] == 0 for other in used)


def test_modules_import_without_cycles():
    names = {".".join(["neuralot", *path.relative_to(ROOT).with_suffix("").parts]): path for path in FILES.values()}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}

    def parts(name):
        """Of what a name imports, the modules of this package, and those whose names are imported from a package."""
        found = {other for other, _ in imports(names[name], of_packages=True)}
        return {other for other in found if other in names} - {name}

    graph = {name: parts(name) for name in names if name != "neuralot"}
    while graph:
        free = [name for name, used in graph.items() if not used & set(graph)]
        assert free, f"a cycle among {sorted(graph)}"
        for name in free:
            del graph[name]


METHODS = {getattr(neuralot.methods, name).__module__ for name in neuralot.methods.__all__}


@pytest.mark.parametrize("file", sorted(f"methods/{name.split('.')[-1]}.py" for name in METHODS))
def test_methods_import_no_sibling(file):
    assert not METHODS & {name for name, _ in imports(FILES[file])}


@each_file
def test_a_file_imports_only_the_packages_of_its_floor(file):
    module = top(FILES[file])
    allowed = OUTSIDE.get(FLOOR.get(module), set())
    assert foreign_imports(FILES[file], at_import=True) <= allowed
    assert foreign_imports(FILES[file], at_import=False) <= allowed | INSIDE_FUNCTIONS.get(module, set())


@each_file
def test_nothing_prints(file):
    calls = [node for node in ast.walk(ast.parse(FILES[file].read_text())) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@each_file
def test_only_the_loop_calls_optimizers(file):
    if file.startswith("solve/") or file == "methods/otnet.py":  # where `AtRate` hands a step on
        return
    names = {node.attr for node in ast.walk(ast.parse(FILES[file].read_text())) if isinstance(node, ast.Attribute)}
    assert not names & {"backward", "step", "zero_grad"}


@each_file
def test_no_global_seed_is_touched(file):
    source = FILES[file].read_text()
    for call in ("np.random.seed", "random.seed("):
        assert call not in source
    # only for a moment, on a copy of the state
    assert "torch.manual_seed" not in source or "fork_rng" in source
    assert "torch.set_default" not in source or "torch.set_default_dtype(dtype)" in source


def test_importing_changes_nothing_and_loads_no_optional_package():
    code = """
import contextlib, sys, numpy as np, torch
with contextlib.suppress(ImportError):
    import sklearn.callback  # which loads rich where it is installed
of_others = set(sys.modules)
def state():
    numpy_state = np.random.get_state()[1].tolist()
    return (torch.get_num_threads(), torch.get_num_interop_threads(), torch.get_default_dtype(),
            torch.get_rng_state().tolist(), numpy_state, torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled())
before = state()
import neuralot, neuralot.methods, neuralot.plots
assert state() == before
loaded = {"jax", "matplotlib", "rich", "ot"} & (set(sys.modules) - of_others)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""


def test_the_core_works_without_scikit_learn_being_used():
    code = """
import sys
sys.modules["sklearn"] = None
sys.path.insert(0, ".")
import importlib.machinery, types
package = types.ModuleType("neuralot")  # the package without its own __init__, which offers the estimators
package.__path__ = [%r]
sys.modules["neuralot"] = package
import torch
from neuralot.methods import OTP
from neuralot.sampling import as_sampler
from neuralot.solve import solve
x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
assert solve(OTP(2), as_sampler(x), as_sampler(x), max_iter=2).n_iter == 2
"""
    done = subprocess.run([sys.executable, "-c", code % str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
