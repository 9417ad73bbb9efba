import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from kd.data.batches import batches, cycled_rows
from kd.data.dataset import Dataset, Split
from kd.data.load import load_dataset
from kd.data.views import Augmentation
from kd.errors import UserError

PLAIN = Augmentation(0, flip=False, seed=0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_CACHE", str(tmp_path / "cache"))


def write_folder(root: Path, counts: dict[str, int]) -> Path:
    """Write that many random colour images of 8 x 8 px into each folder."""
    pixels = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(pixels.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / name / f"{number}.png")
    return root


def load_digits_set(**options: float) -> Dataset:
    return load_dataset("digits", "unused", **options)  # type: ignore[arg-type]


def toy_split(size: int) -> Split:
    """Make a split whose pixels, labels and indices all tell the row."""
    rows = torch.arange(size)
    images = rows[:, None, None, None].expand(size, 1, 2, 2).to(torch.uint8)
    return Split(images.contiguous(), rows % 7, rows)


def test_digits_are_the_images_of_scikit_learn_each_in_one_split() -> None:
    data = load_digits_set()
    assert data.classes == tuple("0123456789")
    assert data.image_shape == (1, 8, 8)
    assert not data.flip
    loaded = sorted(
        (int(label), image.numpy().tobytes())
        for split in (data.train, data.val, data.test)
        for image, label in zip(split.images, split.labels, strict=True)
    )
    digits = load_digits()
    scaled = np.floor(digits.images * 255 / 16 + 0.5).astype(np.uint8)
    assert loaded == sorted((int(label), image.tobytes()) for image, label in zip(scaled, digits.target, strict=True))
    assert max(int(split.images.max()) for split in (data.train, data.val, data.test)) == 255


def test_index_counts_the_rows_of_each_full_split() -> None:
    data = load_digits_set()
    for split in (data.train, data.val, data.test):
        assert split.index.tolist() == list(range(len(split)))
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64


@settings(max_examples=20)
@given(val_fraction=st.floats(0.02, 0.9), seed=st.integers(-(2**70), 2**70))
def test_every_class_has_its_share_of_each_split(val_fraction: float, seed: int) -> None:
    data = load_digits_set(val_fraction=val_fraction, seed=seed)
    totals = np.bincount(load_digits().target)
    test, val = torch.bincount(data.test.labels).numpy(), torch.bincount(data.val.labels).numpy()
    assert (abs(test - 0.2 * totals) <= 0.5).all()
    assert (abs(val - val_fraction * (totals - test)) <= 0.5).all()
    assert (torch.bincount(data.train.labels).numpy() == totals - test - val).all()


def test_splits_are_a_function_of_the_seed() -> None:
    first, again, other = load_digits_set(seed=1), load_digits_set(seed=1), load_digits_set(seed=2)
    assert torch.equal(first.train.images, again.train.images)
    assert first.digest == again.digest
    assert not torch.equal(first.test.images, other.test.images)
    assert first.digest != other.digest


def test_a_splits_digest_changes_with_any_pixel_label_or_shape() -> None:
    images, labels = torch.arange(24, dtype=torch.uint8).reshape(2, 1, 3, 4), torch.tensor([0, 1])
    split = Split(images, labels, torch.arange(2))
    pixel = images.clone()
    pixel[1, 0, 2, 3] += 1
    others = [(pixel, labels), (images, torch.tensor([0, 2])), (images.reshape(2, 1, 4, 3), labels)]
    digests = {split.digest, *(Split(*other, torch.arange(2)).digest for other in others)}
    assert len(digests) == 4
    assert split.digest == Split(images.clone(), labels.clone(), torch.tensor([5, 6])).digest


def test_val_fraction_leaves_the_test_split_alone() -> None:
    small, large = load_digits_set(val_fraction=0.1), load_digits_set(val_fraction=0.3)
    assert torch.equal(small.test.images, large.test.images)
    assert small.digest != large.digest


@pytest.mark.parametrize("val_fraction", [0.0, 1.0, -0.1, float("nan")])
def test_val_fraction_out_of_bounds_is_refused(val_fraction: float) -> None:
    with pytest.raises(UserError, match="expected a share above 0 and below 1"):
        load_digits_set(val_fraction=val_fraction)


def test_mean_and_deviation_are_those_of_the_train_pixels(tmp_path: Path) -> None:
    data = load_dataset("folder", write_folder(tmp_path / "data", {"a": 20, "b": 30}), image_px=8)
    pixels = data.train.images.numpy() / 255.0
    assert data.mean == pytest.approx(pixels.mean(axis=(0, 2, 3)))
    assert data.std == pytest.approx(pixels.std(axis=(0, 2, 3)))


def test_constant_channel_has_deviation_one(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 8), (0, 51, 255)).save(tmp_path / "data" / name / f"{number}.png")
    data = load_dataset("folder", tmp_path / "data", image_px=8)
    assert data.mean == pytest.approx((0, 0.2, 1))
    assert data.std == pytest.approx((1, 1, 1))


