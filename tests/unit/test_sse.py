from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentclock.executor.sse import SseDecoder, SseEvent


def decoded(*chunks: bytes, size_limit: int = 1024) -> list[tuple[str, str]]:
    decoder = SseDecoder(size_limit=size_limit)
    return [(event.type, event.data) for chunk in chunks for event in decoder.feed(chunk)]


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: a\n\n", [("message", "a")]),
        (b"data: a\r\n\r\n", [("message", "a")]),
        (b"data: a\r\r", [("message", "a")]),
        (b"event: x\rdata: a\n\r\n", [("x", "a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("message", "a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"data:a\ndata:  b\ndata\n\n", [("message", "a\n b\n")]),
        (b"data\n\n", [("message", "")]),
        (b"data:\ndata:\n\n", [("message", "\n")]),
        (b"event: x\n\ndata: a\n\n", [("message", "a")]),
        (b"id: 1\n\n", []),
        (b"retry: 10\n\n", []),
        (b": comment\n\ndata: a\n: more\n\n", [("message", "a")]),
        (b"data: a\nunknown: b\nDATA: c\n data: d\n\n", [("message", "a")]),
        (b"event: x\ndata: a\nevent: y\n\n", [("y", "a")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [("x", "a"), ("message", "b")]),
        (b"data: a\n\n\n\ndata: b\n\n", [("message", "a"), ("message", "b")]),
        (b"data: a", []),
        (b"data: a\n", []),
        (b"data: a\n\ndata: b\n", [("message", "a")]),
        ("data: Grüße 🕰\n\n".encode(), [("message", "Grüße 🕰")]),
        (b"data: \xff\xc3\n\n", [("message", "\ufffd\ufffd")]),
        (b'data: {"a": "b: c"}\n\n', [("message", '{"a": "b: c"}')]),
    ],
)
def test_the_standard(raw: bytes, events: list[tuple[str, str]]) -> None:
    assert decoded(raw) == events
    assert decoded(*(raw[n : n + 1] for n in range(len(raw)))) == events


def test_ids_stay_until_changed_and_one_with_nul_is_ignored() -> None:
    decoder = SseDecoder()
    events = decoder.feed(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid\ndata: d\n\n")
    assert [(event.data, event.id) for event in events] == [("a", "1"), ("b", "1"), ("c", "1"), ("d", "")]


def test_retry_takes_digits_only() -> None:
    decoder = SseDecoder()
    decoder.feed(b"retry: 1500\n\nretry: 2s\n\nretry: -1\n\n")
    assert decoder.retry_ms == 1500


@pytest.mark.parametrize(
    "big",
    [
        b"data: " + b"x" * 100 + b"\n\n",
        b"data: " + b"x" * 40 + b"\ndata: " + b"x" * 40 + b"\n\n",
        b": " + b"x" * 100 + b"\ndata: a\n\n",
        b"event: y\ndata: " + b"x" * 100 + b"\r\nid: 7\r\n\r\n",
    ],
)
def test_an_event_that_is_too_big_is_dropped_and_the_stream_goes_on(big: bytes) -> None:
    for size in (1, 7, 1000):
        raw = big + b"data: next\n\n"
        decoder = SseDecoder(size_limit=64)
        chunks = [raw[n : n + size] for n in range(0, len(raw), size)]
        assert [event for chunk in chunks for event in decoder.feed(chunk)] == [SseEvent(type="message", data="next")]
        assert decoder.oversized == 1


def test_an_endless_line_takes_no_memory() -> None:
    decoder = SseDecoder(size_limit=1000)
    for _ in range(1000):
        assert decoder.feed(b"x" * 500) == []
        assert len(decoder._tail) <= 1000


PIECES = st.sampled_from(
    [
        *(b"data", b"event", b"id", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf"),
        *(b"\0", b"7", "ü".encode(), "🕰".encode(), b"\xff", b"data: some longer line", b"x" * 20),
    ]
)


@given(pieces=st.lists(PIECES, max_size=40), cuts=st.lists(st.integers(0, 200), max_size=12))
@example(pieces=[b"data: some longer line", b"\r", b"\n", b"\r", b"\n"], cuts=[23, 24])
@example(pieces=[b"data", b"\r", b"7", b"\n", b"\n"], cuts=[6])
def test_any_split_gives_the_same_events(pieces: list[bytes], cuts: list[int]) -> None:
    raw = b"".join(pieces)
    whole, split = SseDecoder(size_limit=48), SseDecoder(size_limit=48)
    expected = whole.feed(raw)
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    events = [event for start, end in pairwise(edges) for event in split.feed(raw[start:end])]
    assert events == expected
    assert (split.oversized, split.retry_ms) == (whole.oversized, whole.retry_ms)
