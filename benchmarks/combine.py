"""The cost of Eq. 5 beside the nets whose answers it combines: 10,000 images of CIFAR's shape, three specialists.

Random images for the nets; for Eq. 5 random logits as far apart as those of trained nets. ``python benchmarks/combine.py``
"""

import statistics
import time

import torch
from common import CLASSES, Net, alternate, create_net, parse, show, spread, synthetic_split, write_json
from torch import Tensor

from kd.evaluation.predict import EVAL_BATCH_SIZE, predict
from kd.specialists.eq5 import combine

GENERALIST: Net = (3, 32)
SPECIALIST: Net = (1, 16)
GROUPS = ((0, 1, 8, 9), (2, 4, 6, 7), (3, 5))
LOGIT_SCALE = 4.0


def answers(images: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return what Eq. 5 is solved for: each image calls the specialist of its most probable class."""
    generator = torch.Generator().manual_seed(0)

    def softmax_of(columns: int) -> Tensor:
        return (LOGIT_SCALE * torch.randn(images, columns, generator=generator)).softmax(dim=1)

    generalist = softmax_of(CLASSES)  # (N, C)
    member = torch.zeros(len(GROUPS), CLASSES, dtype=torch.bool)
    inside = torch.zeros(images, len(GROUPS), CLASSES)
    dustbin = torch.zeros(images, len(GROUPS))
    for number, group in enumerate(GROUPS):
        own = softmax_of(len(group) + 1)  # (N, K + 1)
        member[number, list(group)] = True
        inside[:, number, list(group)] = own[:, :-1]
        dustbin[:, number] = own[:, -1]
    return generalist, inside, dustbin, member, member.T[generalist.argmax(dim=1)]


def main() -> None:
    """Measure, and print the table."""
    arguments = parse(__doc__)
    images, rounds = (200, 1) if arguments.short else (10_000, 5)
    split = synthetic_split(images)
    nets = [create_net(GENERALIST), *(create_net(SPECIALIST) for _ in GROUPS)]
    generalist, inside, dustbin, member, active = answers(images)

    def forward_seconds() -> float:
        started = time.perf_counter()
        for net in nets:
            predict(net, split)
        return time.perf_counter() - started

    def solving_seconds() -> float:
        started = time.perf_counter()
        for rows in torch.split(torch.arange(images), EVAL_BATCH_SIZE):
            combine(generalist[rows], inside[rows], dustbin[rows], member, active[rows])
        return time.perf_counter() - started

    taken = alternate({"forward": forward_seconds, "solving": solving_seconds}, rounds)
    share = [solving / forward for solving, forward in zip(taken["solving"], taken["forward"], strict=True)]
    head = ["nets' forward (s)", "Eq. 5 (s)", "share"]
    cells = [spread(taken["forward"]), spread(taken["solving"]), spread(share)]
    show(
        f"Generalist {GENERALIST}, {len(GROUPS)} specialists {SPECIALIST}, {images:,} images, median of {rounds}", head, [cells]
    )
    write_json(arguments.json, {"share_of_forward": statistics.median(share)})


if __name__ == "__main__":
    main()
