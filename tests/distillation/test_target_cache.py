"""The teacher's targets: every image gets its own logits, of this teacher and this view, whoever computed them."""

import hashlib
import json
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from full_disk import file_size_limit
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from kd.data.batches import Batch, batches
from kd.data.dataset import Split
from kd.data.views import Augmentation
from kd.distillation.target_cache import (
    PROBE_IMAGES,
    TargetsInfo,
    TargetsKey,
    list_targets,
    prune_targets,
    targets_from_file,
    weights_digest,
)
from kd.distillation.targets import CachedTargets, LiveTargets, TeacherTargets, compute_targets
from kd.errors import UserError
from kd.losses.soft_targets import distillation_loss

IMAGES = 2 * PROBE_IMAGES
CLASSES = 5
VIEWS = 3
AUGMENTATION = Augmentation(shift_px=2, flip=True, seed=3)
SECONDS = 60  # longest that a test waits for another process


class Teacher(nn.Module):
    """A net that gives other logits in training mode, and counts the images that it was asked about.

    It is in float64: in float32, as which they are kept, its logits are those of any batch and processor but for a last digit.
    """

    def __init__(self, seed: int = 0, gain: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, CLASSES)
        with torch.no_grad():
            for tensor in [*self.parameters(), self.norm.running_mean]:
                assert isinstance(tensor, Tensor)
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            self.head.weight.mul_(gain)
        self.double()
        self.asked = 0

    def forward(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        x = self.norm(self.conv(images.double() / 255))  # (B, 8, H - 2, W - 2)
        logits: Tensor = self.head(self.dropout(x.relu().mean(dim=(2, 3))))  # (B, C)
        return logits


class OtherCode(Teacher):
    """The same weights, another function of them."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.flip(-2))


class UpsideDown(Augmentation):
    """The same fields, another first view."""

    def __call__(self, images: Tensor, index: Tensor, view: int) -> Tensor:
        upright = super().__call__(images, index, view)
        return upright.flip(-2) if view == 0 else upright


class Louder(Teacher):
    """The same weights, logits that are larger by half a per cent."""

    def forward(self, images: Tensor) -> Tensor:
        return 1.005 * super().forward(images)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_split(images: int = IMAGES) -> Split:
    generator = torch.Generator().manual_seed(1)
    return Split(
        images=torch.randint(0, 256, (images, 3, 8, 8), dtype=torch.uint8, generator=generator),
        labels=torch.randint(0, CLASSES, (images,), generator=generator),
        index=torch.arange(images),
    )


def fill(root: Path, teacher: nn.Module | None = None, split: Split | None = None, **changed: object) -> CachedTargets:
    """Ask for the targets of these tests, with one thing or another changed."""
    asked: dict[str, Any] = {"views": VIEWS, "data_digest": "d" * 32, "split_name": "train", "device": "cpu"}
    asked |= {"augmentation": AUGMENTATION, "dtype": "float32"} | changed
    return targets_from_file(teacher or Teacher(), split or make_split(), root=root, **asked)


def live_logits(teacher: nn.Module, split: Split, view: int, augmentation: Augmentation = AUGMENTATION) -> Tensor:
    """Return the teacher's logits for a view, (N, C)."""
    teacher.eval()
    with torch.no_grad():
        logits: Tensor = teacher(augmentation(split.images, split.index, view))
    return logits.float()


FLOAT32, FLOAT16 = 2.0**-23, 2.0**-11 + 2.0**-23
"""By how much of itself a number may differ from another that was rounded from the same one, or all but the same."""


def assert_same(found: Tensor, expected: Tensor, rounding: float = FLOAT32) -> None:
    """Compare logits to the rounding of what they are kept as, in parts of the largest."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= rounding * expected.abs().max()


def assert_right(targets: CachedTargets, teacher: nn.Module | None = None, split: Split | None = None) -> None:
    split = split or make_split()
    for view in range(targets.views):
        assert_same(targets.lookup(split.index, view), live_logits(teacher or Teacher(), split, view))


def only_file(root: Path) -> Path:
    [path] = root.glob("*.targets")
    return path


def rewrite_header(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    line, _, payload = path.read_bytes().partition(b"\n")
    header = json.loads(line)
    del header["facts_sha256"]  # as in a file of an earlier version
    change(header)
    path.write_bytes(json.dumps(header).encode() + b"\n" + payload)


# What is looked up


def test_each_image_and_view_has_the_logits_of_the_live_teacher(tmp_path: Path) -> None:
    split, teacher, targets = make_split(), Teacher(), fill(tmp_path)
    assert targets.views == VIEWS
    for view in range(VIEWS):
        for row in range(IMAGES):
            alone = split.select(torch.tensor([row]))
            assert_same(targets.lookup(alone.index, view), live_logits(teacher, alone, view))
    assert not targets.lookup(torch.arange(IMAGES), 0).equal(targets.lookup(torch.arange(IMAGES), 1))


def test_float16_rounds_each_logit_by_one_part_in_2048(tmp_path: Path) -> None:
    every = torch.arange(IMAGES)
    exact, rounded = (fill(tmp_path, dtype=dtype).lookup(every, 1) for dtype in ("float32", "float16"))
    assert rounded.dtype == torch.float32
    assert not rounded.equal(exact)
    assert ((rounded - exact).abs() <= exact.abs() / 2048 + 2**-25).all()
    sizes = sorted(path.stat().st_size for path in tmp_path.glob("*.targets"))
    assert sizes[1] - sizes[0] == VIEWS * IMAGES * CLASSES * 2


@pytest.mark.parametrize("rows", [None, torch.tensor([9, 3, 41, 3, 60, 17, 22])], ids=["all", "subset with repeats"])
def test_a_shuffled_loader_gets_the_targets_of_its_images(tmp_path: Path, rows: Tensor | None) -> None:
    cached, live = fill(tmp_path), LiveTargets(Teacher())
    seen = 0
    for epoch in range(2 * VIEWS):
        for batch in batches(make_split(), AUGMENTATION, batch_size=7, seed=5, epoch=epoch, view=epoch % VIEWS, rows=rows):
            assert_same(cached(batch), live(batch))
            seen += len(batch.index)
    assert seen == 2 * VIEWS * (IMAGES if rows is None else len(rows))


@given(
    index=st.lists(st.integers(0, 1000), min_size=1, max_size=30, unique=True),
    asked=st.lists(st.integers(-1001, 1001), min_size=1, max_size=8),
    view=st.integers(-1, 2),
)
def test_lookup_is_a_dictionary_of_index_and_view(index: list[int], asked: list[int], view: int) -> None:
    logits = torch.randn(2, len(index), 4)
    targets = CachedTargets(logits, torch.tensor(index))
    known = {(v, image): logits[v, row] for v in range(2) for row, image in enumerate(index)}
    for images in (asked, index[: len(asked)]):
        if all((view, image) in known for image in images):
            expected = torch.stack([known[view, image] for image in images])
            assert targets.lookup(torch.tensor(images), view).equal(expected)
        else:
            with pytest.raises(IndexError, match=r"no targets|has no targets"):
                targets.lookup(torch.tensor(images), view)


def test_targets_of_part_of_the_data_answer_for_that_part_alone(tmp_path: Path) -> None:
    part = make_split().select(torch.tensor([40, 2, 33, 50]))
    targets = fill(tmp_path, split=part)
    assert_right(targets, split=part)
    assert targets.lookup(torch.tensor([33]), 2).equal(targets.lookup(part.index, 2)[2:3])
    for missing in (3, 51, -1):
        with pytest.raises(IndexError, match=f"no targets for some image of index .*{missing}"):
            targets.lookup(torch.tensor([40, missing]), 0)


def test_logits_of_another_number_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match="4 rows of logits can't belong to 3 images"):
        CachedTargets(torch.zeros(1, 4, 2), torch.arange(3))


def test_what_a_caller_does_to_a_batch_of_targets_stays_there(tmp_path: Path) -> None:
    targets = fill(tmp_path)
    before = only_file(tmp_path).read_bytes()
    targets.lookup(torch.arange(IMAGES), 0).zero_()
    assert_right(targets)
    assert only_file(tmp_path).read_bytes() == before


def test_targets_are_on_the_device_of_the_batch() -> None:
    targets = CachedTargets(torch.randn(2, 6, 4).half(), torch.arange(6))
    found = targets.lookup(torch.arange(3, device="meta"), 1)
    assert (found.device.type, found.shape, found.dtype) == ("meta", (3, 4), torch.float32)


# Cached and live are one to the training


TEMPERATURE, ALPHA = 4.0, 0.9


def most_change(student: Tensor, teacher: Tensor, rounding: float) -> float:
    """Return by how much a batch's loss can change where each of the teacher's logits moves by a share of the largest.

    The derivative of an image's soft loss by logit i is ``T p_i (a_i - mean of a)``, with a = log p - log q for the softmaxes p
    and q of teacher and student, and the mean under p. No mean distance from a mean is above half the range, which is that of
    the logits' differences over T. So T falls out: half the range, times the largest move, which widens the range meanwhile.
    """
    moved = rounding * teacher.abs().amax(dim=1)  # (B,)
    difference = teacher - student  # (B, C)
    spread = difference.amax(dim=1) - difference.amin(dim=1) + 2 * moved  # (B,)
    return ALPHA * (moved * spread / 2).mean().item()


def test_each_step_of_a_training_has_the_same_loss_cached_and_live(tmp_path: Path) -> None:
    """At the same weights, those of the training with the live teacher: over steps any difference would grow."""
    exact, halved, live = fill(tmp_path), fill(tmp_path, dtype="float16"), LiveTargets(Teacher())
    student = nn.Linear(3 * 8 * 8, CLASSES).double()
    nn.init.zeros_(student.weight)
    nn.init.zeros_(student.bias)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for epoch in range(VIEWS + 2):
        for batch in batches(make_split(), AUGMENTATION, batch_size=10, seed=2, epoch=epoch, view=epoch % VIEWS):
            logits = student(batch.images.flatten(1).double() / 255 - 0.5)

            def loss(targets: TeacherTargets, logits: Tensor = logits, batch: Batch = batch) -> Tensor:
                teacher = targets(batch).double()
                return distillation_loss(logits, teacher, batch.labels, temperature=TEMPERATURE, alpha=ALPHA).total

            for targets, rounding in ((exact, FLOAT32), (halved, FLOAT16)):
                difference = abs(loss(targets).item() - loss(live).item())
                assert difference <= most_change(logits.detach(), live(batch).double(), rounding) + 1e-12
            optimizer.zero_grad()
            loss(live).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss(live).item())
    assert losses[-1] < losses[0]
    assert len(set(losses)) == len(losses)


def test_a_teacher_answers_in_evaluation_mode_without_gradients_and_keeps_its_modes() -> None:
    split, teacher = make_split(), Teacher().train()
    teacher.norm.eval()
    teacher.head.weight.requires_grad_()
    expected = live_logits(Teacher(), split, 0)
    batch = Batch(AUGMENTATION(split.images, split.index, 0), split.labels, split.index, 0)
    live = LiveTargets(teacher)
    computed = compute_targets(teacher, split, AUGMENTATION, 1, device="cpu", batch_size=7)
    for logits in (live(batch), computed[0]):
        assert_same(logits, expected)
        assert not logits.requires_grad
    assert live.views == 0
    assert (teacher.training, teacher.dropout.training, teacher.norm.training) == (True, True, False)
    student = torch.zeros(IMAGES, CLASSES, requires_grad=True)
    F.mse_loss(student, live(batch)).backward()  # type: ignore[no-untyped-call] # saves the targets for later
    assert student.grad is not None


@pytest.mark.parametrize(("views", "images"), [(0, 4), (-1, 4), (2, 0)])
def test_no_views_and_no_images_are_refused(views: int, images: int) -> None:
    with pytest.raises(ValueError, match="at least one view and one image"):
        compute_targets(Teacher(), make_split(images), AUGMENTATION, views, device="cpu")


# The key


def test_the_weights_digest_is_of_values_not_of_their_place_in_memory() -> None:
    teacher, copy = Teacher(), Teacher(seed=1)
    assert weights_digest(teacher) != weights_digest(copy)
    copy.load_state_dict(teacher.state_dict())
    copy.conv.to(memory_format=torch.channels_last)
    assert copy.conv.weight.stride() != teacher.conv.weight.stride()
    assert weights_digest(teacher) == weights_digest(copy)
    assert len(weights_digest(teacher)) == 64


def test_the_weights_digest_tells_names_types_and_shapes_apart() -> None:
    def module(**buffers: Tensor) -> nn.Module:
        holder = nn.Module()
        for name, buffer in buffers.items():
            holder.register_buffer(name, buffer)
        return holder

    zeros = torch.zeros(2, 2)
    nudged = zeros.clone()
    nudged[1, 1] = 2**-149  # the smallest float above 0
    modules = [
        module(a=zeros),
        module(b=zeros),
        module(a=zeros.view(4)),
        module(a=zeros.int()),
        module(a=nudged),
        module(a=zeros[0], b=zeros[1]),
        module(a=zeros, empty=zeros[:0]),
        module(),
    ]
    assert len({weights_digest(each) for each in modules}) == len(modules)


def test_targets_are_computed_once_and_then_read(tmp_path: Path) -> None:
    first, second = Teacher(), Teacher()
    fill(tmp_path, first)
    written = only_file(tmp_path).stat().st_mtime_ns
    assert_right(fill(tmp_path, second))
    assert first.asked - second.asked == VIEWS * IMAGES
    assert second.asked == PROBE_IMAGES
    assert only_file(tmp_path).stat().st_mtime_ns == written


def nudged_teacher() -> Teacher:
    teacher = Teacher()
    with torch.no_grad():
        teacher.head.bias[0] += 1e-6
    return teacher


@pytest.mark.parametrize(
    "change",
    [
        {"teacher": nudged_teacher()},
        {"data_digest": "e" * 32},
        {"split_name": "val"},
        {"split": make_split().select(torch.arange(IMAGES).flip(0))},
        {"augmentation": replace(AUGMENTATION, seed=4)},
        {"augmentation": replace(AUGMENTATION, shift_px=1)},
        {"views": VIEWS + 1},
        {"dtype": "float16"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_logits_has_a_file_of_its_own(tmp_path: Path, change: dict[str, Any]) -> None:
    fill(tmp_path)
    teacher, split = change.get("teacher", Teacher()), change.get("split", make_split())
    teacher.asked = 0
    targets = fill(tmp_path, **{"teacher": teacher} | change)
    assert teacher.asked >= targets.views * IMAGES
    assert len(list_targets(tmp_path)) == 2
    augmentation = change.get("augmentation", AUGMENTATION)
    expected = live_logits(teacher, split, targets.views - 1, augmentation)
    rounding = FLOAT16 if change.get("dtype") == "float16" else FLOAT32
    assert_same(targets.lookup(split.index, targets.views - 1), expected, rounding)
    assert_right(fill(tmp_path))


def test_another_preprocessing_has_another_file(tmp_path: Path) -> None:
    fill(tmp_path)
    [info] = list_targets(tmp_path)
    assert info.key is not None
    assert info.key.file_name() == info.path.name
    assert replace(info.key, preprocessing=info.key.preprocessing + 1).file_name() != info.path.name


# The file


def test_the_file_is_named_by_its_key_and_tells_all_that_decides_the_logits(tmp_path: Path) -> None:
    """Files that were written before this test are read as long as it holds."""
    split, teacher = make_split(), Teacher()
    fill(tmp_path)
    path = only_file(tmp_path)
    line, _, payload = path.read_bytes().partition(b"\n")
    rows = f"'index' torch.int64 [{IMAGES}]\n".encode() + split.index.numpy().tobytes()
    key = (
        f'{{"teacher":"{weights_digest(teacher)}","data":"{"d" * 32}","split":"train","images":{IMAGES},'
        f'"rows":"{hashlib.sha256(rows).hexdigest()}","augmentation":{{"shift_px":2,"flip":true,"seed":3}},'
        f'"views":{VIEWS},"dtype":"float32","preprocessing":1}}'
    )
    digest = hashlib.sha256(payload).hexdigest()
    facts = f'"format":"kd-targets-1","key":{key},"num_classes":{CLASSES}'
    of_facts = hashlib.sha256(f"{{{facts}}}".encode()).hexdigest()
    assert line.decode().rstrip(" ") == f'{{{facts},"facts_sha256":"{of_facts}","payload_sha256":"{digest}"}}'
    assert (len(line) + 1) % 64 == 0
    assert path.name == f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.targets"
    numbers = torch.frombuffer(bytearray(payload), dtype=torch.float32).view(VIEWS, IMAGES, CLASSES)
    assert_same(numbers[2], live_logits(teacher, split, 2))


# Files that are not what they should be


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("teacher", "0" * 64),
        ("data", "0" * 32),
        ("split", "test"),
        ("images", IMAGES // 2),
        ("rows", "0" * 64),
        ("augmentation", {"shift_px": 2, "flip": True, "seed": 4}),
        ("views", VIEWS - 1),
        ("dtype", "float16"),
        ("preprocessing", 0),
    ],
)
def test_a_file_of_another_key_is_an_error(tmp_path: Path, field: str, value: object) -> None:
    fill(tmp_path)
    path = only_file(tmp_path)
    rewrite_header(path, lambda header: header["key"].update({field: value}))
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"is of another {field} than asked for: delete it"):
        fill(tmp_path)
    assert path.read_bytes() == before


def test_a_renamed_file_is_an_error(tmp_path: Path) -> None:
    fill(tmp_path)
    asked = only_file(tmp_path)
    fill(tmp_path, data_digest="e" * 32, dtype="float16")
    [other] = set(tmp_path.glob("*.targets")) - {asked}
    other.replace(asked)
    with pytest.raises(UserError, match="is of another data, dtype than asked for"):
        fill(tmp_path)


@pytest.mark.parametrize(
    "change", [{"teacher": OtherCode()}, {"teacher": Louder()}, {"augmentation": UpsideDown(2, flip=True, seed=3)}]
)
def test_equal_weights_and_views_in_other_code_are_an_error(tmp_path: Path, change: dict[str, Any]) -> None:
    fill(tmp_path)
    with pytest.raises(UserError, match="holds other logits than this teacher gives"):
        fill(tmp_path, **change)


def test_the_list_tells_which_files_are_damaged_and_leaves_folders_out(tmp_path: Path) -> None:
    fill(tmp_path)
    path = only_file(tmp_path)
    (tmp_path / "folder.targets").mkdir()
    [whole] = list_targets(tmp_path)
    assert whole.key is not None
    content = path.read_bytes()
    for damaged in (content[:-1], content + b"x", content[:20]):
        path.write_bytes(damaged)
        assert list_targets(tmp_path) == [TargetsInfo(path, len(damaged), None)]


def flip_a_bit(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda content: content[:100],
        lambda content: content[: content.index(b"\n") + 1],
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: flip_a_bit(content, -1),
        lambda content: flip_a_bit(content, content.index(b"\n") + 1),
        lambda content: flip_a_bit(content, 0),
        lambda content: content.replace(b'"num_classes":5', b'"num_classes":6'),
        lambda content: b"\0" * len(content),
    ],
    ids=["empty", "cut header", "no payload", "cut", "longer", "last bit", "first bit", "brace", "classes", "zeros"],
)
def test_a_damaged_file_is_noticed_and_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    fill(tmp_path)
    path = only_file(tmp_path)
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    assert path.read_bytes() != sound
    teacher = Teacher()
    assert_right(fill(tmp_path, teacher))
    assert teacher.asked >= VIEWS * IMAGES
    assert path.read_bytes() == sound
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"the teacher's targets in {path} are damaged: computing them again"
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["key"].update(images=float(IMAGES)),
        lambda header: header["key"].update(views=True),
        lambda header: header["key"].update(views=0),
        lambda header: header["key"].update(dtype="float64"),
        lambda header: header["key"].update(data=None),
        lambda header: header["key"].update(augmentation=[]),
        lambda header: header["key"].update(more=1),
        lambda header: header["key"].pop("preprocessing"),
        lambda header: header.update(key=[]),
        lambda header: header.update(format="kd-targets-2"),
        lambda header: header.update(num_classes="5"),
        lambda header: header.update(num_classes=True),
        lambda header: header.update(more=1),
        lambda header: header.pop("format"),
        lambda header: header.pop("payload_sha256"),
    ],
)
def test_a_header_with_a_field_too_many_too_few_or_of_another_type_is_damaged(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    fill(tmp_path)
    path = only_file(tmp_path)
    sound = path.read_bytes()
    rewrite_header(path, change)
    assert [info.key for info in list_targets(tmp_path)] == [None]
    assert_right(fill(tmp_path))
    assert path.read_bytes() == sound


def test_logits_beyond_float16_are_refused_and_fit_into_float32(tmp_path: Path) -> None:
    loud = Teacher(gain=1e6)
    with pytest.raises(UserError, match=r"largest logit is .*, beyond float16: set views to 0"):
        fill(tmp_path, loud, dtype="float16")
    assert list_targets(tmp_path) == []
    assert_right(fill(tmp_path, loud, dtype="float32"), loud)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    teacher = Teacher()
    with torch.no_grad():
        teacher.head.bias[3] = bad
    with pytest.raises(UserError, match="not finite"):
        fill(tmp_path, teacher)
    assert list_targets(tmp_path) == []


def test_a_full_disk_leaves_nothing_and_the_next_one_fills_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"File too large: .*targets"), file_size_limit(2000):
        fill(tmp_path)
    assert not list(tmp_path.iterdir())
    assert_right(fill(tmp_path))
    assert list(tmp_path.iterdir()) == [only_file(tmp_path)]


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="no place for the teacher's targets in"):
        fill(tmp_path / "file" / "targets")


def test_a_teacher_that_fails_midway_leaves_nothing_and_bars_nobody(tmp_path: Path) -> None:
    class Failing(Teacher):
        def forward(self, images: Tensor) -> Tensor:
            if self.asked >= IMAGES:
                raise KeyboardInterrupt
            return super().forward(images)

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, Failing())
    assert list_targets(tmp_path) == []
    assert_right(fill(tmp_path))


# What is cached, listed and cleared


def test_the_list_tells_what_each_file_is(tmp_path: Path) -> None:
    assert list_targets(tmp_path / "missing") == []
    fill(tmp_path)
    fill(tmp_path, views=1)
    (tmp_path / "ffff.targets").write_bytes(b"torn")
    *sound, torn = list_targets(tmp_path)
    assert (torn.path.name, torn.size_bytes, torn.key) == ("ffff.targets", 4, None)
    for info in sound:
        assert info.size_bytes == info.path.stat().st_size
        assert info.key == TargetsKey(
            teacher=weights_digest(Teacher()),
            data="d" * 32,
            split="train",
            images=IMAGES,
            rows=info.key.rows if info.key else "",
            augmentation={"shift_px": 2, "flip": True, "seed": 3},
            views=info.key.views if info.key else 0,
            dtype="float32",
        )
    assert sorted(info.key.views for info in sound if info.key) == [1, VIEWS]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that even root can't read")
@pytest.mark.parametrize("command", [list_targets, prune_targets])
def test_a_file_that_cannot_be_read_is_a_user_error(tmp_path: Path, command: Callable[[Path], object]) -> None:
    (tmp_path / "abc.targets").symlink_to("/proc/self/mem")
    with pytest.raises(UserError, match="no place for the teacher's targets in"):
        command(tmp_path)
    assert (tmp_path / "abc.targets").is_symlink()


def test_pruning_deletes_all_but_what_is_being_computed_and_what_is_not_ours(tmp_path: Path) -> None:
    assert prune_targets(tmp_path / "missing") == []
    targets = fill(tmp_path)
    path = only_file(tmp_path)
    others = {"notes.tmp", "other.lock"}
    left = {"abc.targets.tmp", "abc.targets.0123abcd.tmp"}
    for name in others | left:
        (tmp_path / name).write_text("left by somebody")
    with FileLock(f"{path}.lock"):
        assert prune_targets(tmp_path) == []
        assert path.exists()
    assert not any((tmp_path / name).exists() for name in left)
    listed = list_targets(tmp_path)
    assert prune_targets(tmp_path) == listed
    assert {file.name for file in tmp_path.iterdir()} == others
    assert_right(targets)  # still open here
    teacher = Teacher()
    fill(tmp_path, teacher)
    assert teacher.asked >= VIEWS * IMAGES


# Many processes


@dataclass
class Report:
    """What a process got."""

    asked: int
    logits: list[list[float]]


class OnWaiting(logging.Handler):
    """Calls back when the process is about to wait for another."""

    def __init__(self, callback: Callable[[], None]) -> None:
        super().__init__()
        self.callback = callback

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().endswith("waiting"):
            self.callback()


class Gated(Teacher):
    """A teacher that goes on only when it may."""

    def __init__(self, started: Event, may_go_on: Event) -> None:
        super().__init__()
        self.started, self.may_go_on = started, may_go_on

    def forward(self, images: Tensor) -> Tensor:
        self.started.set()
        if not self.may_go_on.wait(SECONDS):
            raise TimeoutError("the other process never waited")
        return super().forward(images)


@contextmanager
def noticing_waits(callback: Callable[[], None]) -> Iterator[None]:
    logger, handler = logging.getLogger("kd.distillation.target_cache"), OnWaiting(callback)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def fill_in_process(root: Path, started: Event, may_go_on: Event, reports: "Queue[Report]") -> None:
    torch.set_num_threads(1)
    teacher = Gated(started, may_go_on)
    targets = fill(root, teacher)
    reports.put(Report(teacher.asked, targets.lookup(torch.arange(IMAGES), 1).tolist()))


@contextmanager
def another_process_computing(root: Path) -> Iterator[tuple[BaseProcess, Event, "Queue[Report]"]]:
    """Start a process that has begun to compute, goes on when the event is set, and reports in the end."""
    spawn = multiprocessing.get_context("spawn")
    started, may_go_on = spawn.Event(), spawn.Event()
    reports: Queue[Report] = spawn.Queue()
    process = spawn.Process(target=fill_in_process, args=(root, started, may_go_on, reports))
    process.start()
    try:
        assert started.wait(SECONDS)
        yield process, may_go_on, reports
    finally:
        process.kill()
        process.join()


def test_of_two_processes_one_computes_while_the_other_waits(tmp_path: Path) -> None:
    teacher = Teacher()
    with another_process_computing(tmp_path) as (process, may_go_on, reports):
        with noticing_waits(may_go_on.set):  # so the other one computes only once this one waits
            targets = fill(tmp_path, teacher)
        other = reports.get(timeout=SECONDS)
        process.join(SECONDS)
        assert process.exitcode == 0
    # each compares some cached logits to its own teacher's, or has computed them all
    assert (teacher.asked, other.asked) == (PROBE_IMAGES, PROBE_IMAGES + VIEWS * IMAGES)
    assert targets.lookup(torch.arange(IMAGES), 1).tolist() == other.logits
    assert_right(targets)


def test_when_the_computing_process_is_killed_the_waiting_one_computes(tmp_path: Path) -> None:
    teacher = Teacher()
    with another_process_computing(tmp_path) as (process, _, _):
        [lock] = tmp_path.glob("*.lock")
        temporary = lock.with_suffix(".0123abcd.tmp")
        temporary.write_bytes(b"torn by the kill")
        os.utime(temporary, (0, 0))  # long ago
        with noticing_waits(process.kill):
            targets = fill(tmp_path, teacher)
        process.join(SECONDS)
        assert process.exitcode == -signal.SIGKILL
    assert teacher.asked == PROBE_IMAGES + VIEWS * IMAGES
    assert_right(targets)
    assert not temporary.exists()
