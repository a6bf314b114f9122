"""Which attempts send the same request: examples, and every short history against a target that honours keys."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from agentclock.core.delivery import delivery_key, delivery_number
from agentclock.core.model import Attempt, RunStatus


def attempt(number: int, status: RunStatus, status_code: int | None = None) -> Attempt:
    return Attempt(run_id="r", number=number, status=status, status_code=status_code)


def history(*ends: RunStatus | int | None) -> list[Attempt]:
    """A number is the status code of a failed attempt, None one that got no connection."""
    return [
        attempt(number, end) if isinstance(end, RunStatus) else attempt(number, RunStatus.FAILED, end)
        for number, end in enumerate(ends, start=1)
    ]


LOST, TIMEOUT = RunStatus.LOST, RunStatus.TIMEOUT


@pytest.mark.parametrize(
    ("ends", "number"),
    [
        ((), 1),
        ((LOST,), 1),
        ((TIMEOUT,), 1),
        ((LOST, LOST), 1),
        ((LOST, TIMEOUT, LOST), 1),
        ((500,), 2),
        ((404,), 2),
        ((307,), 2),
        ((LOST, 500), 3),
        ((500, LOST), 2),
        ((500, LOST, TIMEOUT), 2),
        ((LOST, LOST, 500, TIMEOUT), 4),
        ((LOST, 500, LOST, 500), 5),
        ((None,), 2),
        ((LOST, None), 1),
        ((500, None, LOST), 3),
        ((503,), 2),
        ((429, 425, 408), 4),
        ((LOST, 503), 1),
        ((LOST, 429, 425, 408, None), 1),
        ((LOST, 503, 500), 4),
        ((502,), 1),
        ((504, 503), 1),
        ((502, 500), 3),
    ],
)
def test_the_same_request_until_its_end_is_known(ends: tuple[RunStatus | int | None, ...], number: int) -> None:
    assert delivery_number(history(*ends), len(ends) + 1) == number


def test_a_broken_answer_is_unknown_whatever_it_began_with() -> None:
    assert delivery_number([attempt(1, RunStatus.LOST, 200)], 2) == 1


def test_an_attempt_without_a_row_is_one_of_unknown_end() -> None:
    assert delivery_number([], 3) == 1
    assert delivery_number([attempt(1, RunStatus.FAILED, 500)], 3) == 2


def test_an_attempt_that_still_counts_as_running_is_one_of_unknown_end() -> None:
    assert delivery_number([attempt(1, RunStatus.RUNNING)], 2) == 1


def test_only_what_came_before_counts() -> None:
    assert delivery_number(history(500, LOST, LOST), 2) == 2


def test_the_order_of_rows_is_of_no_account() -> None:
    assert delivery_number(reversed(history(500, LOST, 503)), 4) == 2


def test_the_key() -> None:
    assert delivery_key("0190-a", 3) == "0190-a.3"


class HonestTarget:
    """Does the work of a key once, and answers a repeated request from memory."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failed: set[str] = set()

    def succeeds(self, key: str) -> bool:
        if key not in self.done:
            self.done.append(key)
        return True

    def fails(self, key: str) -> bool:
        """Unless the work is done already: then it says so."""
        if key in self.done:
            return True
        self.failed.add(key)
        return False


#: What may happen to a request: whether it reaches the target, and what the attempt's row says afterwards.
FATES = (
    (False, LOST, None),
    (True, LOST, None),
    (False, TIMEOUT, None),
    (True, TIMEOUT, None),
    (False, RunStatus.FAILED, 502),
    (True, RunStatus.FAILED, 502),
    (False, RunStatus.FAILED, 503),
    (False, RunStatus.FAILED, None),
    (True, RunStatus.FAILED, 500),
)


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_target_that_honours_keys_does_the_work_once_whatever_happens(length: int) -> None:
    for fates in itertools.product(FATES, repeat=length):
        target = live(fates)
        assert len(target.done) == 1, fates


def live(fates: Sequence[tuple[bool, RunStatus, int | None]]) -> HonestTarget:
    """A run's life: these attempts, and then one that succeeds."""
    target, rows = HonestTarget(), list[Attempt]()
    for number, (arrives, status, status_code) in enumerate(fates, start=1):
        key = delivery_key("r", delivery_number(rows, number))
        assert key not in target.failed, "a target that remembers failures would answer with the old one"
        if status_code == 500 and target.fails(key):
            return target
        if arrives and status_code != 500:
            target.succeeds(key)
        rows.append(attempt(number, status, status_code))
    target.succeeds(delivery_key("r", delivery_number(rows, len(rows) + 1)))
    return target
