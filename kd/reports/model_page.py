"""The page of one model in Markdown: what it is, how accurate, what goes in and comes out, and how to call it."""

import json
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from torch import Tensor

from kd.distillation.combination import Combination
from kd.distillation.results import Trained
from kd.evaluation.intervals import wilson_interval
from kd.machine.names import logged_model_name
from kd.machine.text import printable
from kd.nets.names import NET_ARGS, NET_NAMES, arguments, is_named_elsewhere
from kd.nets.registry import NetSpec
from kd.nets.resized import PX
from kd.nets.weights import WEIGHTS
from kd.reports.cost import cost_text
from kd.specialists.kind import TaskKind

CARD_FILE = "README.md"
CLASSES_FILE = "classes.json"
"""Files beside a model's own."""
MAX_NAMES = 2000
"""Characters of the names of classes; the rest of the classes is counted: MLflow takes pages of some thousand characters."""
CHANNELS = {1: "grey", 3: "red, green, blue"}


def training_page(trained: Trained, details: str, file: Path) -> str:
    """Return the page of a trained net.

    Args:
        trained: the net.
        details: its settings, as they end its run's name.
        file: the model on this machine.
    """
    task = trained.task
    whole = task.kind == TaskKind.ALL
    right = task.own_correct(trained.test_logits, task.test.labels)
    accuracy = _accuracy(right, "" if whole else ", among its own classes")
    return _page(f"{trained.name} ({details})", accuracy, trained, task.classes, "logits", file)


def weights_page(trained: Trained, details: str, net: str, file: Path) -> str:
    """Return the page of a trained net that was not exported.

    Args:
        trained: the net.
        details: its settings, as they end its run's name.
        net: the net's name.
        file: its weights on this machine.
    """
    task = trained.task
    right = task.own_correct(trained.test_logits, task.test.labels)
    accuracy = _accuracy(right, "" if task.kind == TaskKind.ALL else ", among its own classes")
    return (
        f"{trained.name} ({details}), trained on {trained.dataset.name}. {accuracy}\n\n"
        "**Not exported** (`--no-export`): it can't be served, or be a teacher by its run. Its weights are a state "
        f"dict, `{place(file)}`: `--weights {place(file)}` begins with them, for `--net {printable(net)}`."
    )


def weights_card(page: str, trained: Trained, net: NetSpec, file: Path, size_bytes: int) -> dict[str, str]:
    """Return the texts that lie beside the weights of a net that was not exported, as :func:`model_card`.

    Args:
        page: its page.
        trained: the net.
        net: what creates it.
        file: its weights on this machine.
        size_bytes: the size of that.
    """
    return _beside([page, *_use_of_weights(trained, net, file)], trained, file, size_bytes)


def _use_of_weights(trained: Trained, net: NetSpec, file: Path) -> list[str]:
    """Return the lines that answer with weights: of a net by name all of them, of another one with its own code in front."""
    dataset, folder = trained.dataset, f"models/{file.parent.name}"
    scaled = f"mean={_rounded(dataset.mean)}, std={_rounded(dataset.std)}"
    own = {name: value for name, value in net.settings.items() if name != WEIGHTS}  # they were its first weights
    args = own.pop(NET_ARGS, "")
    asked = {**own, **arguments(str(args))} if args else own
    if (net.name not in NET_NAMES and not is_named_elsewhere(net.name)) or PX in own:
        told = f"{printable(net.name)}{f' at {own[PX]} px' if PX in own else ''}"
        made = f"{told}, made for {len(trained.task.classes)} classes and {dataset.image_shape[0]} channels"
        lines = [
            "import kd, torch\n",
            f"net = ...  # {made}",
            f'net.load_state_dict(torch.load("{folder}/{file.name}"))',
            f"model = kd.Classifier(net, {scaled}).eval()  # uint8 (N, C, H, W) to logits",
        ]
        return ["**Use** them in Python, with the net that they are of:", _code(lines)]
    settings = "".join(f", {name}={value!r}" for name, value in asked.items())
    known = f"net={net.name!r}{settings}, classes=classes, {scaled}, px={dataset.image_shape[1]}"
    lines = [
        "import json, kd, pathlib\n",
        f'classes = json.loads(pathlib.Path("{folder}/{CLASSES_FILE}").read_bytes())',
        f'model = kd.load("{folder}/{file.name}", {known})',
        'model.predict(["picture.png"])',
    ]
    return ["**Use** them in Python, in the folder of the command's output, on pictures of any size:", _code(lines)]


