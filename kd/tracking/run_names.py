"""Names of runs: what was made, and then the settings by which it differs from its neighbours in the list of runs."""

from collections.abc import Mapping, Sequence

from kd.tracking.params import canonical

_SHORT = {"temperature": "T"}


def details(settings: Mapping[str, object]) -> str:
    """Return settings as the end of a run's name, e.g. ``T=4 alpha=0.9 width=8 resnet seed=0``.

    Args:
        settings: by their names as params; the value of ``net`` stands alone, and what is None is left out.
    """
    parts = {name: canonical(_short(value)) for name, value in settings.items() if value is not None}
    return " ".join(text if name == "net" else f"{_SHORT.get(name, name)}={text}" for name, text in parts.items())


def _short(value: object) -> object:
    """Return a number that a search drew in as many digits as tell it from its neighbours."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def seeds_text(seeds: Sequence[int]) -> str:
    """Return seeds that follow one another as ``0`` or ``0-4``."""
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]}-{seeds[-1]}"
