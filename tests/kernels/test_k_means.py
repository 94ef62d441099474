"""k-means: by hand, against scikit-learn, and where clusters run empty."""

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch.testing import assert_close

from fedrec.kernels.k_means import k_means


def test_two_iterations_by_hand() -> None:
    points = torch.tensor([[0.0], [1.0], [5.0], [6.0]])
    found = k_means(points, torch.tensor([[0.0], [1.0]]), tolerance=1e-4, max_iterations=50)
    assert found.label.tolist() == [0, 0, 1, 1]
    assert_close(found.centroid, torch.tensor([[0.5], [5.5]]))


def test_the_iteration_cap_holds() -> None:
    points = torch.tensor([[0.0], [1.0], [5.0], [6.0]])
    found = k_means(points, torch.tensor([[0.0], [1.0]]), tolerance=1e-4, max_iterations=1)
    assert found.label.tolist() == [0, 1, 1, 1]
    assert_close(found.centroid, torch.tensor([[0.0], [4.0]]))


def test_equals_scikit_learn_from_the_same_start() -> None:
    points = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    start = points[:5]
    expected = KMeans(5, init=start, n_init=1, tol=0, algorithm="lloyd").fit(points)
    found = k_means(torch.from_numpy(points), torch.from_numpy(start.copy()), 1e-6, 300)
    assert found.label.tolist() == expected.labels_.tolist()
    assert_close(found.centroid, torch.from_numpy(expected.cluster_centers_), atol=1e-5, rtol=1e-5)


def test_an_empty_cluster_keeps_its_centroid() -> None:
    points = torch.tensor([[0.0], [2.0]])
    found = k_means(points, torch.tensor([[1.0], [100.0]]), tolerance=1e-4, max_iterations=10)
    assert found.label.tolist() == [0, 0]
    assert found.centroid.tolist() == [[1.0], [100.0]]
