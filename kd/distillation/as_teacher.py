"""Anything that can teach, as a teacher: a training's result, a combination, a model from a file, a module."""

from dataclasses import replace

import torch
from torch import nn

from kd.data.dataset import Dataset
from kd.distillation.combination import Combination
from kd.distillation.fits import answer_shape, check_fits, fitted, warn_of_split
from kd.distillation.results import Trained
from kd.distillation.saved import SavedModel
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.machine.text import with_article
from kd.nets.log_probabilities import LogProbabilities
from kd.specialists.combined import CombinedModel
from kd.specialists.kind import TaskKind

Teaching = Teacher | Trained | Combination | SavedModel | nn.Module
"""Anything that can teach; a module maps uint8 images (B, C, H, W) to logits of all classes."""


def as_teacher(teacher: Teaching, dataset: Dataset | None, device: torch.device) -> Teacher:
    """Return anything that can teach as a :class:`Teacher`, moved to a device and tried on one image.

    Args:
        teacher: a teacher, a training's result, a combination, a loaded model, or a module from uint8 images to logits of all
            classes.
        dataset: the images to teach on; None: those of the teacher, which a module and a loaded model lack.
        device: where its logits are computed.

    Raises:
        UserError: as :func:`teacher_of`, or its logits are not of the classes.
    """
    found = teacher_of(teacher, dataset)
    found.model.to(device)
    _check_logits(found, device)
    return found


def teacher_of(teacher: Teaching, dataset: Dataset | None) -> Teacher:
    """Return anything that can teach as a :class:`Teacher`, and leave it where it is.

    Raises:
        UserError: it is nothing that can teach, is of some classes only, of other classes or another image shape than the
            data set, or lacks a data set.
    """
    found = _on(_named(teacher, dataset), dataset)
    # The answers of a combination are probabilities.
    return replace(found, model=LogProbabilities(found.model)) if isinstance(found.model, CombinedModel) else found


def _named(teacher: Teaching, dataset: Dataset | None) -> Teacher:
    """Return a teacher of the images that it was trained on, where these are known."""
    match teacher:
        case Teacher():
            return teacher
        case Trained():
            if teacher.task.kind != TaskKind.ALL:
                raise UserError(f"{teacher.name} knows some classes only; a teacher knows all of them", field="teacher")
            return Teacher(teacher.model, teacher.dataset, "trained", teacher.run, teacher, net=teacher.net)
        case Combination():
            return Teacher(teacher.model, teacher.dataset, "trained", teacher.run)
        case SavedModel():
            known = _known(dataset)
            return Teacher(fitted_model(teacher, "the teacher", known, "teacher"), known)
        case nn.Module():
            return Teacher(teacher, _known(dataset))
    what = with_article(type(teacher).__name__)
    raise UserError(
        f"{what} can't teach; give what kd.train, kd.distil, kd.combine or kd.load returned, or a module",
        field="teacher",
    )


def fitted_model(saved: SavedModel, reference: str, dataset: Dataset, field: str | None, *, say: bool = True) -> nn.Module:
    """Return a model from a file as one of a data set's; see :func:`~kd.distillation.fits.fitted`.

    Raises:
        UserError: it lacks a class of the data set, expects images of another form, or of fewer channels.
    """
    shape = saved.image_shape
    module = fitted(saved.module, reference, saved.classes, shape, dataset, field, named=saved.named, say=say)
    if say and saved.data_digest:  # what others trained on is not known
        warn_of_split(reference, saved.data_digest, saved.held_out_digest, shape, dataset)
    return module


def _on(teacher: Teacher, dataset: Dataset | None) -> Teacher:
    """Return a teacher on a data set; what is known of it stays known on the same images."""
    own = teacher.dataset
    if dataset is None or dataset is own:
        return teacher
    held_out = own.held_out_digest
    check_fits("the teacher", own.classes, own.image_shape, own.digest, dataset, "teacher", held_out=held_out)
    return replace(teacher, dataset=dataset, trained=teacher.trained if dataset.digest == own.digest else None)


def _known(dataset: Dataset | None) -> Dataset:
    if dataset is None:
        raise UserError("a module alone does not say which images it teaches on; give the data set", field="dataset")
    return dataset


def _check_logits(teacher: Teacher, device: torch.device) -> None:
    if teacher.trained is not None:
        return
    wrapped = "wrap a net that expects normalised ones: kd.Classifier(net, mean, std)"
    told = "the teacher can't take uint8 images"
    shape = answer_shape(teacher.model, teacher.dataset, device, told, wrapped, "teacher")
    if shape != (1, teacher.dataset.num_classes):
        raise UserError(
            f"the teacher answers an image with {shape[1:]}, not with {teacher.dataset.num_classes} logits; "
            f"give a model of the classes of {teacher.dataset.name}",
            field="teacher",
        )
