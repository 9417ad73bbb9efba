"""A model from a file, whoever wrote it."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kd.distillation.pretrained import About, check_classes, read_pretrained
from kd.distillation.saved import FACTS_FILE, MODEL_NAME, SavedModel, are_facts, is_saved, load_saved, read_facts, with_facts
from kd.errors import UserError
from kd.machine.paths import check_file, user_path
from kd.nets.names import STATE_DICTS
from kd.nets.onnx_model import ONNX, read_onnx_text

if TYPE_CHECKING:
    from kd.nets.registry import Net


def load(  # noqa: PLR0913 - what may be known of a model of others
    path: str | Path,
    *,
    net: "Net | None" = None,
    classes: Sequence[str] | None = None,
    mean: float | Sequence[float] = (),
    std: float | Sequence[float] = (),
    px: int = 0,
    **settings: object,
) -> SavedModel:
    """Load a model from a file, on the CPU: one of kd's, or one that others wrote.

    The file is read as data: its program may have only operators that compute on tensors, and nothing in it is unpickled,
    compiled or evaluated. One of kd's knows all that the arguments tell of others.

    Args:
        path: a folder of ``models/``, which holds the model of a tracked run; a ``.pt2`` that kd or ``torch.export`` wrote;
            ``.onnx``; or a state dict (``.safetensors``, ``.pt``, ``.pth``, ``.ckpt``, ``.bin``), whose net is named beside it.
        net: the net of a state dict, as in :func:`kd.train`.
        classes: names of the outputs in their order; None: numbers.
        mean: mean of pixels in [0, 1] with which its images are normalised, per channel or one for all; nets of torchvision and
            timm have their own.
        std: standard deviation, the same.
        px: height of its images; 0: as the file says.
        settings: settings of the net, as in :func:`kd.train`.

    Raises:
        UserError: there is no such file, it can't be read, or something that must be known of it is missing.
    """
    found = model_file(user_path(path, "path"))
    spec = None
    if net is not None:
        from kd.nets.registry import net_spec  # noqa: PLC0415 - a model of kd's needs the code of no net

        spec = net_spec(net, settings)
    names = None if classes is None else check_classes(list(classes), "classes", "classes")
    return load_any(found, About(spec, names, _numbers(mean), _numbers(std), px))


def model_file(path: Path) -> Path:
    """Return the file of the model in a folder of ``models/``; any other path as it is."""
    inner = path / MODEL_NAME
    return inner if inner.is_file() else path


def load_any(path: Path, about: About, image_shape: Sequence[int] | None = None, num_classes: int = 0) -> SavedModel:
    """Load a model from a file; the arguments are those of :func:`~kd.distillation.pretrained.read_pretrained`.

    Raises:
        UserError: as :func:`load`.
    """
    try:
        check_file(path)
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); name the file of a model") from None
    if path.suffix.lower() == ONNX:
        facts = read_facts(read_onnx_text(path, FACTS_FILE))
        if not are_facts(facts):
            return read_pretrained(path, about, image_shape, num_classes)
        _, *size = facts["image_shape"]
        known = read_pretrained(path, About(classes=tuple(facts["classes"]), px=size[0]), facts["image_shape"])
        saved = with_facts(known.module, facts, path.stat().st_size)
    elif is_kds_file(path):
        saved = load_saved(path)
    else:
        return read_pretrained(path, about, image_shape, num_classes)
    if about.net or about.classes or about.mean or about.std or about.px not in {0, saved.image_shape[1]}:
        raise UserError(
            f"{path}: kd wrote it, with its net, its classes, their normalisation and a height of {saved.image_shape[1]} px; "
            "leave out what is said of them"
        )
    return saved


def is_kds_file(path: Path) -> bool:
    """Return whether kd wrote a file of a model.

    Raises:
        UserError: it should be a program, and is none, or it is damaged.
    """
    suffix = path.suffix.lower()
    if suffix in STATE_DICTS:
        with suppress(UserError):  # it is no archive of a program
            return is_saved(path)
        return False
    return suffix != ONNX and is_saved(path)


def _numbers(values: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(values) if isinstance(values, Sequence) else (values,)
