"""The weights that torchvision publishes for its nets: from where its own loader puts them, or fetched by it."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import torch
from torch import Tensor

from kd.errors import UserError, reason
from kd.nets.weights import WEIGHTS, read_weights

DEFAULT = "default"
"""In place of a file: the library's own weights."""
SECONDS = 20.0
"""Seconds after which a server that says nothing is given up."""


def default_weights(name: str) -> tuple[dict[str, Tensor], Path]:
    """Return the weights that torchvision recommends for ``torchvision:NAME``, and their file.

    Raises:
        UserError: the net is not torchvision's, it has no weights, or they are not there and can't be fetched.
    """
    import torchvision  # noqa: PLC0415 - a slow import

    library, _, net = name.partition(":")
    if library != "torchvision":
        raise UserError(f"{name}: kd knows no weights of it; name a file of them", field=WEIGHTS)
    weights = torchvision.models.get_model_weights(net).DEFAULT
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(weights.url).path).name
    if not path.exists():
        patience = socket.getdefaulttimeout()
        socket.setdefaulttimeout(SECONDS)
        try:
            weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except Exception as error:  # a network's errors are many
            raise UserError(
                f"{name}: its weights can't be fetched ({reason(error)}); fetch {weights.url} elsewhere and put it into "
                f"{path.parent}",
                field=WEIGHTS,
            ) from error
        finally:
            socket.setdefaulttimeout(patience)
    return read_weights(path), path
