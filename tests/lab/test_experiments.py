"""What holds of every experiment: its trainings, its record, and what the paper has of it."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from laboratory import Done

from kd.lab.experiment import experiment
from kd.lab.names import NAMES, ExperimentName
from kd.lab.record import Record
from kd.machine.names import metric_name

CarriedOut = Callable[[ExperimentName], Done]


@pytest.mark.parametrize("name", NAMES)
def test_each_training_of_an_experiment_has_a_run_of_its_own(name: ExperimentName, carried_out: CarriedOut) -> None:
    jobs = carried_out(name).notes.jobs
    assert jobs
    assert len({job.name for job in jobs}) == len(jobs)
    assert len({job.fingerprint() for job in jobs}) == len(jobs)  # no finished training stands for another one


@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_read_as_it_was_written(name: ExperimentName, carried_out: CarriedOut, tmp_path: Path) -> None:
    record = carried_out(name).record
    read = Record.read(record.write(tmp_path))
    assert read.rows == record.rows
    assert repr(read.figures) == repr(record.figures)  # NaN is not equal to itself
    assert [one.in_words for one in read.differences] == [one.in_words for one in record.differences] != []


@pytest.mark.parametrize("name", NAMES)
def test_each_system_and_figure_has_a_name_and_nothing_of_the_papers_is_lost(
    name: ExperimentName, carried_out: CarriedOut
) -> None:
    record = carried_out(name).record
    names = [*(row.system for row in record.rows), *(figure.name for figure in record.figures)]
    assert len(set(names)) == len(names)
    assert len({metric_name(row.system) for row in record.rows}) == len(record.rows)  # each has a metric of its own
    if name != "specialists":  # rows of Table 4 are of the covers that there are
        assert {*experiment(name).published} <= {*names}
    assert all(0 <= row.errors[0] <= row.images for row in record.rows)
    assert not any(math.isinf(figure.value.mean) for figure in record.figures)


@pytest.mark.parametrize("name", NAMES)
def test_each_net_is_told_with_its_parameters(name: ExperimentName, carried_out: CarriedOut) -> None:
    done = carried_out(name)
    of_nets = {job.name.removesuffix(" seed 0"): job for job in done.notes.jobs}
    for row in done.record.rows:
        if row.system in of_nets:
            assert row.parameters == done.notes.of(of_nets[row.system].name).parameters, row.system


@pytest.mark.parametrize("name", NAMES)
def test_what_was_chosen_on_test_is_called_so_and_nothing_else_is(name: ExperimentName, carried_out: CarriedOut) -> None:
    for row in carried_out(name).record.rows:
        assert row.chosen_on_test == ("on test" in row.system)
        assert not (row.chosen_on_test and row.parameters)  # nor was a net trained for it
