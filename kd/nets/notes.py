"""Notes on a net: what was done to it beside its creation, for whoever trains it to say."""

from torch import nn

_NOTES = "kd_notes"


def note(net: nn.Module, text: str) -> nn.Module:
    """Write down what was done to a net, and return it."""
    setattr(net, _NOTES, [*notes(net), text])
    return net


def notes(net: nn.Module) -> list[str]:
    """Return what was done to a net, in words and in order."""
    return list(getattr(net, _NOTES, []))
