"""Models that others trained, from a file: a state dict, an exported program or an ONNX file, and what is said of them."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from kd.distillation.saved import SavedModel
from kd.errors import UserError, reason
from kd.evaluation.predict import predict_images
from kd.machine.files import file_digest
from kd.machine.paths import open_file, user_path
from kd.machine.text import listed
from kd.nets.channels import RepeatedChannels
from kd.nets.classifier import Classifier
from kd.nets.exported import read_foreign_program
from kd.nets.foreign import FixedBatch, ForeignNet, FromFile
from kd.nets.log_probabilities import LogProbabilities
from kd.nets.names import STATE_DICTS
from kd.nets.normalisation import known_normalisation
from kd.nets.onnx_model import ONNX, read_onnx
from kd.nets.weights import MAX_SHOWN, put_weights, read_weights

if TYPE_CHECKING:
    from kd.nets.registry import NetSpec

PROGRAM: Final = ".pt2"
SUFFIXES: Final = (PROGRAM, ONNX, *STATE_DICTS)
"""Endings of the names of files that hold a model."""
RGB: Final = 3
MAX_NAMES_BYTES: Final = 2**20
MAX_VALUES: Final = 2**28
"""Values of a batch at most: 400 images of 3 x 480 x 480."""
TRIED: Final = 3
"""Images of the batch on which a model is tried; two of them are tried once more by themselves."""
ALIKE: Final = 1e-3
"""Difference between the answers to an image in two batches, as a share of the largest, that rounding explains."""
_COUNTER: Final = "num_batches_tracked"
"""A tensor of batch norm that decides no answer, which many files lack."""


@dataclass(frozen=True)
class About:
    """What a user says of a model that kd did not write."""

    net: "NetSpec | None" = None
    """The net of a state dict."""
    classes: tuple[str, ...] | None = None
    """Names of its outputs in their order; None: they are numbers."""
    mean: tuple[float, ...] = ()
    """Per channel, or one for all, of pixels in [0, 1]; empty: those that the net's library knows."""
    std: tuple[float, ...] = ()
    px: int = 0
    """Height of its images; 0: as its file says, or the usual one."""
    usual_px: int = 0
    """Height of its images where nothing else says it; 0: that of the images that it is given."""


def read_pretrained(path: Path, about: About, image_shape: Sequence[int] | None = None, num_classes: int = 0) -> SavedModel:
    """Read a model that others wrote, and try it on noise; nothing in the file is unpickled, compiled or evaluated.

    Args:
        path: a state dict (safetensors, or a checkpoint), a program of torch.export (.pt2), or an ONNX file.
        about: what is known of it.
        image_shape: (C, H, W) of the images that it will see, whose size it has unless it has its own; None: that is not known.
        num_classes: the number of classes that a state dict's net has unless they are named.

    Raises:
        UserError: it can't be read, something that must be known of it is missing, or its answers are not those of a
            classifier.
    """
    foreign = _read(path, about, image_shape, num_classes)
    shape = _shape(path, foreign, about, image_shape)
    model = _normalised(path, foreign, about, shape[0])
    if foreign.sizes[0] is not None:
        model = FixedBatch(model, foreign.sizes[0])
    answers = _tried(path, model, shape)
    if _are_probabilities(answers):
        model = LogProbabilities(model)
    names = about.classes or tuple(str(number) for number in range(answers.shape[1]))
    if len(names) != answers.shape[1]:
        raise UserError(f"{path}: it gives {answers.shape[1]} numbers per image, and {len(names)} classes are named; name each")
    return SavedModel(FromFile(model, _digest(path, foreign)), names, shape, data_digest="", named=about.classes is not None)


def _digest(path: Path, foreign: ForeignNet) -> str:
    own = file_digest(path)
    return hashlib.sha256(f"{own} {foreign.beside}".encode()).hexdigest() if foreign.beside else own


