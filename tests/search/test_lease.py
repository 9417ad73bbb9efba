"""One command leads, until it ends or dies."""

from collections.abc import Mapping

import optuna

from kd.search.lease import Lease


def test_one_command_leads_until_it_ends_or_dies(study: optuna.Study, dead_process: Mapping[str, object]) -> None:
    first, second = Lease(study), Lease(study)
    assert first.acquire()
    with first:
        assert not second.acquire()
    assert second.acquire()
    study.set_user_attr("kd.leader", {**study.user_attrs["kd.leader"], **dead_process})
    assert Lease(study).acquire()
    study.set_user_attr("kd.leader", {**study.user_attrs["kd.leader"], "machine": "elsewhere", "time": 0.0})
    assert Lease(study).acquire()
