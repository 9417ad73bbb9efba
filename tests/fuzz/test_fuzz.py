"""Whatever is typed, written or found: a right result, or one line.

Each test tries 300 inputs; ``KD_FUZZ_CASES=10000 pytest tests/fuzz`` tries more, by hand.
"""

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from kd.cli import COMMANDS, config_class
from kd.config import TuneConfig, load_settings
from kd.data.load import load_dataset
from kd.distillation.loading import load as load_saved
from kd.distillation.target_cache import TargetsKey, _load, list_targets
from kd.errors import UserError
from kd.flags import error_line
from kd.machine.files import write_array
from kd.machine.names import file_name
from kd.machine.terminal import shown
from kd.machine.text import printable
from kd.nets.exported import write_program
from kd.search.attributes import read_trials, study_attribute
from kd.search.space import parse_space
from kd.specialists.groups import check_groups, describe_group, groups_text, parse_groups
from kd.tracking.fetch import FetchedModel
from kd.tracking.models import _facts
from kd.training import checkpoints

CASES = int(os.environ.get("KD_FUZZ_CASES", "300"))
fuzzed = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))

TEXT = st.text(max_size=30) | st.text("0123456789.,:;=-+eExX_ \"'\\", max_size=20)
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 10**400, 2**31, 2**63, 1e300, -0.0])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


def tried(act: Callable[[], Any]) -> Any:  # noqa: ANN401 - what it returns
    """Return what an act returns; None where it is refused, in one line that harms no terminal."""
    try:
        return act()
    except UserError as error:
        line = shown(error_line(error))
    assert line.strip()
    assert printable(line) == line
    return None


COMMAND = st.sampled_from(sorted(COMMANDS))


@given(command=COMMAND, data=st.data())
@fuzzed
def test_a_configuration_comes_back_from_its_text(command: str, data: st.DataObject) -> None:
    kind = config_class(command)
    names = st.sampled_from(sorted(kind.model_fields)) | TEXT
    config = tried(lambda: kind.parse(data.draw(st.dictionaries(names, JSON, max_size=3))))
    if config is not None:
        assert kind.parse(config.texts()).texts() == config.texts()  # which has ten digits of a number


CLASSES = st.lists(st.text(min_size=1, max_size=8), min_size=3, max_size=8, unique=True)


@given(spec=TEXT, which=st.integers(0, 5) | st.just("all"), classes=CLASSES, data=st.data())
@fuzzed
def test_groups_are_of_classes_that_there_are(spec: str, which: Any, classes: list[str], data: st.DataObject) -> None:  # noqa: ANN401
    words = st.sampled_from(classes) | st.integers(-2, 9).map(str) | TEXT
    typed = data.draw(st.just(spec) | st.lists(st.lists(words, max_size=4).map(",".join), max_size=3).map(";".join))
    tried(lambda: check_groups(typed, which, "folder", classes))
    for group in tried(lambda: parse_groups(typed, classes)) or ():
        assert set(group) < set(range(len(classes)))


@given(classes=CLASSES, data=st.data())
@fuzzed
def test_groups_of_any_names_come_back_from_their_text_and_name_a_file(classes: list[str], data: st.DataObject) -> None:
    numbers = st.lists(st.integers(0, len(classes) - 1), min_size=2, max_size=len(classes) - 1, unique=True)
    groups = data.draw(st.lists(numbers.map(sorted).map(tuple), min_size=1, max_size=3, unique=True))
    assert parse_groups(groups_text(groups, classes), classes) == tuple(groups)
    path = Path(f"{file_name(describe_group(groups[0], classes))}.png")
    path.write_bytes(b"")
    assert path.parent == Path()
    path.unlink()


AXES = st.builds(
    "{}={}:{}".format,
    st.sampled_from(["lr", "width", "alpha", "use", "dustbin", "net", "temperature"]) | TEXT,
    st.sampled_from(["log", "int", "float", "intlog", "cat", "fixed"]) | TEXT,
    st.lists(NUMBERS.map(str) | TEXT, max_size=3).map(":".join),
)


@given(axes=st.lists(AXES | TEXT, max_size=3))
@fuzzed
def test_a_space_is_read_again_from_its_text(axes: list[str]) -> None:
    space = tried(lambda: parse_space(TuneConfig.parse({"search": ";".join(axes)})))
    if space is not None:
        text = ";".join(axis.text() for axis in space)
        assert {axis.name for axis in space} <= {axis.name for axis in parse_space(TuneConfig.parse({"search": text}))}


YAML = st.one_of(
    st.binary(max_size=60),
    st.text("!&*{}[]:-,#|>?%@`'\" \n\tab0.~<", max_size=60).map(str.encode),
    st.dictionaries(st.sampled_from(["epochs", "net", "groups", "lr", "x"]), JSON, max_size=3)
    .map(yaml.safe_dump)
    .map(str.encode),
    st.builds(
        "{}: !!{} {}".format, TEXT, st.sampled_from(["python/object/apply:os.system", "bool", "timestamp", "int", "set"]), TEXT
    ).map(lambda text: text.encode(errors="replace")),
)


