"""Docstrings agree with signatures, and the code of the README runs."""

import ast
import enum
import importlib
import inspect
import pkgutil
import re

import pytest
from conftest import ROOT, each_transport
from numpydoc.docscrape import NumpyDocString

import neuralot
from neuralot import W2GNTransport


def modules():
    found = [neuralot]
    for info in pkgutil.walk_packages(neuralot.__path__, "neuralot."):
        found.append(importlib.import_module(info.name))
    return found


def public_objects():
    """Return all public classes, functions and methods by dotted name."""
    objects = {}
    for module in modules():
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(value) or inspect.isfunction(value):
                objects[f"{module.__name__}.{name}"] = value
            if inspect.isclass(value):
                methods = {n: m for n, m in vars(value).items() if inspect.isfunction(m) and not n.startswith("_")}
                objects |= {f"{module.__name__}.{name}.{n}": m for n, m in methods.items()}
    return objects


PUBLIC = public_objects()
TYPES_AND_FUNCTIONS = {
    name: value for name, value in PUBLIC.items() if inspect.isclass(value) or value.__qualname__ == value.__name__
}
EXPORTED = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in modules()
    for name in getattr(module, "__all__", ())
    if not name.startswith("_") and not inspect.ismodule(getattr(module, name))
}


def documented(value, section="Parameters"):
    """Return names and types of a section, in order; ``a, b : type`` gives two entries."""
    entries = NumpyDocString(inspect.cleandoc(value.__doc__ or ""))[section]
    return [(name.strip(), entry.type) for entry in entries for name in entry.name.split(",")]


def parameters(value):
    if inspect.isclass(value) and issubclass(value, enum.Enum):
        return list(value.__members__)
    names = inspect.signature(value).parameters
    return [name for name in names if name not in ("self", "cls")]


@pytest.mark.parametrize("name", TYPES_AND_FUNCTIONS)
def test_public_classes_and_functions_have_summary(name):
    summary = NumpyDocString(inspect.cleandoc(PUBLIC[name].__doc__ or ""))["Summary"]
    assert summary
    assert " ".join(summary).endswith((".", ":", "?")) or "." in " ".join(summary)


@pytest.mark.parametrize("name", PUBLIC)
def test_documented_parameters_match_signature(name):
    found = [parameter for parameter, _ in documented(PUBLIC[name])]
    if found:
        assert found == parameters(PUBLIC[name])


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_names_document_all_parameters(name):
    value = EXPORTED[name]
    found = documented(value) or documented(value, "Attributes")  # dataclasses document their fields
    assert [parameter for parameter, _ in found] == parameters(value)


TUPLES = {name for name, value in EXPORTED.items() if inspect.isclass(value) and issubclass(value, tuple)}
EXAMPLES_ELSEWHERE = {"neuralot.methods.OTP", "neuralot.methods.SNOT"}  # in neuralot.solve, and in the gallery


@pytest.mark.parametrize("name", sorted(set(EXPORTED) - TUPLES - EXAMPLES_ELSEWHERE))
def test_exported_names_have_example(name):
    assert ">>>" in (EXPORTED[name].__doc__ or "")


@pytest.mark.parametrize("name", PUBLIC)
def test_documented_defaults_match_signature(name):
    for parameter, kind in documented(PUBLIC[name]):
        signature = inspect.signature(PUBLIC[name]).parameters
        match = re.search(r"default=(.+)$", kind)
        if match and " and " not in match[1]:  # "default=2.0 and 0.002" is for two
            assert ast.literal_eval(match[1]) == signature[parameter].default, parameter


@each_transport
def test_parameters_of_estimators_state_default(cls):
    assert all("default=" in kind for _, kind in documented(cls))


@each_transport
def test_choices_of_estimators_are_documented(cls):
    from neuralot.methods.smoothing import SCHEDULES
    from neuralot.networks.perceptrons import ACTIVATIONS
    from neuralot.solve.optimizers import OPTIMIZERS

    kinds = dict(documented(cls))
    for name, choices in {
        "activation": ["auto", *(("celu", "softplus") if cls is W2GNTransport else ACTIVATIONS)],
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
    }.items():
        if name in kinds:
            listed = ast.literal_eval(re.search(r"\{.*\}", kinds[name])[0])
            assert listed == set(choices)


@each_transport
def test_fitted_attributes_of_estimators_are_documented(cls, samples):
    transport = cls(max_iter=1, hidden_layer_sizes=(4,)).fit(*samples)
    fitted = {name for name in vars(transport) if name.endswith("_") and not name.startswith("_")}
    members = [item for each in cls.__mro__ if each.__module__.startswith("neuralot") for item in vars(each).items()]
    fitted |= {name for name, value in members if isinstance(value, property) and name.endswith("_")}
    assert {name for name, _ in documented(cls, "Attributes")} == fitted | {"feature_names_in_"}


def test_exported_names_are_in_api_pages():
    pages = "\n".join(path.read_text() for path in (ROOT / "docs").glob("*.rst"))
    for name in EXPORTED:
        assert re.search(rf"^\s+(\w+\.)*{name.split('.')[-1]}$", pages, re.MULTILINE), name


@pytest.mark.parametrize("module", [module.__name__ for module in modules()])
def test_modules_have_docstring(module):
    assert importlib.import_module(module).__doc__


def python_blocks(path):
    return re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def test_python_code_of_readme_runs(monkeypatch, tmp_path):
    code = python_blocks(ROOT / "README.md")
    assert code
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace = {}
    for block in code:
        exec(compile(block, "README.md", "exec"), namespace)
