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
        "The budget was too short: at its end the images were still approaching the target. If the affine map came "
        "nearer to the target, it replaces what was learned. Fit again with a larger max_iter or max_time."
    )
    STOPPED = "The fit ended early, by early_stopping, mass_tol or a callback."
    PASSED = "The fit made its pass over the rows that partial_fit was given."
    RETARGETED = "The heights came from the network of an earlier fit, and no step was made for this target."
    REFINED = "The heights came from the network of an earlier fit, and were refined in all of the refine_steps."
    INTERRUPTED = (
        "The fit was interrupted before its end, and keeps the weights of that moment or better earlier ones. "
        "Fit again, or with warm_start=True, for a better map."
    )
    DIVERGED = (
        "The fit diverged: its weights were no longer finite, or its images left the target's law. The best weights "
        "were restored. Lower learning_rate_init, and keep expectile_weight above 0 where there is one."
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
