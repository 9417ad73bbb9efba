"""``--power POINTS``: how many paired seeds would show a difference, told before anything is trained."""

from typing import Any

from kd.commands.answer import Answer
from kd.config import StudentConfig
from kd.errors import UserError
from kd.evaluation.intervals import format_interval, t_interval
from kd.evaluation.power import MIN_SEEDS, POWER, power_of, seeds_for, spread_interval
from kd.from_config import learns_unlabelled, prepare
from kd.machine.text import listed
from kd.tracking.earlier_seeds import EarlierSeeds, earlier_seeds
from kd.tracking.ready import is_made

VARIED = frozenset({"seed", "seeds"})
POINT = 0.01
"""A point of accuracy."""
MAX_POINTS = 100
ADVICE = "the same command with --seeds 5, and without --power, trains some"


def power(command: str, points: float, config: StudentConfig) -> Answer:
    """Tell how many paired seeds of a command would show a difference, by the spread of earlier ones; train nothing.

    Args:
        command: its name.
        points: the difference, in points of accuracy.
        config: its settings; earlier seeds of the same ones are looked for.

    Raises:
        UserError: the difference is no number of points, or the data can't be loaded.
    """
    if not 0 < points <= MAX_POINTS:
        raise UserError(f"{points:g}: expected a difference in points of accuracy, above 0 and up to 100", field="power")
    dataset = prepare(command, config).dataset
    unlabelled = dataset.unlabelled_digest if learns_unlabelled(config) and dataset.unlabelled is not None else ""
    same = {name: text for name, text in config.params().items() if name not in VARIED}
    defaults = type(config)().params()
    own = config.has_generalists_net()
    found = earlier_seeds(command, dataset.digest, unlabelled, same, defaults, generalists_net=own) if is_made() else []
    lines = [line for seeds in found for line in _lines(seeds, points, config.seeds)]
    lines = lines or [f"no earlier seeds of these settings; {ADVICE}"]
    record = {"points": points, "systems": [_record(seeds, points, config.seeds) for seeds in found]}
    return Answer([(line, "") for line in lines], record, is_report=True)


def _lines(seeds: EarlierSeeds, points: float, asked: int) -> list[str]:
    values = [*seeds.differences.values()]
    spread = spread_interval(values)
    told = f"{seeds.system} - {seeds.beside}"
    if not spread.mean > 0:
        having = "one earlier seed has" if len(values) == 1 else f"{len(values)} earlier seeds with one difference have"
        return [f"{told}: {having} no spread; {ADVICE}"]
    difference = POINT * points
    needed, low, high = (seeds_for(difference, bound) for bound in (spread.mean, spread.low, spread.high))
    size = f"{points:g} point{'s' * (points != 1)}"
    shown = f"{told}: {needed:,} paired seeds show a difference of {size} with a probability of {100 * POWER:g} %"
    planned = f"; {asked} with {100 * power_of(asked, difference, spread.mean):.0f} %" if asked >= MIN_SEEDS else ""
    return [
        f"{shown} ({low:,} to {high:,}, as far as the spread is known){planned}",
        f"earlier seeds {listed(seeds.differences)}: spread {format_interval(spread, '% points', signed=False)} seeds",
        f"their difference: {format_interval(t_interval(values), '% points')} seeds",
    ]


def _record(seeds: EarlierSeeds, points: float, asked: int) -> dict[str, Any]:
    """Return the same for a script: fractions, and null where there is no spread."""
    spread = spread_interval([*seeds.differences.values()])
    is_known = spread.mean > 0
    return {
        "system": seeds.system,
        "beside": seeds.beside,
        "differences": {str(seed): value for seed, value in seeds.differences.items()},
        "spread": spread.mean if is_known else None,
        "spread_interval": [spread.low, spread.high] if is_known else None,
        "seeds_needed": seeds_for(POINT * points, spread.mean) if is_known else None,
        "power": power_of(asked, POINT * points, spread.mean) if is_known and asked >= MIN_SEEDS else None,
    }