@given(content=YAML)
@fuzzed
def test_a_file_of_settings_is_a_mapping_of_text(content: bytes) -> None:
    path = Path("settings.yaml")
    path.write_bytes(content)
    found = tried(lambda: load_settings(str(path)))
    if found is not None:
        tried(lambda: config_class("student").parse(found))


FILE_NAMES = st.sampled_from(["train", "Test", "val", "a", "b", ".DS_Store", "x.png", "y.PNG", "z.jpg", "note.txt", "é", "b\n"])


@given(
    files=st.dictionaries(st.lists(FILE_NAMES, min_size=1, max_size=4).map("/".join), st.integers(0, 5), max_size=30),
    seed=st.integers(0, 100),
)
@fuzzed
def test_a_folder_is_a_data_set_of_its_images(files: dict[str, int], seed: int) -> None:
    root = Path("photos")
    for name, kind in files.items():
        path = root / name
        with suppress(OSError):  # a file lies where a folder would
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == 0:
                path.write_bytes(b"no image")
            elif kind == 1:
                path.mkdir()
            elif path.suffix.lower() in {".png", ".jpg"}:
                pixels = np.random.default_rng(seed + kind + len(name)).integers(0, 256, (8, 9, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path)
    root.mkdir(exist_ok=True)
    try:
        dataset = tried(lambda: load_dataset("folder", str(root), image_px=8))
    finally:
        shutil.rmtree(root)
    if dataset is not None:
        assert dataset.num_classes == len(set(dataset.classes)) > 1
        assert set(dataset.train.labels.tolist()) == set(range(dataset.num_classes))


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, bytes]:
    """Return the file in which the pixels of 24 pictures below ``pictures`` are cached, and what it holds."""
    for place in range(24):
        path = tmp_path / "pictures" / "ab"[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (place * 9, 0, 255 - place)).save(path)
    load_dataset("folder", "pictures", image_px=8)
    [cache] = Path(os.environ["KD_CACHE"]).glob("*.bin")
    return cache, cache.read_bytes()


@given(data=st.data(), value=JSON)
@fuzzed
def test_pixels_are_those_of_the_pictures_whatever_lies_in_the_cache(
    data: st.DataObject, value: object, pictures: tuple[Path, bytes]
) -> None:
    cache, whole = pictures
    line, _, rest = whole.partition(b"\n")
    with suppress(ValueError):  # too large for Python's own text
        facts = json.loads(line) | {data.draw(st.sampled_from(["layout", "channels", "bit_depth", "more"])): value}
        if data.draw(st.booleans()):
            facts.pop("facts_sha256", None)
        line = json.dumps(facts).encode(errors="replace")
    cache.write_bytes(damaged(whole, data) if data.draw(st.booleans()) else line + b"\n" + rest)
    found = load_dataset("folder", "pictures", image_px=8)
    reds = torch.cat([found.train.images, found.val.images, found.test.images])[:, 0, 0, 0]
    assert sorted(reds.tolist()) == [place * 9 for place in range(24)]


def damaged(content: bytes, data: st.DataObject) -> bytes:
    """Return some bytes with a few of them changed, taken out or put in."""
    found = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(found) - 1)))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "drop"]))
        if kind == "flip" and found:
            found[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del found[place:]
        elif kind == "insert":
            found[place:place] = data.draw(st.binary(max_size=8))
        else:
            del found[place : place + data.draw(st.integers(1, 8))]
    return bytes(found)


WEIGHTS = {"w": torch.arange(20.0)}


@given(data=st.data())
@fuzzed
def test_a_checkpoint_is_what_was_saved_or_none(data: st.DataObject) -> None:
    path = Path("checkpoint.pt")
    checkpoints.save(path, {"model": WEIGHTS, "epochs": 3})
    path.write_bytes(damaged(path.read_bytes(), data))
    found = checkpoints.load(path)
    assert found is None or (torch.equal(found["model"]["w"], WEIGHTS["w"]) and found["epochs"] == 3)


KEY = TargetsKey("t", "d", "train", 3, "r", {"seed": 0}, 2, "float32")


@given(data=st.data(), header=JSON)
@fuzzed
def test_cached_targets_are_those_that_were_computed_or_none(data: st.DataObject, header: object) -> None:
    path = Path(KEY.file_name())
    logits = np.arange(24, dtype="<f4").reshape(2, 3, 4)
    facts = {"format": "kd-targets-1", "key": {**vars(KEY)}, "num_classes": 4}
    if data.draw(st.booleans()):
        facts[data.draw(st.sampled_from([*facts, "more"]))] = header
    if data.draw(st.booleans()):
        facts["key"] = {**vars(KEY), data.draw(st.sampled_from([*vars(KEY), "more"])): header}
    with suppress(ValueError):  # too large for Python's own text
        write_array(path, logits, facts)
    if path.exists():
        path.write_bytes(
            data.draw(st.just(path.read_bytes())) if data.draw(st.booleans()) else damaged(path.read_bytes(), data)
        )
    found = tried(lambda: _load(path, KEY))
    assert found is None or torch.equal(found, torch.from_numpy(logits))
    for info in list_targets(Path()):
        assert "\n" not in shown(str(info.key))
    path.unlink(missing_ok=True)


class Summed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, images: Tensor) -> Tensor:
        return images.float().flatten(1).sum(1, keepdim=True) * self.weight


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of a saved model."""
    path = tmp_path_factory.mktemp("model") / "model.pt2"
    facts = {
        "format": "kd-model-1", "name": "n", "classes": ["a", "b"], "image_shape": [1, 2, 2], "outputs": "logits",
        "data": "d", "data_digest": "0", "bit_depth": 8,
    }  # fmt: skip
    write_program(Summed(), (1, 2, 2), path, {"kd.json": json.dumps(facts)})
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def altered(value: Any, data: st.DataObject) -> Any:  # noqa: ANN401 - any JSON
    """Return a value of JSON with one part of it, at any depth, replaced, taken out or doubled."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 5)):
        name = data.draw(st.sampled_from(sorted(value)))
        return {**value, name: altered(value[name], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 5)):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], altered(value[place], data), *value[place + 1 :]]
    if isinstance(value, dict | list) and data.draw(st.booleans()):
        return {} if isinstance(value, dict) else [*value, *value]
    return data.draw(JSON | st.sampled_from(["os.system", "torch.ops.aten.add.Tensor", "__class__"]))


