"""How a fit ended."""

from __future__ import annotations

from enum import Enum

Record = dict[str, float]


class Status(Enum):
    """How a fit ended.

    The value is a message for the user.
    """

    MAX_ITER = "The fit made all of its max_iter steps."
    MAX_TIME = "The fit used all of its max_time seconds."
    SHORT = (
        "The budget was too short: the images were still far from the target, or approaching it. If the images "
        "of an affine map were closer to the target, it replaced the learned map. Fit again with a larger max_iter or "
        "max_time."
    )
    STOPPED = "The fit was stopped early by early_stopping, mass_tol or a callback."
    PASSED = "The fit made one pass over the rows passed to partial_fit."
    RETARGETED = "The heights are predicted by the network of an earlier fit; no steps were made for this target."
    REFINED = "The heights were predicted by the network of an earlier fit and refined in refine_steps steps."
    INTERRUPTED = (
        "The fit was interrupted. Its weights are those at the interruption, or better ones from before it. "
        "Fit again, or with warm_start=True, for a better map."
    )
    DIVERGED = (
        "The fit diverged: its weights were no longer finite, or its images left the target's law. The best weights "
        "were restored. Lower learning_rate_init, and keep the expectile_weight of critic_loss above 0."
    )
    FAILED = "The fit never had finite weights. Check the networks and the cost, or lower learning_rate_init."

    @property
    def message(self) -> str:
        """Message for the user."""
        return self.value

    @property
    def ok(self) -> bool:
        """Whether the fit ended normally."""
        return self not in (Status.SHORT, Status.INTERRUPTED, Status.DIVERGED, Status.FAILED)
