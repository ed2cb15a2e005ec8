"""Measures of the code are within their limits."""

import runpy
from pathlib import Path

import pytest

HOUSE = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "house.py"))
FOUND = HOUSE["measures"]()


@pytest.mark.parametrize("name", HOUSE["LIMITS"])
def test_measures_are_within_limits(name):
    at_most, goal = HOUSE["LIMITS"][name]
    assert goal <= at_most
    assert FOUND[name] <= at_most