@given(data=st.data())
@fuzzed
def test_a_model_answers_or_is_refused(data: st.DataObject, model: dict[str, bytes]) -> None:
    names = [name for name in model if name.endswith(".json")]
    entries = dict(model)
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=2)):
        with suppress(ValueError):  # too large for Python's own text
            entries[name] = json.dumps(altered(json.loads(entries[name]), data)).encode(errors="replace")
    with zipfile.ZipFile("model.pt2", "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    found = tried(lambda: load_saved("model.pt2"))
    if found is not None:
        [prediction] = found.predict(np.ones((1, *found.image_shape), dtype=np.uint8))
        assert prediction.name in found.classes
    Path("model.pt2").write_bytes(damaged(Path("model.pt2").read_bytes(), data))
    tried(lambda: load_saved("model.pt2"))


MLMODEL = {
    "run_id": "0" * 32, "flavors": {"pytorch": {"code": None}}, "metadata": {
        "classes": ["a", "b"], "role": "teacher", "kind": "dustbin", "outputs": "logits", "image_shape": [1, 2, 2],
        "data_digest": "0", "group": [0, 1], "own_fraction": 0.5,
    },
}  # fmt: skip


@given(data=st.data())
@fuzzed
def test_the_facts_of_a_model_are_those_that_kd_writes_or_refused(data: st.DataObject) -> None:
    text = yaml.safe_dump(altered(MLMODEL, data)) if data.draw(st.booleans()) else yaml.safe_dump(MLMODEL)
    content = text.encode(errors="replace")
    Path("MLmodel").write_bytes(damaged(content, data) if data.draw(st.booleans()) else content)
    facts = tried(lambda: _facts(FetchedModel(Path(), "0" * 32, None, None), "0" * 32))
    if facts is not None:
        assert facts["classes"]
        assert all(isinstance(name, str) for name in facts["classes"])
        assert all(size > 0 for size in facts["image_shape"])


@pytest.fixture(scope="module")
def memory() -> Iterator[optuna.Study]:
    """Return a study of this process alone."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield optuna.create_study(study_name="s")
    optuna.logging.set_verbosity(verbosity)


STUDY_ATTRIBUTES = st.sampled_from(["kd.identity", "kd.parent", "kd.shared", "kd.leader", "kd.until", "kd.final"])
TRIAL_ATTRIBUTES = st.sampled_from(["kd.point", "kd.worker", "kd.run", "kd.parameters", "kd.end", "kd.stopped"])
SHARED = {"teacher": "0" * 32, "teacher_digest": "f" * 64, "groups": {"0": [1, 2]}}


@given(name=STUDY_ATTRIBUTES, other=TRIAL_ATTRIBUTES, data=st.data())
@fuzzed
def test_a_study_holds_what_kd_writes_or_is_refused(name: str, other: str, data: st.DataObject, memory: optuna.Study) -> None:
    memory.set_user_attr(name, data.draw(JSON) if data.draw(st.booleans()) else altered(SHARED, data))
    found = tried(lambda: study_attribute(memory, name))
    if name == "kd.shared" and found is not None:
        assert set(found) == {"teacher", "teacher_digest", "groups"}
        assert len(found["teacher_digest"]) == 64
    number = memory.ask().number
    memory._storage.set_trial_user_attr(memory.get_trials(deepcopy=False)[number]._trial_id, other, data.draw(JSON))
    tried(lambda: read_trials(memory))
