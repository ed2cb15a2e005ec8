"""Measures of the code are within their limits; a failure lists what to change."""

import re
import runpy

import pytest
from conftest import ROOT

MEASURES = runpy.run_path(str(ROOT / "tools" / "house.py"))["MEASURES"]
each_measure = pytest.mark.parametrize("name", MEASURES)


def total(name):
    found, of, *_ = MEASURES[name]
    return of(each.value for each in found)


def failure(name, at_most):
    """Return the value of a measure and, largest first, what it counts, or what alone exceeds the limit."""
    found, of, *_ = MEASURES[name]
    listed = [each for each in found if each.value > (0 if of is sum else at_most)]
    places = [
        f"{each.path.relative_to(ROOT)}:{each.line} {each.name} {each.value:d}"
        for each in sorted(listed, key=lambda each: -each.value)
    ]
    return "\n".join([f"{name}: {total(name)}, at most {at_most}", *places])


@each_measure
def test_measure_is_within_its_limit(name):
    *_, at_most, goal = MEASURES[name]
    assert goal <= at_most
    assert total(name) <= at_most, failure(name, at_most)


@each_measure
def test_failure_lists_what_to_change(name):
    limit, *places = failure(name, total(name) - 1).splitlines()
    assert limit == f"{name}: {total(name)}, at most {total(name) - 1}"
    assert bool(places) == (total(name) > 0)
    assert all(re.fullmatch(r"[\w/]+\.(py|md):\d+ [\w. ]+ \d+", place) for place in places)
