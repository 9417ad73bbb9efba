"""The nets, images and recipes that an experiment is run with, and the trainings that experiments are made of."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import nn

from kd.data.dataset import Dataset
from kd.distillation.job import Job
from kd.distillation.objectives import HINTON
from kd.distillation.plan import Distillation, distillation_jobs, hard_targets_job, targets_seen
from kd.distillation.results import Trained
from kd.distillation.targets import TeacherTargets
from kd.distillation.teacher import Teacher
from kd.distillation.tracker import carry_out
from kd.errors import UserError
from kd.lab.settings import Settings
from kd.losses.choice import SoftLoss
from kd.nets.mlp import mlp
from kd.nets.registry import NetSpec, net_spec
from kd.training.recipe import Recipe, Use

JITTER_PX = 2
"""Largest shift of the images that the paper's teacher sees (section 3)."""


@dataclass(frozen=True, eq=False)
class Setup:
    """Images, a device and settings: what an experiment is run with."""

    dataset: Dataset
    device: torch.device
    settings: Settings = field(default_factory=Settings)

    @property
    def transfer(self) -> Dataset:
        """Return the images as students see them: those of an mlp without shifts and flips, as the paper has it."""
        return replace(self.dataset, flip=False, shift=False) if self.settings.net == "mlp" else self.dataset

    def net(self, *, width: int | None = None) -> NetSpec:
        """Return the net of students; ``width`` is its own where it is not that of the settings."""
        return self._net(width or self.settings.width, self.settings.depth, regularised=False)

    def teacher_net(self) -> NetSpec:
        """Return the net of teachers."""
        return self._net(self.settings.teacher_width, self.settings.teacher_depth, regularised=True)

    def recipe(self, seed: int, *, label_smoothing: float = 0.0, use: Use = "best", epochs: int | None = None) -> Recipe:
        """Return the recipe of students."""
        own = self.settings
        return Recipe(
            epochs=epochs or own.epochs,
            batch_size=own.batch_size,
            lr=own.lr,
            weight_decay=0.0 if own.net == "mlp" else Recipe.weight_decay,
            seed=seed,
            views=own.views,
            label_smoothing=label_smoothing,
            use=use,
        )

    def teacher_recipe(self, seed: int) -> Recipe:
        """Return the recipe of teachers, which see a new view of each image in each epoch."""
        own = self.settings
        usual = max(1, self.dataset.image_shape[1] // 8)
        return Recipe(
            epochs=own.teacher_epochs,
            batch_size=own.batch_size,
            lr=own.teacher_lr,
            weight_decay=0.0 if own.net == "mlp" else Recipe.weight_decay,
            seed=seed,
            shift_px=min(JITTER_PX, usual) if own.net == "mlp" else 0,
        )

    def teacher(self, seed: int, name: str = "teacher") -> Teacher:
        """Train a teacher on hard targets and all training images."""
        job = self._hard(self.teacher_net(), self.dataset, self.teacher_recipe(seed), f"{name} seed {seed}")
        trained = carry_out(replace(job, role="teacher"))
        return Teacher(trained.model, trained.dataset, "trained", trained.run, trained)

    def hard(  # noqa: PLR0913 - the choices of one training
        self,
        seed: int,
        name: str,
        *,
        images: Dataset | None = None,
        net: NetSpec | None = None,
        recipe: Recipe | None = None,
        start: nn.Module | None = None,
        epoch_images: int = 0,
    ) -> Trained:
        """Train a student on hard targets alone: a control.

        Args:
            seed: seed of the weights and of the order of images.
            name: what the result is called, for the run.
            images: the images to learn from; None: all of them.
            net: a net of its own; None: that of :meth:`net`.
            recipe: a recipe of its own; None: that of :meth:`recipe`.
            start: a net from whose weights it starts; None: the seed draws them.
            epoch_images: images of an epoch, where that is to have more or fewer steps than one pass; 0: it is one pass.
        """
        on = images or self.transfer
        job = self._hard(net or self.net(), on, _fitting(recipe or self.recipe(seed), on), f"{name} seed {seed}")
        return carry_out(replace(job, start=start, task=replace(job.task, epoch_images=epoch_images)))

    def soft(  # noqa: PLR0913 - the choices of one distillation
        self,
        teacher: Teacher,
        seed: int,
        name: str,
        *,
        images: Dataset | None = None,
        net: NetSpec | None = None,
        temperature: float | None = None,
        alpha: float | None = None,
        loss: SoftLoss = HINTON,
        targets: TeacherTargets | None = None,
        altered: str = "",
        recipe: Recipe | None = None,
        start: nn.Module | None = None,
        epoch_images: int = 0,
    ) -> Trained:
        """Distil a teacher into a student.

        Args:
            teacher: the teacher.
            seed: seed of the weights and of the order of images: that of the control.
            name: what the result is called, for the run.
            images: the images to learn from; None: all of them.
            net: a net of its own; None: that of :meth:`net`.
            temperature: T, where it is not that of the settings.
            alpha: weight of the soft term, where it is not that of the settings.
            loss: loss of the soft targets.
            targets: the teacher's targets, where they were computed before, or are not as the teacher gives them.
            altered: what was done to these targets, in a few words; empty: nothing.
            recipe: a recipe of its own; None: that of :meth:`recipe`.
            start: a net from whose weights it starts; None: the seed draws them.
            epoch_images: images of an epoch, as in :meth:`hard`.
        """
        own, on = self.settings, images or self.transfer
        how = Distillation(
            net or self.net(),
            _fitting(recipe or self.recipe(seed), on),
            self.device,
            own.temperature if temperature is None else temperature,
            own.alpha if alpha is None else alpha,
            control=False,
            loss=loss,
        )
        guide = self.on(teacher, on)
        known = targets_seen(guide, how) if targets is None else targets
        task = replace(guide.task, epoch_images=epoch_images)
        _, job = distillation_jobs(how, guide, known, task, label=name, suffix=f" seed {seed}", start=start)
        return carry_out(replace(job, altered=altered))

    def targets(self, teacher: Teacher, images: Dataset | None = None) -> TeacherTargets:
        """Return a teacher's targets for all students of some images."""
        guide = self.on(teacher, images or self.transfer)
        return targets_seen(guide, Distillation(self.net(), self.recipe(0), self.device))

    def on(self, teacher: Teacher, images: Dataset) -> Teacher:
        """Return a teacher as one of other images of the same val and test."""
        known = teacher.trained if images.digest == teacher.dataset.digest else None
        teacher.model.to(self.device)
        return replace(teacher, dataset=images, trained=known)

    def _hard(self, net: NetSpec, images: Dataset, recipe: Recipe, name: str) -> Job:
        return replace(hard_targets_job(net, images, recipe, self.device, name=name), role="control")

    def _net(self, width: int, depth: int, *, regularised: bool) -> NetSpec:
        kind = self.settings.net
        if kind != "mlp":
            return net_spec(kind, {"depth": depth, "width": width})
        _, height, across = self.dataset.image_shape
        if height != across:
            raise UserError(f"{height} x {across} px: the paper's net takes square images; give --net resnet", field="net")
        create: Callable[[int, int], nn.Module] = partial(mlp, px=height, width=width, depth=depth, regularised=regularised)
        told = {"depth": depth, "width": width, "regularised": regularised, "px": height}
        return NetSpec("mlp", create, told)


def _fitting(recipe: Recipe, images: Dataset) -> Recipe:
    """Return a recipe whose batches are no larger than the images are many: an experiment may take a small share of them."""
    return replace(recipe, batch_size=min(recipe.batch_size, len(images.train)))
