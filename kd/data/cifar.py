"""The files of CIFAR-10 and CIFAR-100: pickles that are read as data, so that nothing in them is run."""

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kd.data.source import LabelledImages
from kd.errors import reason

_SHAPE = (3, 32, 32)
_DATA_TYPES = {"u1", "uint8", "|u1", "B"}


def labelled_images(contents: Sequence[bytes], labels_key: str) -> LabelledImages:
    """Return the images of batches, (N, 3, 32, 32), with their labels.

    Args:
        contents: the files, each a pickle of a dictionary.
        labels_key: the key of the labels in it.

    Raises:
        ValueError: a file is damaged or is no batch of images.
    """
    batches = [_batch(read_pickle(content), labels_key) for content in contents]
    return LabelledImages(
        np.concatenate([batch.images for batch in batches]), np.concatenate([batch.labels for batch in batches])
    )


def class_names(content: bytes, key: str) -> tuple[str, ...]:
    """Return the names of the classes in the file that tells them.

    Raises:
        ValueError: the file is damaged or tells no names.
    """
    names = read_pickle(content).get(key)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"no names of classes under {key!r}")
    return tuple(names)


def read_pickle(content: bytes) -> Mapping[str, Any]:
    """Return the dictionary that a pickle holds, of numbers, text, lists and arrays of bytes alone; nothing in it is run.

    Raises:
        ValueError: it is damaged, or it holds anything else.
    """
    try:
        found = _DataUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises nearly anything, MemoryError too where it has a number of 32 bits
        raise ValueError(f"no pickle of plain data ({reason(error)})") from error
    if not isinstance(found, dict):
        raise ValueError("a pickle of something else than a batch")  # noqa: TRY004 - of the file's content
    return found


class _Array:
    """What a pickle says of a NumPy array: kept, not run."""

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401 - whatever the file has
        self.state = state

    def pixels(self) -> npt.NDArray[np.uint8]:
        _, shape, dtype, is_fortran, values = self.state
        if not isinstance(dtype, _DataType) or dtype.name not in _DATA_TYPES:
            raise ValueError("an array of other numbers than bytes")
        content = values.encode("latin1") if isinstance(values, str) else values
        if not isinstance(content, bytes | bytearray):
            raise ValueError("an array of no bytes")  # noqa: TRY004 - of the file's content
        return np.frombuffer(content, np.uint8).reshape(shape, order="F" if is_fortran else "C")


class _DataType:
    """What a pickle says of a NumPy data type: its name alone."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Pass over the rest, which for bytes says nothing."""


class _Name:
    """A name that these files have: it makes a stand-in when it is called, and can't be changed."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., object]) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> object:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        """Refuse the change of a name, which a pickle can ask for."""
        raise pickle.UnpicklingError("it changes a name")


def _array(*_: object) -> _Array:
    return _Array()


def _filled_array(values: object, dtype: object, shape: object, order: object, *_: object) -> _Array:
    """Return an array as protocol 5 has it."""
    array = _Array()
    array.state = (1, shape, dtype, order == "F", values)
    return array


def _encoded(text: str, *_: object) -> bytes:
    """Return bytes that Python 3 wrote for Python 2, as text and the name of its coding."""
    return text.encode("latin1")


_KNOWN: Mapping[tuple[str, str], _Name] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Name(_array) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Name(_filled_array) for core in ("core", "_core")},
    ("numpy", "ndarray"): _Name(_array),
    ("numpy", "dtype"): _Name(_DataType),
    ("_codecs", "encode"): _Name(_encoded),
}


class _DataUnpickler(pickle.Unpickler):
    """Reads pickles with stand-ins for NumPy's names, and refuses all other names."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as pickle has it
        known = _KNOWN.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no data")
        return known


def _batch(batch: Mapping[str, Any], labels_key: str) -> LabelledImages:
    data, labels = batch.get("data"), batch.get(labels_key)
    if not isinstance(data, _Array) or not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise ValueError("no batch of images with labels")
    try:
        pixels = data.pixels().reshape(len(labels), *_SHAPE)
        numbers = np.array(labels, dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"no images of 32 x 32 px with one label each ({error})") from error
    return LabelledImages(pixels, numbers)
