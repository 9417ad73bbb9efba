"""The weights that torchvision and timm publish for their nets: from where their own loaders put them, or fetched by those."""

import importlib
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import torch
from torch import Tensor

from kd.errors import UserError, reason
from kd.nets.named import TIMM, TORCHVISION
from kd.nets.weights import WEIGHTS, read_weights

DEFAULT = "default"
"""In place of a file: the library's own weights."""
SECONDS = 20.0
"""Seconds after which a server that says nothing is given up."""


TIMM_FILE = "model.safetensors"
"""The name that each of timm's files of weights has on its hub."""


def default_weights(name: str) -> tuple[dict[str, Tensor], Path]:
    """Return the weights that torchvision or timm recommends for ``torchvision:NAME`` or ``timm:NAME``, and their file.

    Raises:
        UserError: the net is neither's, it has no weights, or they are not there and can't be fetched.
    """
    library, _, net = name.partition(":")
    find = {TORCHVISION: _torchvision, TIMM: _timm}.get(library)
    if find is None:
        raise UserError(f"{name}: kd knows no weights of it; name a file of them", field=WEIGHTS)
    path = find(name, net)
    return read_weights(path), path


def _torchvision(name: str, net: str) -> Path:
    import torchvision  # noqa: PLC0415 - a slow import

    weights = torchvision.models.get_model_weights(net).DEFAULT
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(weights.url).path).name
    if not path.exists():
        with _fetching(name, f"fetch {weights.url} elsewhere and put it into {path.parent}"):
            weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    return path


def _timm(name: str, net: str) -> Path:
    """Return timm's file, from the cache of its hub or fetched into it."""
    timm = importlib.import_module(TIMM)
    hub = timm.create_model(net, pretrained=False).pretrained_cfg.get("hf_hub_id")
    if not hub:
        raise UserError(f"{name}: timm has no weights of it; name a file of them", field=WEIGHTS)
    advice = f"fetch https://huggingface.co/{hub}/resolve/main/{TIMM_FILE} elsewhere and name that file in place of {DEFAULT}"
    with _fetching(name, advice):
        return Path(importlib.import_module("huggingface_hub").hf_hub_download(hub, TIMM_FILE))


@contextmanager
def _fetching(name: str, advice: str) -> Iterator[None]:
    """Give up a server that says nothing, and turn the errors of a network, which are many, into one line."""
    patience, logger = socket.getdefaulttimeout(), logging.getLogger("huggingface_hub")
    told = logger.level
    socket.setdefaulttimeout(SECONDS)
    logger.setLevel(logging.CRITICAL)  # it tells of each of its tries, and then raises what is told here
    try:
        yield
    except Exception as error:
        why = reason(error).split(". ")[0]
        raise UserError(f"{name}: its weights can't be fetched ({why}); {advice}", field=WEIGHTS) from error
    finally:
        logger.setLevel(told)
        socket.setdefaulttimeout(patience)
