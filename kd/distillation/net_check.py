"""A net, tried before anything costly: it answers, learns, and can be exported."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd.data.dataset import Dataset
from kd.distillation.fits import answer_shape
from kd.errors import UserError, reason
from kd.evaluation.predict import predict_images
from kd.machine.activity import doing
from kd.nets.classifier import Classifier
from kd.nets.cost import count_multiply_adds
from kd.nets.exported import read_model, write_program
from kd.nets.names import is_named_elsewhere
from kd.nets.notes import notes
from kd.nets.registry import NetSpec
from kd.nets.resized import Resized
from kd.nets.small_stem import small_stem_hint

log = logging.getLogger("kd")

_ANYWAY = ", or train it all the same with --no-export (kd.track(export=False) in Python)"
BATCH = 8
"""Images of the batch that a net is tried on."""
OTHER_BATCH = 3
"""Images of the batch that its exported form is compared on: not the number that it was exported with."""
CLOSE = 1e-4
"""Difference between a net and its exported form, as a share of the largest logit, that rounding explains."""


@doing("trying a net")
def check_net(  # noqa: PLR0913 - what is tried, on what
    net: NetSpec, dataset: Dataset, num_classes: int, device: torch.device, label: str, *, exported: bool
) -> None:
    """Create a net and try it on real images, before anything costly.

    A net of kd's own answers one image. Any other one also learns from a batch, and is exported and read back where its model
    will be kept.

    Args:
        net: the net.
        dataset: the images.
        num_classes: the number of logits that it is to give.
        device: where it is tried.
        label: what it is to be, for messages.
        exported: whether its model will be kept.

    Raises:
        UserError: it can't be created, can't take the images, has nothing to train, gives other than one logit per class or
            a logit that is not finite, can't learn, or can't be exported.
    """
    with torch.random.fork_rng(devices=[]):
        model = Classifier(net.create(num_classes, dataset.image_shape[0]), dataset.mean, dataset.std)
        check_answers(net.name, model.to(device), dataset, num_classes, device, label)
        if not net.is_own:
            return
        for note in notes(model.net):
            log.info("%s: %s", net.name, note)
        _hint_at_small_stem(net, model, dataset, device)
        _check_learning(net.name, model, dataset, device)
        if exported:
            _check_export(net.name, model, dataset, num_classes)


def _hint_at_small_stem(net: NetSpec, model: Classifier, dataset: Dataset, device: torch.device) -> None:
    seen: list[Tensor] = []
    hook = _innermost(model.net).register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    predict_images(model.to(device), dataset.val.images[:1])
    hook.remove()
    hint = small_stem_hint(_innermost(model.net), seen[0])
    if hint:
        advice = (
            "--small-stem (small_stem=True) fits its first layers"
            if is_named_elsewhere(net.name)
            else "look at its first layers"
        )
        log.info("%s: %s; %s", net.name, hint, advice)


def _innermost(net: nn.Module) -> nn.Module:
    """Return a net behind what resizes its images."""
    return net.net if isinstance(net, Resized) else net


def check_answers(  # noqa: PLR0913, PLR0917 - what is tried, on what
    name: str, model: nn.Module, dataset: Dataset, num_classes: int, device: torch.device, label: str
) -> None:
    """Refuse a net that can't be trained on the images of a data set.

    Raises:
        UserError: it can't take them, has nothing to train, or gives other than one logit per class.
    """
    shape = answer_shape(model, dataset, device, f"{name} can't take images", "give a net that can", "net")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(f"{name} has no parameters to train; give a net that has", field="net")
    if shape != (1, num_classes):
        raise UserError(
            f"{name} answers an image with {shape[1:]}, not with {num_classes} logits, one per class of {label}; "
            "give a net whose last layer has so many outputs: a function of (num_classes, in_channels)",
            field="net",
        )


def _check_learning(name: str, model: nn.Module, dataset: Dataset, device: torch.device) -> None:
    batch = dataset.train.select(torch.arange(min(BATCH, len(dataset.train)))).to(device)
    try:
        logits = model.train()(batch.images)
        labels = batch.labels % logits.shape[1]  # a specialist has fewer classes
        F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call] # torch's own
        finite = bool(logits.isfinite().all())
        learns = any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in model.parameters())
    except Exception as error:  # the code of others raises anything
        raise UserError(f"{name} can't learn from a batch ({reason(error)}); give a net that can", field="net") from error
    if not finite:
        raise UserError(
            f"{name} answers real images with logits that are not finite; look at its forward and its first weights",
            field="net",
        )
    if not learns:
        raise UserError(f"{name} has no parameter that its logits depend on; give a net that has", field="net")


def _check_export(name: str, model: nn.Module, dataset: Dataset, num_classes: int) -> None:
    """Refuse a net that could be trained, but not used afterwards."""
    images = dataset.val.images[:OTHER_BATCH]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt2"
        try:
            count_multiply_adds(model, dataset.image_shape)
            with _quiet_torch():
                write_program(model, dataset.image_shape, path, {})
            expected, found = (predict_images(one, images) for one in (model.cpu(), _read(path, dataset, num_classes)))
        except Exception as error:  # the code of others raises anything
            told = reason(error.__cause__ or error)
            raise UserError(
                f"{name} can't be exported, so it could not be used ({told}); give a net that can{_ANYWAY}", field="net"
            ) from error
    if not torch.allclose(expected, found, rtol=0, atol=CLOSE * float(expected.abs().max())):
        raise UserError(
            f"{name} gives other answers once it is exported; give a net whose forward is made of tensors{_ANYWAY}", field="net"
        )


@contextlib.contextmanager
def _quiet_torch() -> Iterator[None]:
    """Silence what torch tells of an export that fails: a warning, and the whole program so far on standard error."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


def check_combinable(name: str, model: nn.Module, dataset: Dataset, field: str) -> None:
    """Refuse a model of others that could not be exported as a part of a combined one.

    Raises:
        UserError: it can't be exported.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet_torch():
        try:
            write_program(model, dataset.image_shape, Path(folder) / "model.pt2", {})
        except Exception as error:  # the code of others raises anything
            raise UserError(
                f"{name}: it can't be exported ({reason(error.__cause__ or error)}), so it can't be combined with specialists; "
                "kd student takes it",
                field=field,
            ) from error


def _read(path: Path, dataset: Dataset, num_classes: int) -> nn.Module:
    return read_model(path, dataset.image_shape, num_classes, logarithm=False)
