"""The size of the files of candidates: each net is exported before it is trained, as :func:`kd.save` writes it.

The size is that of the architecture, whatever the weights will be. The file of a tracked run (``cost/file_bytes``) has the same
size, but for the bytes of its name.
"""

from collections import Counter
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from kd.config import TuneConfig
from kd.data.dataset import Dataset
from kd.distillation.saved import MODEL_NAME, model_texts
from kd.distillation.task import task_classes
from kd.from_config import net, specialist_kind
from kd.machine.activity import doing
from kd.nets.classifier import Classifier
from kd.nets.exported import write_program
from kd.specialists.clustering import Group

_RUN_ID = "0" * 32
"""As long as that of a run, which stands in the file."""


def candidate_bytes(config: TuneConfig, groups: Sequence[Group], dataset: Dataset, known: MutableMapping[str, int]) -> int:
    """Return the bytes of a student's file, or of those of all specialists together, whatever their weights will be.

    Args:
        config: net, and kind of specialists.
        groups: of the specialists.
        dataset: the images.
        known: the sizes that were found before, by the net and its number of outputs; new ones are added.

    Raises:
        UserError: torch can't export the net.
    """
    if config.objective == "student":
        outputs = [dataset.classes]
    else:
        outputs = [task_classes(dataset.classes, group, specialist_kind(config)) for group in groups]
    examples = {len(classes): classes for classes in outputs}
    counts = Counter(map(len, outputs))
    return sum(times * _bytes(config, examples[count], dataset, known) for count, times in counts.items())


def _bytes(config: TuneConfig, classes: Sequence[str], dataset: Dataset, known: MutableMapping[str, int]) -> int:
    key = str([*config.net_settings().values(), len(classes)])
    if key not in known:
        with doing("exporting the net, for its size"), TemporaryDirectory() as folder:
            path = Path(folder, MODEL_NAME)
            made = net(config, dataset).create(len(classes), dataset.image_shape[0])
            texts = model_texts(config.objective, classes, dataset, run_id=_RUN_ID)
            write_program(Classifier(made, dataset.mean, dataset.std), dataset.image_shape, path, texts)
            known[key] = path.stat().st_size
    return known[key]
