"""Whether a net that was trained elsewhere is of a data set, and takes its images."""

import logging
from collections.abc import Sequence

import torch
from torch import nn

from kd.data.dataset import Dataset
from kd.errors import UserError, reason
from kd.evaluation.predict import predict
from kd.nets.columns import Columns
from kd.nets.resized import OwnShape

log = logging.getLogger("kd")

MAX_NAMES_SHOWN = 4


def check_fits(  # noqa: PLR0913, PLR0917 - what a net was trained on, and what it is wanted for
    reference: str,
    classes: Sequence[str],
    image_shape: Sequence[int],
    digest: str,
    dataset: Dataset,
    field: str | None = None,
    *,
    held_out: str = "",
) -> None:
    """Refuse a net of other classes or images than a data set's, and warn of one that may have seen its val or test.

    Args:
        reference: the net's name, for messages.
        classes: the data set's classes with which it was trained.
        image_shape: (C, H, W) of its images.
        digest: digest of the data set with which it was trained.
        dataset: the data set for which it is wanted.
        field: the setting that named it.
        held_out: digest of the val and test that it was not trained on; empty: it is not known.

    Raises:
        UserError: it is of other classes, of another order of them, or of another image shape.
    """
    if list(classes) != list(dataset.classes):
        raise _other_classes(reference, classes, dataset, field)
    if list(image_shape) != list(dataset.image_shape):
        raise _other_images(reference, image_shape, dataset, field)
    warn_of_split(reference, digest, held_out, image_shape, dataset)


def warn_of_split(reference: str, digest: str, held_out: str, image_shape: Sequence[int], dataset: Dataset) -> None:
    """Warn of a net that may have seen the val or test images of a data set.

    One that was trained on more or fewer images of train, beside the same val and test, has not.

    Args:
        reference: the net's name, for messages.
        digest: digest of the data set with which it was trained.
        held_out: digest of the val and test of that data set; empty: it is not known.
        image_shape: (C, H, W) of its images: images of another size can't be compared.
        dataset: the data set for which it is wanted.
    """
    if digest == dataset.digest or held_out == dataset.held_out_digest:
        return
    if list(image_shape) == list(dataset.image_shape):
        log.warning("%s was trained on another split: it may have seen images of val or test", reference)
    else:
        log.warning(
            "%s was trained on images of another size, so its split can't be compared: it may have seen images of val or test",
            reference,
        )


def fitted(  # noqa: PLR0913, PLR0917 - a model, what it was trained on, and what it is wanted for
    model: nn.Module,
    reference: str,
    classes: Sequence[str],
    image_shape: Sequence[int],
    dataset: Dataset,
    field: str | None = None,
    *,
    named: bool = True,
    say: bool = True,
) -> nn.Module:
    """Return a model of other images and of more classes as one of a data set's: resized, and restricted by names of classes.

    Args:
        model: maps uint8 images of ``image_shape`` to logits of ``classes``.
        reference: the model's name, for messages.
        classes: its classes, in the order of its logits.
        image_shape: (C, H, W) of its images.
        dataset: the data set for which it is wanted.
        field: the setting that named it.
        named: whether its classes have names; others are the data set's, by their number.
        say: whether what is done is logged.

    Raises:
        UserError: it lacks a class of the data set, expects images of another form, or of fewer channels.
    """
    tell = log.info if say else log.debug
    if not named:
        if len(classes) != dataset.num_classes:
            raise _other_number(reference, len(classes), dataset, field)
        tell("%s: its %d outputs are taken for the classes of %s in their order", reference, len(classes), dataset.name)
    elif list(classes) != list(dataset.classes):
        if not set(dataset.classes) <= set(classes):
            raise _other_classes(reference, classes, dataset, field)
        model = Columns(model, [list(classes).index(name) for name in dataset.classes])
        tell("%s: of its %d classes the %d of %s are taken", reference, len(classes), dataset.num_classes, dataset.name)
    if list(image_shape) == list(dataset.image_shape):
        return model
    (channels, height, width), (given, high, wide) = image_shape, dataset.image_shape
    if height * wide != width * high or given not in {1, channels}:
        raise _other_images(reference, image_shape, dataset, field)
    tell("%s: it sees images as %d x %d x %d (channels, height, width)", reference, channels, height, width)
    return OwnShape(model, image_shape)


def answer_shape(  # noqa: PLR0913, PLR0917 - a trial, and its message
    model: nn.Module, dataset: Dataset, device: torch.device, told: str, advice: str, field: str
) -> tuple[int, ...]:
    """Try a module on one image, on its device, and return the shape of its answer.

    Raises:
        UserError: it can't take the image: ``told``, the images' shape, the reason and ``advice`` in one line.
    """
    image = dataset.val.select(torch.arange(1)).to(device)
    try:
        return tuple(predict(model, image).shape)
    except Exception as error:  # the code of others raises anything
        raise UserError(f"{told} of shape {dataset.image_shape} ({reason(error)}); {advice}", field=field) from error


def _other_classes(reference: str, classes: Sequence[str], dataset: Dataset, field: str | None) -> UserError:
    return UserError(
        f"{reference}: its classes ({_few(classes)}) are not those of {dataset.name} ({_few(dataset.classes)}); "
        "name one of this data set",
        field=field,
    )


def _other_number(reference: str, number: int, dataset: Dataset, field: str | None) -> UserError:
    return UserError(
        f"{reference}: it gives {number} numbers per image, and {dataset.name} has {dataset.num_classes} classes "
        f"({_few(dataset.classes)}); name its own (--teacher-classes FILE, classes=[...] in Python)",
        field=field,
    )


def _other_images(reference: str, image_shape: Sequence[int], dataset: Dataset, field: str | None) -> UserError:
    return UserError(
        f"{reference}: its images are {list(image_shape)} and those of {dataset.name} {list(dataset.image_shape)} "
        "(channels, height, width); name one of such images",
        field=field,
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMES_SHOWN]) + (", ..." if len(names) > MAX_NAMES_SHOWN else "")
