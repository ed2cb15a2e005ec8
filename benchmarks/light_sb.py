"""LightSB (Korotin, Gushchin and Burnaev 2024, arXiv 2310.01174), written from its formula as a baseline.

The potential is a mixture of Gaussians, v(y) = sum_k w_k N(y; r_k, eps S_k). The plan is then a mixture as well:

    pi(y | x) = exp(<x, y> / eps) v(y) / c(x) = sum_k w_k(x) N(y; r_k + S_k x, eps S_k)
    w_k(x) = w_k exp((<x, S_k x> + 2 <r_k, x>) / (2 eps)) / c(x)

The loss mean_x log c(x) - mean_y log v(y) is the divergence of this plan from the entropic one, up to a constant.
"""

import math
import time

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor


class LightSB:
    """LightSB by Adam, with a rate that rises in a fifth of the run, from S_k = I and k-means centres r_k."""

    def __init__(self, eps=0.1, n_components=10, full=True, max_time=5.0, max_iter=None, rate=0.02, random_state=0):
        self.eps, self.n_components, self.full = eps, n_components, full
        self.max_time, self.max_iter, self.rate, self.random_state = max_time, max_iter, rate, random_state

    def fit(self, X: np.ndarray, Y: np.ndarray, batch_size: int = 512) -> "LightSB":
        x, y = (torch.as_tensor(np.asarray(rows), dtype=torch.float32) for rows in (X, Y))
        start, k, d = time.perf_counter(), self.n_components, x.shape[1]
        rng, share, self.n_iter_ = np.random.default_rng(self.random_state), 0.0, 0
        self.log_weights, self.log_diagonal, self.lower = torch.zeros(k), torch.zeros(k, d), torch.zeros(k, d, d)
        self.centres = torch.as_tensor(KMeans(k, random_state=self.random_state).fit(y[:5000]).cluster_centers_).float()
        learned = [self.log_weights, self.log_diagonal, self.centres, *([self.lower] if self.full else [])]
        optimizer = torch.optim.Adam([each.requires_grad_() for each in learned], lr=self.rate)
        while share < 1:
            rows = [torch.as_tensor(rng.integers(len(each), size=min(batch_size, len(each)))) for each in (x, y)]
            loss = self.scores(x[rows[0]]).logsumexp(1).mean() - self.log_potential(y[rows[1]]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = self.rate * min(1, 5 * share) * (1 + math.cos(math.pi * share)) / 2
            optimizer.step()
            self.n_iter_ += 1
            share = self.n_iter_ / self.max_iter if self.max_iter else (time.perf_counter() - start) / self.max_time
        for each in learned:
            each.requires_grad_(False)
        return self

    def factors(self) -> Tensor:
        """The factors L of S = L L', shape (k, d, d)."""
        return torch.tril(self.lower, -1) + torch.diag_embed(self.log_diagonal.exp())

    def scores(self, x: Tensor) -> Tensor:
        """log w_k + (<x, S_k x> + 2 <r_k, x>) / (2 eps), shape (n, k)."""
        squares = ((x @ self.factors()) ** 2).sum(2).T
        return self.log_weights.log_softmax(0) + (squares + 2 * x @ self.centres.T) / (2 * self.eps)

    def log_potential(self, y: Tensor) -> Tensor:
        """log v(y), shape (n,)."""
        away, L = y - self.centres[:, None], self.factors()  # (k, n, d)
        z = away @ torch.linalg.solve_triangular(L, torch.eye(y.shape[1]).expand_as(L), upper=False).transpose(1, 2)
        logs = -(z**2).sum(2) / (2 * self.eps) - self.log_diagonal.sum(1)[:, None]
        constant = y.shape[1] * math.log(2 * math.pi * self.eps) / 2
        return (self.log_weights.log_softmax(0)[:, None] + logs).logsumexp(0) - constant

    def transform(self, X: np.ndarray) -> np.ndarray:
        """The conditional mean of the plan."""
        x, L = torch.as_tensor(np.asarray(X), dtype=torch.float32), self.factors()
        means = self.centres[:, None] + x @ L @ L.transpose(1, 2)  # (k, n, d)
        return torch.einsum("nk,knd->nd", self.scores(x).softmax(1), means).double().numpy()

    def sample(self, X: np.ndarray, n_draws: int = 1, random_state: int = 0) -> np.ndarray:
        generator = torch.Generator().manual_seed(random_state)
        x, L = torch.as_tensor(np.asarray(X), dtype=torch.float32), self.factors()
        component = self.scores(x).softmax(1).multinomial(n_draws, True, generator=generator).T.reshape(-1)
        x = x.repeat(n_draws, 1)
        z, draws = math.sqrt(self.eps) * torch.randn(x.shape, generator=generator), torch.empty_like(x)
        for k in range(self.n_components):
            rows = component == k
            draws[rows] = self.centres[k] + (x[rows] @ L[k] + z[rows]) @ L[k].T
        return draws.reshape(n_draws, *X.shape).double().numpy()
