"""The search for the best configuration: ``kd tune``."""

from typing import Annotated, Final, Literal, get_args

from pydantic import BeforeValidator, Field

from kd.config.fields import MAX_SEEDS, Count, Switch
from kd.config.specialists import SpecialistOptions

MAX_WORKERS = 1024
MAX_STUDY_NAME = 200
DEFAULT_SPACE = "temperature=log:1:20;alpha=float:0:1;width=int:4:32:4"
"""What a search varies unless ``--search`` or ``--width`` says otherwise (:mod:`kd.search.space` reads it)."""


def _second_objective(value: object) -> object:
    """Return what stands beside accuracy: yes or no as text or not, as it was before there was a choice, or one of a name."""
    text = str(value).lower()
    if text in {PARAMETERS, *_YES}:
        return True
    if text in _NO:
        return False
    if text in get_args(_NAMED):
        return text
    raise ValueError(f"expected {PARAMETERS} (or nothing behind the flag), {' or '.join(get_args(_NAMED))}")


_NAMED = Literal["latency", "size"]
_YES = {"true", "yes", "y", "on", "t", "1"}
_NO = {"false", "no", "n", "off", "f", "0"}
PARAMETERS: Final = "parameters"
# True is parameters: so it stands in the params and settings of studies that were made before there was a choice.
SecondObjective = Annotated[bool | _NAMED, BeforeValidator(_second_objective)]


class TuneConfig(SpecialistOptions):
    """Search for the configuration with the best accuracy on val: ``kd tune``."""

    objective: Literal["specialist", "combined", "student"] = Field(
        "specialist",
        description="val accuracy of: specialist (mean over groups, own classes), combined (Eq. 5, all classes), student",
    )
    search: str = Field(
        "",
        description="a field to search beside temperature, alpha and width (from 4 to 32, or to a --width other than 16): "
        "NAME=log:LOW:HIGH (float, int and intlog alike), NAME=cat:A,B or, to take one out, NAME=fixed; may be repeated",
        json_schema_extra={"joined_by": ";"},
    )
    max_parameters: int = Field(
        0,
        ge=0,
        lt=2**63,
        description="parameters that a candidate has at most: a student, or all specialists together; 0: no limit",
    )
    max_latency: float = Field(
        0.0,
        ge=0,
        le=1e9,
        description="milliseconds for one image that a candidate takes at most: a student, or all specialists one after the "
        "other; 0: no limit",
    )
    trials: Count = Field(40, description="number of trials in the study, over all workers and machines")
    timeout: Switch[float] = Field(0.0, ge=0, description="seconds after which no new trial begins; 0: no limit")
    workers: Switch[Count] = Field(
        1, le=MAX_WORKERS, description="worker processes on this machine; its cores are divided among them"
    )
    pruner: Literal["median", "halving", "hyperband", "none"] = Field(
        "median", description="what stops a trial early by its val accuracy after each epoch"
    )
    pareto: SecondObjective = Field(
        default=False,
        description="search for high accuracy and at once for few parameters (also --pareto alone), a low latency (of one "
        "image), or a small size (of the model's file); nothing is pruned",
        json_schema_extra={"metavar": "[parameters|latency|size]"},
    )
    storage: Switch[str] = Field(
        "sqlite:///optuna.db", description="the study's database, never MLflow's; postgresql://... for several machines"
    )
    study_name: str = Field(
        "auto",
        min_length=1,
        max_length=MAX_STUDY_NAME,
        description="study to begin or resume; auto: a name made of all that its trials share",
    )
    final_seeds: int = Field(
        3, ge=0, le=MAX_SEEDS, description="seeds with which the winner is trained again and scored on test; 0: it is not"
    )

    def second_objective(self) -> Literal["", "parameters", "latency", "size"]:
        """Return the name of what is searched for beside accuracy; empty: nothing is."""
        if isinstance(self.pareto, bool):
            return PARAMETERS if self.pareto else ""
        return self.pareto

    def needs_latency(self) -> bool:
        """Return whether the latency of candidates has to be known."""
        return self.second_objective() == "latency" or self.max_latency > 0
