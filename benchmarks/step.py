"""How near a training step is to what the machine can do: its share of the speed of a matrix product.

Random images of CIFAR's shape, or those of ``--data``, batches of 128, each net in turn with the product.
``python benchmarks/step.py``
"""

import statistics
import time

import torch
from common import RANDOM, Net, alternate, create_net_for, epoch_seconds, parse, show, spread, training_images, write_json

from kd.distillation.objectives import hard_objective
from kd.nets.cost import count_multiply_adds

NETS: dict[str, Net] = {"generalist (3, 32)": (3, 32), "student, specialist (1, 16)": (1, 16), "(3, 16)": (3, 16)}
SIDE = 1024
PRODUCTS = 20
OPERATIONS = 2 * 3
"""A multiply-add is two operations, and a backward pass costs two forward ones."""


def product_gflops() -> float:
    """Return the GFLOP/s of a product of float32 matrices."""
    left, right = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    started = time.perf_counter()
    for _ in range(PRODUCTS):
        torch.mm(left, right)
    return PRODUCTS * 2 * SIDE**3 / (time.perf_counter() - started) / 1e9


def main() -> None:
    """Measure, and print the table."""
    arguments = parse(__doc__, data=RANDOM)
    images, rounds = (256, 1) if arguments.short else (1280, 7)
    split = training_images(arguments, images)
    rows = []
    shares: dict[str, float] = {}
    for name, net in NETS.items():
        taken = alternate({"product": product_gflops, "epoch": epoch_seconds(net, split, hard_objective())}, rounds)
        gflop = OPERATIONS * count_multiply_adds(create_net_for(split, net), split.images.shape[1:]) / 1e9
        speeds = [len(split) / seconds for seconds in taken["epoch"]]
        share = [speed * gflop / product for speed, product in zip(speeds, taken["product"], strict=True)]
        shares[name] = statistics.median(share)
        rows.append([name, f"{1000 * gflop:.0f}", spread(speeds), spread(taken["product"]), spread(share)])
    head = ["net (blocks per stage, width)", "MFLOP per image", "images/s", "product, GFLOP/s", "share"]
    show(f"A training step: median (smallest to largest) of {rounds}", head, rows)
    write_json(arguments.json, {"share_of_gemm": shares})


if __name__ == "__main__":
    main()
