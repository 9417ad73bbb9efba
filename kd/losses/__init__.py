"""Losses: pure functions of logits, one file per paper."""

from typing import TYPE_CHECKING

from kd.machine.lazy import loader

if TYPE_CHECKING:
    from kd.losses.choice import SoftLoss
    from kd.losses.correlation import correlation_loss
    from kd.losses.decoupled import decoupled_loss
    from kd.losses.hard_targets import hard_loss
    from kd.losses.logit_matching import logit_matching_loss
    from kd.losses.soft_targets import distillation_loss, soft_loss
    from kd.losses.standardized import standardized
    from kd.losses.terms import LossTerms

__all__ = [
    "LossTerms",
    "SoftLoss",
    "correlation_loss",
    "decoupled_loss",
    "distillation_loss",
    "hard_loss",
    "logit_matching_loss",
    "soft_loss",
    "standardized",
]

# Loaded when first used: a configuration names losses, and must not wait for torch.
__getattr__ = loader(
    __name__,
    {
        "LossTerms": "kd.losses.terms",
        "SoftLoss": "kd.losses.choice",
        "correlation_loss": "kd.losses.correlation",
        "decoupled_loss": "kd.losses.decoupled",
        "distillation_loss": "kd.losses.soft_targets",
        "hard_loss": "kd.losses.hard_targets",
        "logit_matching_loss": "kd.losses.logit_matching",
        "soft_loss": "kd.losses.soft_targets",
        "standardized": "kd.losses.standardized",
    },
)
