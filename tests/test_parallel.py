"""Fits in other processes with joblib's loky, and maps of dask arrays."""

import os
import signal
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
import sklearn
import torch
from conftest import gaussian, make_tiny
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from neuralot import DomainAdapter, SNOTTransport


def threads_and_images(transport, X, Y):
    images = transport.fit(X, Y).transform(X)
    return torch.get_num_threads(), images


def test_fits_in_other_processes_give_same_results(tiny, samples):
    X, Y = samples
    expected = tiny().fit(X, Y).transform(X)
    for n_threads, images in Parallel(n_jobs=2)(delayed(threads_and_images)(tiny(), X, Y) for _ in range(2)):
        assert n_threads <= torch.get_num_threads()
        assert np.array_equal(images, expected)


def test_grid_search_in_two_processes_gives_same_results(tiny, samples):
    X = np.concatenate([samples[0], samples[0] + 0.1])
    one, two = (GridSearchCV(tiny(), {"max_iter": [1, 30]}, cv=2, n_jobs=n).fit(X, X + 5) for n in (1, 2))
    assert np.array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert np.array_equal(one.transform(X), two.transform(X))


def end_worker(step, problem, record):
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_worker_ends_the_grid_search_with_an_error(samples):
    X = np.concatenate(samples)
    search = GridSearchCV(make_tiny(SNOTTransport, callbacks=[end_worker]), {"max_iter": [1, 2]}, cv=2, n_jobs=2)
    with pytest.raises(BrokenProcessPool):
        search.fit(X, X + 5)


@pytest.mark.slow
def test_grid_search_of_adapter_in_two_processes_gives_same_results(tiny, samples):
    X = np.concatenate(samples)
    domain = np.where(np.arange(len(X)) % 2, 1, -1)
    y = (X[:, 0] > 0).astype(int)
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = Pipeline([("scale", StandardScaler()), ("adapt", DomainAdapter(tiny(), LogisticRegression()))])
        grid = {"adapt__transport__max_iter": [1, 5], "adapt__direction": ["source_to_target", "target_to_source"]}
        folds = KFold(2, shuffle=True, random_state=0)
        one, two = (
            GridSearchCV(pipe, grid, cv=folds, n_jobs=n, error_score="raise").fit(X, y, sample_domain=domain)
            for n in (1, 2)
        )
    assert one.cv_results_["mean_test_score"].shape == (4,)
    assert np.array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])


@pytest.mark.filterwarnings("default")  # warnings of dask
def test_dask_array_is_mapped_block_by_block(samples):
    array = pytest.importorskip("dask.array")
    distributed = pytest.importorskip("distributed")
    transport = make_tiny(SNOTTransport).fit(*samples)
    X = gaussian(1000, 2)
    rows = array.from_array(X, chunks=(300, 2))
    images = rows.map_blocks(transport.transform, dtype=X.dtype, meta=np.empty((0, 2)))
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True) as cluster,
        distributed.Client(cluster),
    ):
        moved = images.compute()
    np.testing.assert_allclose(moved, transport.transform(X), atol=1e-12)
