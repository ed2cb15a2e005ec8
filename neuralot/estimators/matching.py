"""Weights that give the target the source's law of conditions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import chdtrc
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from neuralot.estimators.conditions import ALL, Conditions, groups
from neuralot.estimators.laws import Law, Laws
from neuralot.sampling import listed, spaced

# conditions are discrete if they have one value per so many rows, in both samples
ROWS_PER_VALUE = 10
# laws of conditions are equal unless a likelihood ratio test rejects it at this level
SIGNIFICANT = 0.01
# smallest effective share of the target rows, and largest share of source rows outside of their range
MIN_SHARE, MAX_OUTSIDE = 0.05, 0.01


def matched(laws: Laws, conditions: Conditions) -> Laws:
    """Reweight the target rows to the source's law of conditions.

    For discrete conditions the weights are exact: the weight of each value in the target becomes its weight in the
    source. Numbers are discrete if both samples have at least ten rows per value. Otherwise, within each combination of
    categories, the weights are multiplied by the density ratio p(s) / (1 - p(s)), where p(s) is the probability of the
    source in a logistic regression on the numbers, their squares and their products; the ratio is 1 unless a likelihood
    ratio test finds that the laws differ. From the samples of a stream, rows are chosen in proportion to such weights;
    a later sample without a condition of the source is replaced by the first one.

    Raises
    ------
    ValueError
        If only one sample has a condition, or if the laws of the numbers hardly overlap.
    """
    weights = _weights(laws, conditions)
    if np.allclose(weights, laws[1].weights, rtol=1e-9, atol=0):
        weights = laws[1].weights  # without rounding errors, so that equal weights remain equal
    source, target = laws
    if target.stream is not None:
        chosen = _chosen(target.rows, weights, conditions)
        numbers = None if target.numbers is None else target.numbers[chosen]
        target = replace(target, rows=target.rows[chosen], numbers=numbers)
    elif weights is not target.weights:
        target = Law(target.rows, weights)
    return _renewed(source, source, conditions), _renewed(target, source, conditions)


def _renewed(law: Law, source: Law, conditions: Conditions) -> Law:
    """Give later samples of a stream the source's conditions.

    Between passes, the conditions of a sample vary by chance. Potentials of conditions with more mass in one of the
    samples would drift.
    """
    if law.stream is None:
        return law

    def match(rows: np.ndarray) -> np.ndarray:
        try:
            weights = _weights((source, Law(rows, np.ones(len(rows)))), conditions)
        except ValueError:
            return law.rows
        return rows[_chosen(rows, weights, conditions)]

    return replace(law, match=match)


def _chosen(rows: np.ndarray, weights: np.ndarray, conditions: Conditions) -> np.ndarray:
    """Return indices of as many rows, in proportion to weights."""
    order = np.lexsort(rows[:, conditions.columns].T)  # so that each condition has its share
    return order[spaced(weights[order], len(rows))]


def _weights(laws: Laws, conditions: Conditions) -> np.ndarray:
    """Return weights of target rows, with the same sum."""
    source, target = (law.rows[:, conditions.columns].astype(np.float64) for law in laws)
    v, w = (law.weights / law.weights.sum() for law in laws)
    numbers = conditions.levels == 0
    discrete = not numbers.any() or are_discrete(source[v > 0], target[w > 0])
    chosen = ALL if discrete else ~numbers
    weights = np.zeros_like(w)
    for value, of_source, of_target in groups(source[:, chosen], target[:, chosen]):
        share, in_target = v[of_source].sum(), w[of_target].sum()
        _check_both(conditions.text(value, chosen), share, in_target)
        if share == 0:
            continue
        part = w[of_target]
        if not discrete:
            numbers_of = source[of_source][:, numbers], target[of_target][:, numbers]
            part = part * _density_ratio(*numbers_of, v[of_source], part, list(conditions.names[numbers]))
        weights[of_target] = part * (share / part.sum())
    return weights * laws[1].weights.sum()


def are_discrete(source: np.ndarray, target: np.ndarray) -> bool:
    """Return whether both samples have ten rows per condition."""
    return all(ROWS_PER_VALUE * len(np.unique(rows, axis=0)) <= len(rows) for rows in (source, target))


def _check_both(text: str, in_source: float, in_target: float) -> None:
    """Raise a ValueError if only one sample has a condition."""
    if (in_source > 0) == (in_target > 0):
        return
    present, absent = ("source", "target") if in_source > 0 else ("target", "source")
    raise ValueError(
        f"the {present} has rows with the condition {text}, but the {absent} has none; pass rows of both samples for "
        f"each condition, or leave these rows out. In a pipeline, apply the earlier steps to the target, too "
        f"(transform_input)"
    )


def _density_ratio(
    source: np.ndarray, target: np.ndarray, v: np.ndarray, w: np.ndarray, names: list[str]
) -> np.ndarray:
    """Return the density ratio at target rows."""
    source, v = source[v > 0], v[v > 0]
    is_positive = w > 0
    low, high = target[is_positive].min(axis=0), target[is_positive].max(axis=0)
    outside = v[((source < low) | (source > high)).any(axis=1)].sum() / v.sum()
    # few source rows may be outside by chance
    if outside > MAX_OUTSIDE + 10 / len(source):
        raise ValueError(
            f"{outside:.0%} of the source rows have conditions {listed(names)} outside of the range of the target; "
            f"pass target rows in this range, or leave these source rows out"
        )
    rows = np.vstack([source, target[is_positive]])
    is_source = np.arange(len(rows)) < len(source)
    weights = np.concatenate([_effective(v), _effective(w[is_positive])])
    features = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler())
    terms = features.fit_transform(rows)
    model = LogisticRegression(C=1e4, max_iter=1000).fit(terms, is_source, sample_weight=weights)
    logits = model.decision_function(terms)
    prior = np.log(weights[is_source].sum() / weights[~is_source].sum())
    signs = np.where(is_source, 1, -1)
    statistic = 2 * weights @ (np.logaddexp(0, -signs * prior) - np.logaddexp(0, -signs * logits))
    ratio = np.ones(len(w))
    if chdtrc(terms.shape[1], statistic) > SIGNIFICANT:
        return ratio
    ratio[is_positive] = np.exp(logits[~is_source] - prior)
    share = (w @ ratio) ** 2 / ((w @ ratio**2) * w.sum())
    if share < MIN_SHARE:
        raise ValueError(
            f"the laws of the conditions {listed(names)} hardly overlap: with the source's law, only {share:.1%} of "
            f"the target rows count; pass rows with similar conditions, or the density ratio as sample_weight_target"
        )
    return ratio


def _effective(weights: np.ndarray) -> np.ndarray:
    """Scale weights to sum to the effective sample size."""
    return weights * (weights.sum() / (weights @ weights))
