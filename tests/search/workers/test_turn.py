"""Workers of an sqlite study ask for trials one after the other."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import optuna
from sqlalchemy.engine import make_url

from kd.search.storage import opened
from kd.search.workers.turn import Turn

PROCESSES, TRIALS = 3, 24


def take(url: str, results: "multiprocessing.Queue[list[int]]", barrier: Callable[[], int]) -> None:
    """Take waiting trials for as long as there are any, and tell their numbers."""
    taken = []
    with opened(url) as storage:
        study = optuna.load_study(study_name="s", storage=storage)
        turn = Turn(make_url(url))
        barrier()
        while True:
            turn.wait()
            trial_id = study._pop_waiting_trial_id()
            turn.end()
            if trial_id is None:
                break
            taken.append(trial_id)
    results.put(taken)


def test_no_waiting_trial_is_given_to_two_workers(url: str, study: optuna.Study, tmp_path: Path) -> None:
    for _ in range(TRIALS):
        study.enqueue_trial({})
    context = multiprocessing.get_context("spawn")
    results, barrier = context.Queue(), context.Barrier(PROCESSES)
    processes = [context.Process(target=take, args=(url, results, barrier.wait)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    taken = [number for _ in processes for number in results.get(timeout=120)]
    for process in processes:
        process.join()
    assert len(taken) == len(set(taken)) == TRIALS
    assert not list(tmp_path.glob("*.turn.lock"))


def test_a_turn_at_a_server_needs_no_file_and_one_that_ended_ends_again() -> None:
    server = Turn(make_url("postgresql+psycopg://nowhere/x"))
    server.wait()
    server.end()
    server.end()