def read_classes(file: str, field: str) -> tuple[str, ...]:
    """Return names of classes from a file: one per line, or a list in JSON.

    Raises:
        UserError: it can't be read, holds fewer than two names, or a name twice.
    """
    path = user_path(file, field)
    try:
        with open_file(path) as opened:
            text = opened.read(MAX_NAMES_BYTES).decode("utf-8-sig")
        found = (
            json.loads(text) if text.lstrip().startswith("[") else [line.strip() for line in text.splitlines() if line.strip()]
        )
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: can't be read ({reason(error)}); give one name per line", field=field) from None
    return check_classes(found, str(path), field)


def check_classes(names: object, told: str, field: str) -> tuple[str, ...]:
    """Return names of classes; see :func:`read_classes`."""
    if not isinstance(names, list | tuple) or len(names) < 2 or not all(isinstance(name, str) and name for name in names):  # noqa: PLR2004 - one is no choice
        raise UserError(f"{told}: holds no names of two or more classes; give one name per line", field=field)
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise UserError(f"{told}: {twice[0]} stands there twice; give each class a name of its own", field=field)
    return tuple(names)


def _read(path: Path, about: About, image_shape: Sequence[int] | None, num_classes: int) -> ForeignNet:
    suffix = path.suffix.lower()
    if suffix in STATE_DICTS:
        return _from_state_dict(path, about, image_shape, num_classes)
    if about.net is not None:
        raise UserError(f"{path}: it has its net in itself; leave out the net that is named beside it")
    if suffix == ONNX:
        return read_onnx(path)
    return read_foreign_program(path)


def _from_state_dict(path: Path, about: About, image_shape: Sequence[int] | None, num_classes: int) -> ForeignNet:
    """Return a net with the weights of a file, all of whose tensors have to be there: no head is begun anew."""
    net = about.net
    if net is None:
        raise UserError(f"{path}: holds weights alone; name their net too (--teacher-net NAME, net=NAME in Python)")
    count = len(about.classes or ()) or num_classes
    if not count:
        raise UserError(f"{path}: the number of its classes is not known; name them (classes=[...])")
    _check_known(path, about)
    tensors = read_weights(path)
    channels = _channels(about, image_shape, tensors)
    with torch.random.fork_rng(devices=[]):
        module = net.create(count, channels)
    try:
        loaded = put_weights(module.net if isinstance(module, RepeatedChannels) else module, tensors, path)
    except UserError:
        raise UserError(
            f"{path}: none of its {len(tensors)} tensors ({listed(tensors, MAX_SHOWN)}) fits {net.name}; name the net "
            "that they are of (--teacher-net NAME, net=NAME in Python)"
        ) from None
    other = [name for name in loaded.other_shape if not name.endswith(_COUNTER)]
    missing = [name for name in loaded.fresh if not name.endswith(_COUNTER) and name not in other]
    if other:
        raise UserError(
            f"{path}: its {listed(other)} are not of {net.name} with {count} classes; name the classes that it has "
            f"(--teacher-classes FILE, classes=[...] in Python), or train a head of {count}: kd teacher --net {net.name} "
            f"--weights {path.name}"
        )
    if missing:
        raise UserError(f"{path}: it lacks {listed(missing)} of {net.name}; name the net that it is of")
    code = hashlib.sha256(repr(net.facts(count, channels)).encode()).hexdigest()
    return ForeignNet(module, torch.float32, (None, channels, None, None), code)


def _channels(about: About, image_shape: Sequence[int] | None, tensors: Mapping[str, Tensor]) -> int:
    """Return the channels of a net's images: those of its normalisation, of the images at hand, or of its first convolution."""
    mean, _ = _normalisation(about)
    if len(mean) > 1:
        return len(mean)
    if image_shape is not None:
        return image_shape[0]
    of_filters = 4
    taken = next((tensor.shape[1] for tensor in tensors.values() if tensor.ndim == of_filters), RGB)
    return 1 if taken == 1 else RGB