def _code(lines: Sequence[str]) -> str:
    return "\n".join(["```python", *lines, "```"])


def _rounded(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:.9g}' for value in values)}]"


def combination_page(combination: Combination, file: Path) -> str:
    """Return the page of a combined model; the file is the model on this machine."""
    dataset, members = combination.dataset, ", ".join(printable(member.name) for member in combination.members)
    what = f"{combination.name}: the generalist with {members}, by Eq. 5"
    accuracy = f"{_accuracy(combination.after, '')} The generalist alone: {_percent(combination.before)} %."
    return _page(what, accuracy, combination, dataset.classes, "probabilities", file)


def place(file: Path) -> str:
    """Return the path of a model's file below the folder of a command's output."""
    return f"models/{file.parent.name}/{file.name}"


def model_card(page: str, system: Trained | Combination, file: Path, size_bytes: int) -> dict[str, str]:
    """Return the texts that lie beside a model's file, by name: its card, and the names of its outputs.

    Args:
        page: its page.
        system: the model.
        file: its file on this machine.
        size_bytes: the size of that.
    """
    prepared = "turned as their EXIF says, cropped to the square in their centre, and resized"
    parts = [
        page,
        "**On the command line**:",
        f"```bash\nkd predict models/{file.parent.name} picture.png\n```",
        f"Pictures are prepared as in training: {prepared}.",
    ]
    return _beside(parts, system, file, size_bytes)


def _beside(parts: Sequence[str], system: Trained | Combination, file: Path, size_bytes: int) -> dict[str, str]:
    """Return the texts beside a model, by name: a card of some parts, then images and size, and the names of the outputs."""
    dataset = system.dataset
    classes = dataset.classes if isinstance(system, Combination) else system.task.classes
    splits = ", ".join(f"{len(getattr(dataset, split)):,} {split}" for split in ("train", "val", "test"))
    images = f"{dataset.name}, {len(dataset.classes)} classes, {splits}, digest `{dataset.digest}`"
    named = f"`{CLASSES_FILE}` has the names of its outputs in their order, as a list in JSON"
    card = [
        f"# {file.parent.name}",
        *parts,
        f"**Images**: {images}. Licence: {dataset.licence or 'not known to kd'}.",
        f"**Size**: `{file.name}` has {size_bytes:,} bytes. {named}.",
    ]
    names = json.dumps(list(classes), ensure_ascii=False, indent=1)
    return {CARD_FILE: "\n\n".join(card) + "\n", CLASSES_FILE: f"{names}\n"}


def _page(what: str, accuracy: str, system: Trained | Combination, classes: Sequence[str], outputs: str, file: Path) -> str:  # noqa: PLR0913, PLR0917 - its parts
    dataset = system.dataset
    channels, height, width = dataset.image_shape
    of = CHANNELS.get(channels, f"{channels} channels")
    names = [f"{number}: {printable(name)}" for number, name in enumerate(classes)]
    shown = names[: max(1, sum(end < MAX_NAMES for end in accumulate(len(name) + 2 for name in names)))]
    more = f", and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
    return "\n\n".join(
        [
            f"{what}, trained on {dataset.name}. {accuracy}",
            f"**In**: images, uint8 from 0 to 255, (N, {channels}, {height}, {width}), {of}. The model normalises them itself.",
            f"**Out**: {outputs}, float32, (N, {len(classes)}), in this order: {', '.join(shown)}{more}.",
            f"**Cost**: {cost_text(system)}.",
            "**Call** it on pictures of any size, in the folder of the command's output:",
            f'```python\nimport kd\n\nkd.load("models/{file.parent.name}").predict(["picture.png"])\n```',
            *_served(system),
        ]
    )


def _served(system: Trained | Combination) -> list[str]:
    """Return how a model of a tracked run is served; none: it has no run."""
    if system.run is None:
        return []
    model = f"runs:/{system.run.id}/{logged_model_name(system.name)}"
    return [
        '**Serve** it over HTTP; it takes `{"inputs": [IMAGE, ...]}`, the bytes of JPEG or PNG files in base64:',
        f"```bash\nmlflow models serve -m {model} --env-manager local --port 5001\n```",
    ]


def _accuracy(right: Tensor, among: str) -> str:
    interval = wilson_interval(int(right.sum()), len(right))
    bounds = f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    return f"Accuracy on test{among}: **{_percent(right)} %** {bounds}, n = {len(right):,}."


def _percent(right: Tensor) -> str:
    return f"{100 * right.double().mean().item():.1f}"