def test_digest_changes_with_one_pixel_in_any_split(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", {"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2})
    digests = {load_dataset("folder", root, image_px=8).digest}
    files = sorted(root.glob("*/*/*.png"))
    for file in files:
        pixels = np.array(Image.open(file))
        pixels[5, 3, 0] ^= 1
        Image.fromarray(pixels).save(file)
        digests.add(load_dataset("folder", root, image_px=8).digest)
    assert len(digests) == len(files) + 1
    assert all(len(digest) == 32 and int(digest, 16) >= 0 for digest in digests)


def test_digest_changes_with_the_name_of_a_class_and_with_a_label(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", {"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2})
    first = load_dataset("folder", root, image_px=8)
    for split in ("train", "test"):
        (root / split / "b").rename(root / split / "c")
    renamed = load_dataset("folder", root, image_px=8)
    (root / "test" / "a" / "1.png").rename(root / "test" / "c" / "+.png")  # the second of all test images, as before
    moved = load_dataset("folder", root, image_px=8)
    assert torch.equal(first.test.images, moved.test.images)
    assert moved.test.labels.tolist() == [0, 1, 1, 1]
    assert len({first.digest, renamed.digest, moved.digest}) == 3


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"a": 3, "b": 2}, r"fewer images than the 3 needed for train, val and test: 'b' \(2\); add some to each"),
        (
            {"train/a": 2, "train/b": 1, "test/a": 1, "test/b": 1},
            r"fewer images than the 2 needed for train and val: 'b' \(1\)",
        ),
    ],
)
def test_class_with_too_few_images_is_named(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_dataset("folder", write_folder(tmp_path / "data", counts), image_px=8)


def test_smallest_possible_classes_are_in_every_split(tmp_path: Path) -> None:
    data = load_dataset("folder", write_folder(tmp_path / "data", {"a": 3, "b": 3}), image_px=8)
    assert [split.labels.tolist() for split in (data.train, data.val, data.test)] == [[0, 1]] * 3


def test_a_given_test_split_is_kept_whole(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", {"train/a": 10, "train/b": 10, "test/a": 3, "test/b": 2})
    data = load_dataset("folder", root, image_px=8)
    assert (len(data.train), len(data.val), len(data.test)) == (18, 2, 5)
    first = np.asarray(Image.open(root / "test" / "a" / "0.png")).transpose(2, 0, 1)
    assert np.array_equal(data.test.images[0].numpy(), first)


def test_a_val_of_the_users_own_is_val_whole_and_train_is_not_cut(tmp_path: Path) -> None:
    counts = {f"{split}/{name}": count for split, count in (("train", 4), ("val", 2), ("test", 1)) for name in "ab"}
    root = write_folder(tmp_path / "data", counts)
    data = load_dataset("folder", root, image_px=8)
    assert [len(data.train), len(data.val), len(data.test)] == [8, 4, 2]
    first = np.asarray(Image.open(root / "val" / "b" / "0.png")).transpose(2, 0, 1)
    assert np.array_equal(data.val.images[2].numpy(), first)
    shutil.rmtree(root / "test")  # test is cut from train then, and val stays
    again = load_dataset("folder", root, image_px=8)
    assert [len(again.train), len(again.val), len(again.test)] == [6, 4, 2]
    assert torch.equal(again.val.images, data.val.images)


def test_digests_of_digits_and_of_folders_are_those_of_before(tmp_path: Path) -> None:
    assert load_digits_set().digest == "bfcb2c1bf218afd3b5afb0e07a89902e"
    for name in ("train/b", "train/a", "test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8), (10 * number, len(name), ord(name[-1]))).save(tmp_path / name / f"{number}.png")
    assert load_dataset("folder", tmp_path, image_px=8).digest == "a3bb9443bd9474f8f52e38c7873f5df3"


def test_unknown_data_set_is_told_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"unknown data set 'imagenet': choose one of digits, cifar10, cifar100, .*, folder"):
        load_dataset("imagenet", "data")


def test_usual_augmentation_shifts_by_an_eighth_and_flips_where_allowed(tmp_path: Path) -> None:
    assert load_digits_set().augmentation(3) == Augmentation(1, flip=False, seed=3)
    assert load_digits_set().augmentation(3, shift_px=2) == Augmentation(2, flip=False, seed=3)
    root = write_folder(tmp_path / "data", {"a": 3, "b": 3})
    assert load_dataset("folder", root, image_px=32).augmentation(4) == Augmentation(4, flip=True, seed=4)
    assert load_dataset("folder", root, image_px=4).augmentation(4) == Augmentation(1, flip=True, seed=4)


def test_select_keeps_the_index_of_each_row() -> None:
    split = toy_split(10).select(torch.tensor([7, 2, 2]))
    assert split.index.tolist() == [7, 2, 2]
    assert split.images[:, 0, 0, 0].tolist() == [7, 2, 2]
    nested = split.select(torch.tensor([True, False, True]))
    assert nested.index.tolist() == [7, 2]
    assert nested.labels.tolist() == [0, 2]


def test_split_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="3 images, 2 labels, 3 indices"):
        Split(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(2), torch.zeros(3))


@given(size=st.integers(1, 200), batch_size=st.integers(1, 250), epoch=st.integers(0, 10**6))
@example(size=7, batch_size=2, epoch=0)
def test_an_epoch_shows_each_row_once_in_nearly_equal_batches(size: int, batch_size: int, epoch: int) -> None:
    split = toy_split(size)
    epoch_batches = list(batches(split, PLAIN, batch_size=batch_size, seed=1, epoch=epoch, view=epoch))
    sizes = [len(batch.labels) for batch in epoch_batches]
    if batch_size == 2 and size % 2 and size > 1:  # no image is left alone
        assert sorted(sizes) == [2] * (size // 2 - 1) + [3]
    else:
        assert len(sizes) == -(-size // batch_size)
        assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    index = torch.cat([batch.index for batch in epoch_batches])
    assert sorted(index.tolist()) == list(range(size))
    assert torch.equal(torch.cat([batch.labels for batch in epoch_batches]), index % 7)
    assert torch.equal(torch.cat([batch.images for batch in epoch_batches])[:, 0, 0, 0], index.to(torch.uint8))


def order_of(epoch: int, seed: int, **options: object) -> list[int]:
    arguments: dict[str, object] = {"batch_size": 16, "view": 0, **options}
    epoch_batches = batches(toy_split(100), PLAIN, seed=seed, epoch=epoch, **arguments)  # type: ignore[arg-type]
    return torch.cat([batch.index for batch in epoch_batches]).tolist()


def test_order_is_a_function_of_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    before = order_of(3, 5)
    torch.manual_seed(2)
    assert order_of(3, 5) == before
    assert order_of(3, 5, batch_size=7, view=9) == before
    assert len({tuple(order_of(epoch, seed)) for epoch in range(5) for seed in range(5)}) == 25
    assert order_of(3, -5) != before


@given(rows=st.lists(st.integers(0, 49), min_size=1, max_size=80))
def test_given_rows_make_up_the_epoch(rows: list[int]) -> None:
    epoch_batches = batches(toy_split(50), PLAIN, batch_size=8, seed=0, epoch=0, view=0, rows=torch.tensor(rows))
    assert sorted(torch.cat([batch.index for batch in epoch_batches]).tolist()) == sorted(rows)


def test_images_are_the_view_of_their_own_index() -> None:
    data = load_digits_set()
    augmentation = data.augmentation(8)
    part = data.train.select(torch.arange(500, 600))
    expected = augmentation(data.train.images, data.train.index, 6)
    for batch in batches(part, augmentation, batch_size=32, seed=0, epoch=2, view=6):
        assert batch.view == 6
        assert torch.equal(batch.images, expected[batch.index])


@pytest.mark.parametrize(("batch_size", "size"), [(0, 10), (-3, 10), (4, 0)])
def test_impossible_batches_are_refused(batch_size: int, size: int) -> None:
    with pytest.raises(ValueError, match="cannot make batches"):
        next(batches(toy_split(size), PLAIN, batch_size=batch_size, seed=0, epoch=0, view=0))


@given(size=st.integers(1, 40), epoch_size=st.integers(1, 90), epochs=st.integers(1, 6))
def test_a_walk_takes_each_row_equally_often_and_can_be_resumed_at_any_epoch(size: int, epoch_size: int, epochs: int) -> None:
    taken = [cycled_rows(size, epoch_size, seed=3, epoch=epoch) for epoch in range(epochs)]
    assert [len(rows) for rows in taken] == [epoch_size] * epochs
    counts = torch.cat(taken).bincount(minlength=size)
    assert int(counts.max() - counts.min()) <= 1
    assert torch.equal(cycled_rows(size, epoch_size, seed=3, epoch=epochs - 1), taken[-1])


def test_walks_have_orders_of_their_own() -> None:
    walks = [tuple(cycled_rows(20, 20, seed=seed, epoch=epoch).tolist()) for seed in (0, 1) for epoch in range(3)]
    assert len(set(walks)) == 6
    assert all(sorted(walk) == list(range(20)) for walk in walks)
