"""Layers of the package (floors): allowed imports, and imports without side effects."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import neuralot
import neuralot.methods

PACKAGE = Path(neuralot.__file__).parent
# a folder or module imports from itself and from lower floors
FLOORS = {
    0: {
        "_torch",
        "affine",
        "conditional_affine",
        "costs",
        "defaults",
        "divergences",
        "drawing",
        "exceptions",
        "networks",
        "outliers",
        "parameters",
        "penalties",
        "sampling",
    },
    1: {"forms"},
    2: {"solve"},
    3: {"semidual"},
    4: {"methods"},
    5: {"diagnostics"},
    6: {"estimators"},
    7: {"adaptation"},
    8: {"datasets", "metrics", "plots"},
}
FLOOR = {module: floor for floor, modules in FLOORS.items() for module in modules}
# modules that solvers must not import, because they contain exact answers; with their own allowed imports
EVALUATION_IMPORTS = {
    "datasets": {"costs", "parameters"},
    "metrics": {"_torch", "costs", "divergences", "parameters", "sampling"},
    "plots": {"divergences", "drawing", "metrics", "parameters"},
}
OUTSIDE = {
    0: {"torch", "numpy", "scipy"},
    1: {"torch"},
    2: {"torch"},
    3: {"torch"},
    4: {"torch"},
    5: {"torch", "numpy", "scipy", "sklearn"},
    6: {"torch", "numpy", "safetensors", "scipy", "sklearn"},
    7: {"numpy", "sklearn"},
    8: {"numpy", "scipy", "torch"},
}
INSIDE_FUNCTIONS = {
    "diagnostics": {"ot"},
    "divergences": {"ot"},
    "drawing": {"matplotlib"},
    "estimators": {"ot", "pyarrow"},
    "metrics": {"ot"},
    "solve": {"rich"},
    "plots": {"matplotlib", "sklearn"},
}


def top_module(path):
    """Return the module of `neuralot` that a file belongs to; '' for the package itself."""
    part = path.relative_to(PACKAGE).parts[0]
    return "" if part == "__init__.py" else part.removesuffix(".py")


FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = sorted({top_module(path) for path in FILES.values()} - {""})
each_file = pytest.mark.parametrize("file", FILES)


def imports(path, names_as_modules=False):
    """Return the imports of a file as (full dotted name, whether it is executed on import).

    With `names_as_modules`, imported names may be modules, as in ``from neuralot.methods import otnet``.
    """
    package = ["neuralot", *path.relative_to(PACKAGE).parts[:-1]]
    found = []

    def visit(node, at_import):
        if isinstance(node, ast.Import):
            found.extend((alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            if name == "neuralot" or names_as_modules:  # from neuralot import datasets: each name is a module
                found.extend((f"{name}.{alias.name}", at_import) for alias in node.names)
            if name != "neuralot":
                found.append((name, at_import))
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, at_import and not inside)

    visit(ast.parse(path.read_text()), True)
    return found


def internal_imports(path):
    return {name.split(".")[1] for name, _ in imports(path) if name.startswith("neuralot.")} - {top_module(path)}


def external_imports(path, at_import):
    names = {name.split(".")[0] for name, now in imports(path) if now == at_import}
    return names - {"neuralot"} - sys.stdlib_module_names


def test_every_module_has_a_floor():
    assert set(MODULES) == set(FLOOR)


def test_contributing_lists_floors():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    shown = {int(floor): set(re.findall(r"`(\w+)`", modules)) for floor, modules, _ in rows}
    assert shown == FLOORS
    assert {int(floor): set(packages.replace(",", " ").split()) for floor, _, packages in rows} == OUTSIDE


@each_file
def test_modules_import_from_lower_floors_only(file):
    module, used = top_module(FILES[file]), internal_imports(FILES[file])
    if module in EVALUATION_IMPORTS:
        assert used <= EVALUATION_IMPORTS[module]
    elif module:
        assert not used & set(EVALUATION_IMPORTS), "a solver must not import metrics or datasets"
        assert all(FLOOR[other] < FLOOR[module] or FLOOR[module] == 0 for other in used)


def test_imports_have_no_cycles():
    names = {".".join(["neuralot", *path.relative_to(PACKAGE).with_suffix("").parts]): path for path in FILES.values()}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}

    def imported_modules(name):
        """Return the modules of this package that a module imports."""
        found = {other for other, _ in imports(names[name], names_as_modules=True)}
        return {other for other in found if other in names} - {name}

    graph = {name: imported_modules(name) for name in names if name != "neuralot"}
    while graph:
        free = [name for name, used in graph.items() if not used & set(graph)]
        assert free, f"a cycle among {sorted(graph)}"
        for name in free:
            del graph[name]


METHOD_MODULES = {getattr(neuralot.methods, name).__module__ for name in neuralot.methods.__all__}


@pytest.mark.parametrize("file", sorted(f"methods/{name.split('.')[-1]}.py" for name in METHOD_MODULES))
def test_methods_do_not_import_each_other(file):
    assert not METHOD_MODULES & {name for name, _ in imports(FILES[file])}


@each_file
def test_files_import_only_packages_of_their_floor(file):
    module = top_module(FILES[file])
    allowed = OUTSIDE.get(FLOOR.get(module), set())
    assert external_imports(FILES[file], at_import=True) <= allowed
    assert external_imports(FILES[file], at_import=False) <= allowed | INSIDE_FUNCTIONS.get(module, set())


@each_file
def test_package_does_not_print(file):
    calls = [node for node in ast.walk(ast.parse(FILES[file].read_text())) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith("solve/")])
def test_only_training_loop_calls_optimizers(file):
    names = {node.attr for node in ast.walk(ast.parse(FILES[file].read_text())) if isinstance(node, ast.Attribute)}
    assert not names & {"backward", "step", "zero_grad"}


@each_file
def test_global_seeds_are_not_set(file):
    source = FILES[file].read_text()
    for call in ("np.random.seed", "random.seed("):
        assert call not in source
    # allowed only if the state is restored
    assert "torch.manual_seed" not in source or "fork_rng" in source
    assert "torch.set_default" not in source or "torch.set_default_dtype(dtype)" in source


def test_import_has_no_side_effects_and_loads_no_optional_package():
    code = """
