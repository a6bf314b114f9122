"""Which attempts of a run send one and the same request.

A target that is told to do something twice can know it by the key of the request. So the key must stay the same as
long as nobody knows what became of the request, and must change once the target has said that it failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

from agentclock.core.model import Attempt, RunStatus

#: Answers of a gateway that heard nothing of use from the target behind it, which may have done the work.
_FROM_A_GATEWAY: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})

#: Answers by which a target (or what stands before it) says that it has not dealt with the request.
_NOT_DEALT_WITH: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    }
)


class _News(Enum):
    """What the end of an attempt says of the request that it sent."""

    #: It is over: the target has dealt with it.
    DEALT_WITH = auto()
    #: Nobody knows whether it was dealt with.
    UNKNOWN = auto()
    #: It was not dealt with this time; what became of it earlier is as unknown as before.
    NONE = auto()


def delivery_key(run_id: str, number: int) -> str:
    """What targets know the request by that attempt `number` of the run was the first to send."""
    return f"{run_id}.{number}"


def delivery_number(attempts: Iterable[Attempt], number: int) -> int:
    """The number of the attempt that first sent the request which attempt `number` is about to send.

    That is its own number, unless an earlier attempt ended as nobody knows and none after it was told that the request
    had been dealt with. Of an attempt without a row nobody knows anything.
    """
    earlier = {attempt.number: attempt for attempt in attempts}
    sent = None
    for past in range(1, number):
        news = _news_of(earlier.get(past))
        if news is _News.DEALT_WITH:
            sent = None
        elif news is _News.UNKNOWN and sent is None:
            sent = past
    return number if sent is None else sent


def _news_of(attempt: Attempt | None) -> _News:
    if attempt is None or attempt.status not in (RunStatus.FAILED, RunStatus.SUCCESS):
        return _News.UNKNOWN
    if attempt.status_code is None:  # no connection was made
        return _News.NONE
    if attempt.status_code in _FROM_A_GATEWAY:
        return _News.UNKNOWN
    return _News.NONE if attempt.status_code in _NOT_DEALT_WITH else _News.DEALT_WITH
