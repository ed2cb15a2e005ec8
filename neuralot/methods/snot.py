"""Semi-dual neural optimal transport (SNOT)."""

from __future__ import annotations

from neuralot.semidual import SemiDual


class SNOT(SemiDual):
    r"""Semi-dual neural optimal transport.

    .. math:: \sup_V \inf_T \; E_\mu[c(x, T(x)) - V(T(x))] + E_\nu[V(y)]

    This is OTM, and OTM-s if the map has a noise input. If the source has mass on a set of dimension at most d - 1, the
    game has *spurious* saddle points, whose map is not a transport map: use `OTP` for such sources.

    Parameters
    ----------
    n_features : int
    form : Form, optional
        How the map is represented; `make_form(n_features)` when None.

    References
    ----------
    Rout, Korotin and Burnaev, "Generative modeling with optimal transport maps", ICLR 2022 (OTM).
    Fan, Liu, Ma, Zhou and Chen, "Neural Monge map estimation and its applications", TMLR 2023.
    """
