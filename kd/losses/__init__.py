"""Losses: pure functions of logits."""

from kd.losses.hard_targets import hard_loss
from kd.losses.soft_targets import distillation_loss, soft_loss
from kd.losses.terms import LossTerms

__all__ = ["LossTerms", "distillation_loss", "hard_loss", "soft_loss"]
