"""The precision of matrix products on a GPU is set temporarily."""

import pytest
import torch

from neuralot._torch import matmul_precision

SETTING = torch.backends.cuda.matmul
GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def reset_precision():
    yield
    torch.backends.fp32_precision = SETTING.fp32_precision = "none"


@pytest.mark.parametrize("before", ["none", "ieee", "tf32"])
def test_precision_is_restored(before):
    SETTING.fp32_precision = before
    with matmul_precision(GPU, "tf32"):
        assert SETTING.fp32_precision == "tf32"
        with matmul_precision(GPU, "ieee"):
            assert SETTING.fp32_precision == "ieee"
        assert SETTING.fp32_precision == "tf32"
    assert SETTING.fp32_precision == before


def test_inherited_precision_remains_inherited():
    torch.backends.fp32_precision = "tf32"
    with matmul_precision(GPU, "ieee"):
        assert SETTING.fp32_precision == "ieee"
    assert SETTING.fp32_precision == "tf32"
    torch.backends.fp32_precision = "ieee"
    assert SETTING.fp32_precision == "ieee"


def test_precision_is_not_set_on_cpu():
    with matmul_precision(torch.device("cpu"), "tf32"):
        assert SETTING.fp32_precision == "none"