def _normalisation(about: About) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and standard deviation as they were given, or as the net's library has them; empty: they are not known."""
    known = (about.net and known_normalisation(about.net.name)) or ((), ())
    return about.mean or known[0], about.std or known[1]


def _check_known(path: Path, about: About) -> None:
    """Refuse a model of which it is not known how its images are normalised."""
    if not all(_normalisation(about)):
        raise UserError(
            f"{path}: how its images are normalised is not known; give mean and std of pixels in [0, 1] (--teacher-mean, "
            "--teacher-std, mean= and std= in Python): 0.485,0.456,0.406 and 0.229,0.224,0.225 are ImageNet's, 0 and 1 leave "
            "them as they are"
        )


def _normalised(path: Path, foreign: ForeignNet, about: About, channels: int) -> nn.Module:
    """Return a model of raw pixels."""
    mean, std = _normalisation(about)
    if foreign.dtype == torch.uint8:
        if about.mean or about.std:
            raise UserError(f"{path}: it takes raw pixels, which are not normalised; leave out its mean and std")
        return foreign.module
    _check_known(path, about)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in {1, channels}:
            raise UserError(f"{path}: its images have {channels} channels, and its {name} {len(values)} values; give one each")
    each = channels // len(mean), channels // len(std)
    return Classifier(foreign.module, list(mean) * each[0], list(std) * each[1])


def _shape(path: Path, foreign: ForeignNet, about: About, image_shape: Sequence[int] | None) -> tuple[int, int, int]:
    """Return the shape of the images that a model sees: its own, the one asked for, or that of the images."""
    if len(foreign.sizes) != 4 or any(size is not None and size < 1 for size in foreign.sizes):  # noqa: PLR2004 - B, C, H, W
        raise UserError(f"{path}: it does not take batches of images (B, C, H, W); export it for such")
    batch, channels, height, width = foreign.sizes
    if channels not in {1, RGB}:
        raise UserError(f"{path}: its images have {channels or 'any number of'} channels; export it for (B, 1 or 3, H, W)")
    own = height or width
    if own and about.px and about.px != own:
        raise UserError(f"{path}: its images are {own} px high, not {about.px}; leave out the height, which it knows")
    if own or about.px:
        shape = channels, height or own or about.px, width or own or about.px
    elif about.usual_px:
        shape = channels, about.usual_px, about.usual_px
    elif image_shape is None:
        raise UserError(f"{path}: the size of its images is not known; give their height (px=224)")
    else:
        shape = channels, image_shape[1], image_shape[2]
    if math.prod(shape) * max(batch or 0, TRIED) > MAX_VALUES:
        raise UserError(f"{path}: a batch of its images has more than {MAX_VALUES:,} values; export it for smaller ones")
    return shape


def _tried(path: Path, model: nn.Module, shape: Sequence[int]) -> Tensor:
    """Return a model's answers to noise; in another batch they have to be the same."""
    noise = torch.randint(0, 256, (TRIED, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    try:
        answers, again = predict_images(model, noise), predict_images(model, noise[1:])
    except Exception as error:  # the code of others raises anything
        raise UserError(
            f"{path}: it can't take images of {list(shape)} (channels, height, width) ({reason(error)}); give its own "
            "height (--teacher-px, px= in Python)"
        ) from error
    if answers.ndim != 2 or answers.shape[1] < 2:  # noqa: PLR2004 - (B, classes)
        raise UserError(f"{path}: it answers an image with {list(answers.shape[1:])}, not with one number per class")
    if not answers.isfinite().all():
        raise UserError(f"{path}: it answers noise with numbers that are not finite; look at its weights and normalisation")
    if (answers[1:] - again).abs().max() > ALIKE * answers.abs().max():
        raise UserError(f"{path}: it answers an image differently in another batch; export it in evaluation mode (net.eval())")
    return answers


def _are_probabilities(answers: Tensor) -> bool:
    sums = answers.sum(dim=1)
    return bool((answers >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
