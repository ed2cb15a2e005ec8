"""The precision of products on a GPU is set for a while, and given back."""

import pytest
import torch

from neuralot._torch import matmul_precision

SETTING = torch.backends.cuda.matmul
GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def given_back():
    yield
    torch.backends.fp32_precision = SETTING.fp32_precision = "none"


@pytest.mark.parametrize("before", ["none", "ieee", "tf32"])
def test_a_precision_is_for_a_while(before):
    SETTING.fp32_precision = before
    with matmul_precision(GPU, "tf32"):
        assert SETTING.fp32_precision == "tf32"
        with matmul_precision(GPU, "ieee"):
            assert SETTING.fp32_precision == "ieee"
        assert SETTING.fp32_precision == "tf32"
    assert SETTING.fp32_precision == before


def test_what_was_inherited_goes_on_being_so():
    torch.backends.fp32_precision = "tf32"
    with matmul_precision(GPU, "ieee"):
        assert SETTING.fp32_precision == "ieee"
    assert SETTING.fp32_precision == "tf32"
    torch.backends.fp32_precision = "ieee"
    assert SETTING.fp32_precision == "ieee"


def test_nothing_is_set_for_a_cpu():
    with matmul_precision(torch.device("cpu"), "tf32"):
        assert SETTING.fp32_precision == "none"
