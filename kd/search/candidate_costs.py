"""The costs of candidates in numbers, each net measured once."""

from kd.config import TuneConfig
from kd.search.candidate import Guide
from kd.search.costs import names_of
from kd.search.file_size import candidate_bytes
from kd.search.latency import Latencies, candidate_latency
from kd.search.size import candidate_parameters


class Costs:
    """The costs of candidates of a study, each net measured once."""

    def __init__(self, guide: Guide, latencies: Latencies | None) -> None:
        """Take what all trials share, and what was measured of their nets; None: a search that asks for no latency."""
        self._guide = guide
        self._latencies = latencies
        self._bytes: dict[str, int] = {}

    def of(self, config: TuneConfig) -> dict[str, float]:
        """Return the costs of a candidate by name, those of :func:`names_of`: of a student, or of all specialists together."""
        return {name: self._amount(name, config) for name in names_of(config)}

    def _amount(self, name: str, config: TuneConfig) -> float:
        groups, workspace = self._guide.groups, self._guide.workspace
        if name == "latency":
            return candidate_latency(config, len(groups), workspace, self._latencies)
        if name == "size":
            return candidate_bytes(config, list(groups.values()), workspace.dataset, self._bytes)
        return candidate_parameters(config, [len(group) for group in groups.values()], workspace.dataset)
