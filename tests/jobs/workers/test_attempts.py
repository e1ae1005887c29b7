"""When an item is set aside: failures add up over runs, deaths of workers only while they follow each other."""

import random
from collections import Counter

import pytest

from longtake.jobs.workers.attempts import CHANCE, MAX_DEATHS, MAX_FAILURES, MIN_DEATHS, Attempts
from longtake.platform.errors import SetupError
from longtake.platform.store.json_records import from_json
from longtake.platform.store.records import MAKING, SCORING, Failure, FailureRow
from longtake.platform.workers.fleet import Item, ItemQueue
from longtake.platform.workers.ray_fleet import WorkerDied

KILLED = WorkerDied("samplers-1 died")


def die(attempts: Attempts[str], key: str) -> Failure:
    attempts.ended(MAKING, [key], died=True)
    return attempts.failed(MAKING, key, KILLED, died=True)


def survive(attempts: Attempts[str], *keys: str) -> None:
    for key in keys:
        attempts.ended(MAKING, [key], died=False)


def test_failures_add_up_over_runs_and_stages_are_apart() -> None:
    attempts = Attempts({"a": [Failure(MAKING, "OSError: x")] * 2 + [Failure(SCORING, "OSError: x")] * 2})
    assert not attempts.is_set_aside(MAKING, "a")
    attempts.ended(MAKING, ["a"], died=False)
    attempts.failed(MAKING, "a", OSError("x"), died=False)
    assert attempts.is_set_aside(MAKING, "a")
    assert not attempts.is_set_aside(SCORING, "a")
    assert attempts.count("a") == f"{MAX_FAILURES} failed attempts"


def test_an_item_that_kills_its_workers_is_set_aside_while_others_survive() -> None:
    attempts: Attempts[str] = Attempts()
    survive(attempts, "b", "c")
    assert [die(attempts, "a").set_aside for _ in range(MIN_DEATHS - 1)] == [False, False]
    assert attempts.goes_last(MAKING, "a")  # the others go first
    assert die(attempts, "a").set_aside
    assert attempts.is_set_aside(MAKING, "a")
    assert attempts.count("a") == "3 dead workers"
    assert Attempts(attempts.failures).is_set_aside(MAKING, "a")  # also in later runs


def test_deaths_do_not_add_up_over_runs_nor_over_an_attempt_that_its_worker_survived() -> None:
    earlier = [Failure(MAKING, "WorkerDied: x", died=True)] * (MIN_DEATHS - 1)
    attempts = Attempts({"a": earlier})
    assert not attempts.is_set_aside(MAKING, "a")
    assert not die(attempts, "a").set_aside
    die(attempts, "a")
    survive(attempts, "a")
    assert not die(attempts, "a").set_aside


def test_the_more_workers_die_with_other_items_the_more_deaths_it_takes() -> None:
    """Shares of other items that lost a worker -> the smallest n with share^n <= 1e-5, from 3 to 10."""
    assert CHANCE == 1e-5
    for lost, needed in [(0, 3), (1, 3), (5, 4), (20, 8), (30, MAX_DEATHS), (100, MAX_DEATHS)]:
        # .01^3 = 1e-6; .05^3 = 1.25e-4 and .05^4 = 6e-6; .2^7 = 1.3e-5 and .2^8 = 2.6e-6; .3^9 = 2e-5
        attempts: Attempts[str] = Attempts()
        for number in range(100):
            attempts.ended(MAKING, [f"other-{number}"], died=number < lost)
        assert attempts.deaths_allowed(MAKING, "a") == needed, lost


def test_a_batch_runs_together_again_once_and_then_its_items_run_alone() -> None:
    attempts: Attempts[str] = Attempts()
    attempts.ended(MAKING, "abcd", died=True)
    assert not any(attempts.runs_alone(MAKING, key) for key in "abcd")
    attempts.ended(MAKING, "abcd", died=True)
    assert all(attempts.runs_alone(MAKING, key) for key in "abcd")
    survive(attempts, *"bcd")
    # the deaths of its own batch do not speak for a suspect
    assert attempts.deaths_allowed(MAKING, "a") == MIN_DEATHS
    again: Attempts[str] = Attempts()
    for died in (True, False, True):
        again.ended(MAKING, "abcd", died)
    assert not again.runs_alone(MAKING, "a")


def test_workers_that_all_die_end_the_run_and_set_nothing_aside() -> None:
    attempts: Attempts[str] = Attempts()
    for number in range(MAX_DEATHS - 1):
        assert not die(attempts, "abcd"[number % 4]).set_aside
        attempts.check_workers(MAKING, KILLED)
    die(attempts, "b")
    with pytest.raises(SetupError, match=r"workers: 10 died in a row, making 4 different items; the last: WorkerDied"):
        attempts.check_workers(MAKING, KILLED)
    survive(attempts, "c")
    attempts.check_workers(MAKING, KILLED)


def test_a_failure_is_stored_whole_and_read_back() -> None:
    reason = "WorkerDied: " + "out of memory " * 100
    for failure in (Failure(MAKING, reason, died=True, set_aside=True), Failure(SCORING, "OSError: y")):
        assert from_json(FailureRow, failure.to_json()).failure == failure
    assert len(Failure(MAKING, reason).brief) <= 300


@pytest.mark.parametrize(
    ("row", "failure"),
    [
        ({"reason": "WorkerDied: x"}, Failure(MAKING, "WorkerDied: x", died=True)),
        ({"reason": "scoring: WorkerStalled: x"}, Failure(SCORING, "WorkerStalled: x", died=True)),
        ({"stage": "making", "reason": "OSError: y"}, Failure(MAKING, "OSError: y")),
    ],
)
def test_files_of_earlier_versions_tell_deaths_by_the_type_of_the_error(row: dict[str, str], failure: Failure) -> None:
    assert from_json(FailureRow, row).failure == failure


def storm(takes: int, share: float, killers: set[str], seed: int) -> tuple[set[str], dict[str, int]]:
    """One sampler makes `takes` takes; workers die in `share` of the attempts, and always with `killers`. Returns the
    takes that were set aside, and the deaths of each take."""
    chance, attempts, queue = random.Random(seed), Attempts[str](), ItemQueue()
    deaths = Counter[str]()
    for number in range(takes):
        queue.push(Item(f"take-{number}", size=1.0))
    while queue:
        key = queue.pop("").payload
        died = key in killers or chance.random() < share
        attempts.ended(MAKING, [key], died)
        if died:
            deaths[key] += 1
            if not attempts.failed(MAKING, key, KILLED, died).set_aside:
                queue.push(Item(key, size=1.0, last=attempts.goes_last(MAKING, key)))
    return {key for key in attempts.failures if attempts.is_set_aside(MAKING, key)}, deaths


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_random_kills_set_no_take_aside_and_one_that_always_kills_is_found(share: float) -> None:
    """30 kills among 70 attempts are a share of about .3. Twenty storms of 100 takes."""
    for seed in range(20):
        assert storm(100, share, set(), seed)[0] == set(), seed
        aside, deaths = storm(100, share, {"take-7"}, seed)
        assert aside == {"take-7"}, seed
        assert deaths["take-7"] <= MAX_DEATHS


def test_takes_that_always_kill_cost_three_deaths_each_where_nothing_else_kills() -> None:
    aside, deaths = storm(100, 0.0, {"take-7"}, 0)
    assert (aside, deaths) == ({"take-7"}, {"take-7": MIN_DEATHS})
