"""Logit matching: Ba and Caruana (2014), "Do Deep Nets Really Need to be Deep?", equation 2."""

from torch import Tensor


def logit_matching_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return half the mean squared difference of the logits for each image.

    It is the limit of ``T^2 KL`` at a high temperature for logits of mean zero (Hinton, Vinyals and Dean, section 2.1). Ba and
    Caruana take the sum over the classes; the mean has the size of the other losses, so that the same learning rates suit it.

    Args:
        student: logits, (B, C).
        teacher: logits, (B, C).

    Returns:
        (B,).
    """
    return (student - teacher).square().mean(dim=1) / 2
