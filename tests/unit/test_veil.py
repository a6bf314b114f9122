"""Texts that come in pieces: no piece of a secret is passed on, everything else is, in order and at once."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterable
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from agentclock.executor.blotting import HIDDEN, Blotter
from agentclock.executor.veil import Veil
from agentclock.ports import Said

SECRET = "tok-tok-X7yk/Q"
BLOTTER = Blotter([SECRET, "open sesame", "open"])
FORMS = [
    SECRET,
    "open sesame",
    quote(SECRET, safe=""),
    json.dumps(SECRET).replace("/", "\\/")[1:-1],
    "".join(f"\\u{ord(character):04x}" for character in SECRET),
    "".join(f"\\u{ord(character):04X}" for character in quote(quote(SECRET, safe=""), safe="")),
    quote("".join(f"\\u{ord(character):04x}" for character in SECRET), safe=""),
    SECRET[:8],
    "ope",
]
ENCODED = [SECRET.encode().hex(), base64.b64encode(b"u:" + SECRET.encode()).decode()]


def piece(text: str, index: int, speaker: str = "r", field: str = "content") -> Said:
    data = {"event": "RunContent", field: text, "event_index": index}
    return Said(type="RunContent", data=data, index=index, is_text=True, speaker=speaker)


def other(index: int) -> Said:
    return Said(type="ToolCallStarted", data={"tool": index}, index=index, speaker="r")


async def passed(events: Iterable[Said], blotter: Blotter = BLOTTER, *, is_end: bool = True) -> list[Said]:
    emitted: list[Said] = []
    veil = Veil(emitted.append, hold_seconds=60)
    for said in events:
        veil.pass_on(said, [name for name in ("content", "reasoning_content") if name in said.data], blotter)
    veil.flush(blotter, is_end=is_end)
    return emitted


def joined(events: Iterable[Said], speaker: str = "r", field: str = "content") -> str:
    return "".join(said.data.get(field, "") for said in events if said.speaker == speaker)


def cut(text: str, places: Iterable[int]) -> list[str]:
    ends = [*sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


words = st.text(st.sampled_from("tok-X7yk/Q open\\%u0\n"), max_size=12)
echoes = st.lists(st.one_of(words, st.sampled_from(FORMS)), max_size=6).map("".join)


@given(echo=echoes, places=st.lists(st.integers(0, 300), max_size=30), inserted=st.sets(st.integers(0, 30)))
def test_any_split_of_any_echo(echo: str, places: list[int], inserted: set[int]) -> None:
    """What arrives is what would have arrived in one piece; with other events in between as well."""
    events: list[Said] = []
    for number, text in enumerate(cut(echo, places)):
        events.append(piece(text, len(events)))
        if number in inserted:
            events.append(other(len(events)))
    emitted = asyncio.run(passed(events))
    assert joined(emitted) == BLOTTER.text(echo)
    assert [(said.type, said.index) for said in emitted] == [(said.type, said.index) for said in events]
    assert [said for said in emitted if said.type != "RunContent"] == [
        said for said in events if said.type != "RunContent"
    ]


@given(form=st.sampled_from(ENCODED), places=st.lists(st.integers(0, 60), max_size=20))
def test_any_split_of_an_encoded_secret(form: str, places: list[int]) -> None:
    """Three letters of it may be passed on: every third text would have to wait for letters that could begin it."""
    emitted = asyncio.run(passed(piece(text, number) for number, text in enumerate(cut(f"it is {form}!", places))))
    whole = BLOTTER.text(f"it is {form}!")
    before, _, after = whole.partition(HIDDEN)
    began = form[len(before) - len("it is ") :]
    assert joined(emitted) in [before + began[:length] + HIDDEN + after for length in range(4)]


@given(
    echo=echoes,
    places=st.lists(st.integers(0, 300), max_size=30),
    turns=st.lists(st.sampled_from(["a", "b"]), min_size=31, max_size=31),
)
def test_speakers_do_not_disturb_each_other(echo: str, places: list[int], turns: list[str]) -> None:
    pieces = cut(echo, places)
    events = [piece(text, number, turns[number]) for number, text in enumerate(pieces)]
    emitted = asyncio.run(passed(events))
    for speaker in ("a", "b"):
        said = "".join(text for text, turn in zip(pieces, turns, strict=False) if turn == speaker)
        assert joined(emitted, speaker) == BLOTTER.text(said)
    assert [said.index for said in emitted] == list(range(len(events)))


@given(places=st.lists(st.integers(0, 60), max_size=20), late=st.integers(0, 20), form=st.sampled_from(FORMS[:2]))
def test_when_time_is_up_in_the_middle(places: list[int], late: int, form: str) -> None:
    """At most three characters of a secret are passed on, and never the rest of it."""

    async def main() -> list[Said]:
        emitted: list[Said] = []
        veil = Veil(emitted.append, hold_seconds=60)
        for number, text in enumerate(cut(f"it is {form}!", places)):
            veil.pass_on(piece(text, number), ["content"], blotter)
            if number == late:
                veil.flush(blotter)
        veil.flush(blotter, is_end=True)
        return emitted

    blotter = Blotter([form])
    shown = joined(asyncio.run(main()))
    assert shown in [f"it is {form[:length]}{HIDDEN}!" for length in range(4)]


async def test_nothing_waits_without_a_reason() -> None:
    emitted: list[Said] = []
    veil = Veil(emitted.append)
    for number, text in enumerate(["Hello", " all", ", here", " we are."]):
        veil.pass_on(piece(text, number), ["content"], Blotter(["zzzz-secret"]))
        assert len(emitted) == number + 1


async def test_what_waits_is_let_go_after_a_while() -> None:
    emitted: list[Said] = []
    veil, all_there = Veil(emitted.append, hold_seconds=0.01), asyncio.Event()
    veil.pass_on(piece("to ope", 0), ["content"], BLOTTER)
    veil.pass_on(other(1), [], BLOTTER)
    assert emitted == []
    asyncio.get_running_loop().call_later(0.05, all_there.set)
    await all_there.wait()
    assert [said.index for said in emitted] == [0, 1]
    assert joined(emitted) == "to ope"


async def test_a_large_part_of_a_secret_is_hidden_when_it_goes_on_elsewhere() -> None:
    """At the end of what one worker hears it is not known what the next one will hear."""
    emitted = await passed([piece(f"it is {SECRET[:10]}", 0)], is_end=False)
    assert joined(emitted) == f"it is {HIDDEN}"
    emitted = await passed([piece(f"it is {SECRET[:10]}", 0)], is_end=True)
    assert joined(emitted) == f"it is {SECRET[:10]}"


async def test_two_texts_of_one_event() -> None:
    events = [
        Said(type="RunContent", data={"content": first, "reasoning_content": second}, speaker="r")
        for first, second in (("it is tok-t", "no"), ("ok-X7yk/Q", " open"), ("!", " sesame"))
    ]
    emitted = await passed(events)
    assert (joined(emitted), joined(emitted, field="reasoning_content")) == (f"it is {HIDDEN}!", f"no {HIDDEN}")


async def test_memory_is_bounded() -> None:
    emitted: list[Said] = []
    veil = Veil(emitted.append, hold_seconds=60)
    veil.pass_on(piece("tok-", 0), ["content"], BLOTTER)
    for number in range(1, 1_001):
        veil.pass_on(other(number), [], BLOTTER)
    assert len(emitted) == 1_001
