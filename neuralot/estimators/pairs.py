"""Mixin of the estimators: pairs of source and target rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from neuralot.estimators.checks import as_array, as_random_state, check_count
from neuralot.estimators.samples import Samples
from neuralot.estimators.state import Fitted
from neuralot.sampling import check_weights

# a pair of a plan with masses is chosen among this many draws, in proportion to their masses
DRAWS_PER_PAIR = 8


class Pairing(Fitted, Samples):
    """Mixin for pairs from the plan."""

    def sample_pairs(
        self, X: Any, n_pairs: int, *, sample_weight: Any = None, random_state: Any = None
    ) -> tuple[Any, Any]:
        r"""Draw pairs of rows and images from the plan.

        .. math:: (x, y) \sim \pi, \qquad x \sim \pi_1 = s \mu, \quad y \sim \pi(y \mid x)

        The law :math:`\mu` of the source is that of the weighted rows `X`, from which x is drawn with replacement. In a
        balanced transport s = 1. Otherwise s is `source_mass`, and pairs are chosen in proportion to their mass among 8
        times as many draws. The pairs are independent except that these draws may repeat.

        Flow matching trains on such pairs, which are usually those of an exact plan between the rows of a batch [1]_.
        `OTNetTransport` pairs noise with target rows.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, n_features)
            Source rows, which need not be rows of the fit.
        n_pairs : int
            Number of pairs.
        sample_weight : array-like of shape (n,), optional
            Non-negative weights of the source rows.
        random_state : int, RandomState instance or None, default=None
            Seed of the rows and draws.

        Returns
        -------
        x : ndarray, Tensor or data frame of shape (n_pairs, n_features)
            Rows of `X`, in units of the data. A tensor if `X` is a tensor, on the same device; a data frame if `X` is
            one with categories.
        y : ndarray, Tensor or data frame of shape (n_pairs, n_features)
            Their images.

        Raises
        ------
        ValueError
            As in `transform`, if `n_pairs` is not a positive integer, if a weight is invalid, or if no row of `X` keeps
            any mass.
        NotFittedError
            Before `fit`.

        References
        ----------
        .. [1] Tong et al., "Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport",
           Transactions on Machine Learning Research, 2024.

        Examples
        --------
        >>> import numpy as np
        >>> from neuralot import OTNetTransport
        >>> rng = np.random.default_rng(0)
        >>> noise, Y = rng.normal(size=(1000, 2)), rng.normal(size=(50, 2)) + 5
        >>> transport = OTNetTransport(max_iter=50, random_state=0).fit(noise, Y)
        >>> x, y = transport.sample_pairs(noise, 256, random_state=0)
        >>> x.shape, y.shape
        ((256, 2), (256, 2))
        """
        check_is_fitted(self)
        check_count(n_pairs, "n_pairs")
        rows = self._check_source(X, reset=False)
        weights = check_weights(sample_weight, "sample_weight", len(rows))
        state = as_random_state(random_state)
        n_draws = DRAWS_PER_PAIR * n_pairs if self._fitted_params.changes_masses else n_pairs
        chosen = state.choice(len(rows), n_draws, p=weights / weights.sum())
        images, masses = self._weighted_draw(rows[chosen], state)
        if masses is not None:
            if not (total := masses.sum(dtype=np.float64)) > 0:
                raise ValueError("X must have rows that keep mass, but source_mass is 0 at all of them")
            kept = state.choice(n_draws, n_pairs, p=masses / total)
            chosen, images = chosen[kept], images[kept]
        like = _safe_indexing(as_array(X), chosen) if self._has_categories else X
        return self._like(like, rows[chosen]), self._like(like, images)
