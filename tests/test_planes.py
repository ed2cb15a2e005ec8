"""The upper envelope of planes, compared with the full matrix product."""

import pytest
import torch

from neuralot.methods import planes
from neuralot.methods.planes import Planes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("m", "d"), [(1, 1), (3, 2), (64, 2), (65, 3), (1000, 7)])
def test_highest_planes_agree_with_full_product(m, d, dtype, monkeypatch):
    monkeypatch.setitem(planes.ENTRIES_PER_BLOCK, "cpu", 2**12)  # more than one block
    points, heights = torch.randn(m, d, dtype=dtype), torch.randn(m, dtype=dtype) - 5
    x = torch.randn(77, d, dtype=dtype)
    values = x @ points.T + heights
    envelope = Planes(points, heights)
    assert torch.equal(envelope.highest(x), values.argmax(dim=1))
    weights = torch.rand(77, dtype=dtype)
    expected = torch.bincount(values.argmax(dim=1), weights=weights, minlength=m)
    torch.testing.assert_close(envelope.masses(x, weights), expected.to(dtype))
    torch.testing.assert_close(envelope.masses(x), envelope.masses(x, torch.full_like(weights, 1 / 77)))
    k = min(5, m)
    found, indices = envelope.top(x, 5)
    torch.testing.assert_close(found, values.topk(k, dim=1).values)
    torch.testing.assert_close(values.gather(1, indices), found)


def test_heights_of_planes_can_be_replaced():
    points, x = torch.randn(500, 3), torch.randn(40, 3)
    envelope = Planes(points, torch.randn(500))
    heights = torch.randn(500)
    envelope.move_to(heights)
    assert torch.equal(envelope.highest(x), (x @ points.T + heights).argmax(dim=1))


@pytest.mark.parametrize("m", [4, 10_000])
def test_first_of_distant_equal_planes_is_highest(m):
    points = torch.zeros(m, 1)
    points[[1, m // 2, m - 1]] = 1.0
    assert Planes(points, torch.zeros(m)).highest(torch.tensor([[2.0], [-1.0]])).tolist() == [1, 0]


def test_first_of_equal_planes_is_highest():
    points = torch.tensor([[1.0], [0.0], [1.0], [1.0]])
    assert Planes(points, torch.zeros(4)).highest(torch.tensor([[2.0], [-1.0]])).tolist() == [0, 1]


def test_empty_input_gives_empty_result():
    envelope = Planes(torch.randn(5, 2), torch.zeros(5))
    assert envelope.highest(torch.empty(0, 2)).shape == (0,)
    assert envelope.top(torch.empty(0, 2), 3)[0].shape == (0, 3)