import contextlib, sys, numpy as np, torch
with contextlib.suppress(ImportError):
    import sklearn.callback  # loads rich if installed
already_loaded = set(sys.modules)
def state():
    _, keys, *position = np.random.get_state()
    return (torch.get_num_threads(), torch.get_num_interop_threads(), torch.get_default_dtype(),
            torch.get_rng_state().tolist(), keys.tolist(), position, torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled())
before = state()
import neuralot, neuralot.methods, neuralot.plots
assert state() == before
loaded = {"jax", "matplotlib", "rich", "ot"} & (set(sys.modules) - already_loaded)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""


def test_core_works_without_scikit_learn():
    code = """
import sys
sys.modules["sklearn"] = None
sys.path.insert(0, ".")
import importlib.machinery, types
package = types.ModuleType("neuralot")  # the package without its __init__, which imports the estimators
package.__path__ = [%r]
sys.modules["neuralot"] = package
import torch
from neuralot.methods import OTP
from neuralot.sampling import as_sampler
from neuralot.solve import solve
x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
assert solve(OTP(2), as_sampler(x), as_sampler(x), max_iter=2).n_iter == 2
"""
    done = subprocess.run([sys.executable, "-c", code % str(PACKAGE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_report_uses_diagnostics():
    """No fit knows how it will be judged: of the estimators, only those with a `report` import the diagnosis."""
    users = {file for file, path in FILES.items() if "neuralot.diagnostics" in path.read_text()}
    users = {file for file in users if not file.startswith("diagnostics/")}
    assert users == {"__init__.py", "estimators/mixins.py", "estimators/trajectory.py"}
