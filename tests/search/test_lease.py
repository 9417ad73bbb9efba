"""One command leads, until it ends or dies."""

import time
from collections.abc import Mapping

import optuna
import pytest

from kd.search import lease as module
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


def test_a_lease_that_is_not_renewed_ends_although_the_clock_of_its_holder_was_ahead(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.1)
    dead = {"id": "x", "machine": "elsewhere", "pid": 7, "started": 0.0, "time": time.time() + 86400}
    study.set_user_attr("kd.leader", dead)
    lease = Lease(study)
    assert not lease.is_free()
    time.sleep(0.11)
    study.set_user_attr("kd.leader", {**dead, "time": time.time() + 86430})  # it lives
    assert not lease.is_free()
    time.sleep(0.11)
    assert lease.is_free()
