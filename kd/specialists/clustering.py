"""Class groups found from what the generalist confuses (paper, section 5.3)."""

import math
import warnings

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kd.errors import UserError
from kd.specialists.confusion import confusion, embedded

Group = tuple[int, ...]
"""Numbers of classes, in ascending order."""


_Columns = npt.NDArray[np.float64]


MIN_GROUP_SIZE = 2


MIN_CLASSES = 3
"""Among two classes every group would be all of them."""


KMEANS_STARTS = 32


def covariance(probabilities: Tensor) -> Tensor:
    """Return the covariance matrix (C, C), float64, of predictions (N, C): large where two classes are predicted together."""
    centred = probabilities.to(device="cpu", dtype=torch.float64)
    centred = centred - centred.mean(dim=0)  # (N, C)
    return centred.T @ centred / max(1, len(centred) - 1)


def auto_groups(
    probabilities: Tensor, labels: Tensor | None = None, *, count: int | None = None, size: int | None = None, seed: int
) -> tuple[Group, ...]:
    """Return groups of classes that the generalist confuses.

    With labels, classes are grouped by how much probability each takes from the other's images: see ``confusion``.
    Without labels, as in section 5.3 of the paper, the columns of the covariance matrix of the predictions are clustered by
    on-line K-means, so that classes often predicted together fall in one group. Their diagonals are replaced first: see
    ``_confusion_columns``.

    Args:
        probabilities: its predictions, (N, C), on val or train, never test.
        labels: the true classes of the images, (N,); None: the groups are found without them.
        count: M, the number of clusters; default: the root of C, rounded, so that there are about as many groups as classes in
            a group (3 for 10 classes, 10 for 100).
        size: K classes per group, those nearest to the cluster's centre, so that groups may overlap and leave classes out;
            default: the clusters share out all classes, and a cluster of one class is given the nearest class of a larger one.
        seed: seed of the clustering.

    Returns:
        Distinct groups of two classes or more and never of all, by their smallest classes: M of them, or fewer where ``size``
        is given and clusters come to the same classes. Three classes without ``size`` give one group, two classes none.

    Raises:
        UserError: ``count`` or ``size`` does not fit the number of classes.
        ValueError: predictions are not (N, C) with N >= 1, or are not finite.
    """
    if probabilities.ndim != 2 or len(probabilities) == 0 or not bool(probabilities.isfinite().all()):  # noqa: PLR2004  a matrix
        raise ValueError(f"expected finite predictions (N, C), got shape {tuple(probabilities.shape)}")
    classes = probabilities.shape[1]
    if classes < MIN_CLASSES:
        return ()
    check_auto(count, size, classes)
    clusters = count or usual_count(classes)
    if labels is None:
        columns = _confusion_columns(covariance(probabilities))  # (C, C): a row per class
    else:
        columns = embedded(confusion(probabilities, labels), clusters)  # (C, clusters)
    found, centres = _clustered(columns, clusters, seed, online=labels is None)
    sized = [_nearest(columns, centre)[:size] for centre in centres]
    groups = _partition(columns, found, centres) if size is None else sized
    return tuple(sorted({tuple(sorted(int(number) for number in group)) for group in groups}))


def _clustered(points: _Columns, count: int, seed: int, *, online: bool) -> tuple[npt.NDArray[np.int32], _Columns]:
    """Return the cluster of each point, and the centres, by K-means: on-line, as the paper has it, or over all points."""
    from sklearn.cluster import KMeans, MiniBatchKMeans  # noqa: PLC0415 - a slow import, of no use to a training
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - the same

    kmeans = (MiniBatchKMeans if online else KMeans)(count, random_state=seed, n_init=KMEANS_STARTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of equal points, which are shared out
        kmeans.fit(points)
    return kmeans.labels_, kmeans.cluster_centers_


def _confusion_columns(matrix: Tensor) -> _Columns:
    """Return the columns of a covariance matrix, each with its diagonal entry replaced by its largest other entry.

    The variance of a class by itself says nothing about confusion, and in the columns of an accurate generalist it is by far
    the largest number: all columns are then about equally far apart, and K-means ends in some clusters of a single class and
    one of all the rest. With the replacement the columns of two classes that are confused with each other most agree.
    """
    columns = matrix.numpy().copy()
    np.fill_diagonal(columns, -np.inf)
    np.fill_diagonal(columns, columns.max(axis=1))
    # Numbers around one are well above the absolute tolerances of K-means.
    return np.asarray(columns / max(np.abs(columns).max(), np.finfo(np.float64).tiny), dtype=np.float64)


def _partition(columns: _Columns, labels: npt.NDArray[np.int32], centres: _Columns) -> list[list[int]]:
    """Return the members of each cluster; one of fewer than two first takes the nearest class of a cluster of over two."""
    labels = labels.copy()  # (C,)
    for cluster, found in enumerate(centres):
        while (labels == cluster).sum() < MIN_GROUP_SIZE:
            donors = [row for row in range(len(labels)) if (labels == labels[row]).sum() > MIN_GROUP_SIZE]
            if not donors:  # three classes: one pair, and the third is left to the generalist
                break
            own = columns[labels == cluster]
            nearest = _nearest(columns[donors], own[0] if len(own) else found)[0]
            labels[donors[nearest]] = cluster
    members = [np.flatnonzero(labels == cluster).tolist() for cluster in range(len(centres))]
    return [group for group in members if len(group) >= MIN_GROUP_SIZE]


def _nearest(columns: _Columns, centre: _Columns) -> list[int]:
    """Return the rows of ``columns`` by their distance to ``centre``."""
    return list(np.linalg.norm(columns - centre, axis=1).argsort(kind="stable"))


def check_auto(count: int | None, size: int | None, classes: int) -> None:
    """Refuse numbers of groups, and of classes per group, that do not fit the number of classes.

    Raises:
        UserError: they do not fit.
    """
    if size is not None and not MIN_GROUP_SIZE <= size < classes:
        raise UserError(
            f"auto: {size} classes per group do not fit {classes} classes; ask for {MIN_GROUP_SIZE} to {classes - 1}",
            field="groups",
        )
    least, most = (1, classes) if size is not None else (2, max(2, classes // MIN_GROUP_SIZE))
    if count is not None and not least <= count <= most:
        advice = "; one group would be all classes, or say how many it has, as in auto:1x2" if count == 1 else ""
        raise UserError(f"auto: {count} groups of {classes} classes; ask for {least} to {most}{advice}", field="groups")


def usual_count(classes: int) -> int:
    """Return the number of groups that ``auto`` makes: the root of the number of classes, rounded."""
    return max(2, round(math.sqrt(classes)))
