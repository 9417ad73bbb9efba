"""How the libraries of nets normalise images, from their own metadata."""

import importlib
from collections.abc import Sequence

from kd.nets.named import TIMM, TORCHVISION


def known_normalisation(net: str) -> tuple[Sequence[float], Sequence[float]] | None:
    """Return mean and standard deviation per channel, of pixels in [0, 1], with which a library's weights of a net are used.

    Args:
        net: name of a net; only ``torchvision:NAME`` and ``timm:NAME`` have metadata.
    """
    library, _, name = net.rpartition(":")
    if library == TORCHVISION:
        return _torchvision(name)
    if library == TIMM:
        config = importlib.import_module(TIMM).get_pretrained_cfg(name)
        return None if config is None else (config.mean, config.std)
    return None


def _torchvision(name: str) -> tuple[Sequence[float], Sequence[float]] | None:
    import torchvision  # noqa: PLC0415 - a slow import

    weights = next(iter(torchvision.models.get_model_weights(name)), None)
    if weights is None:
        return None
    preset = weights.transforms()
    return (preset.mean, preset.std) if hasattr(preset, "mean") and hasattr(preset, "std") else None
