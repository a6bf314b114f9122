from __future__ import annotations

from typing import Any

import pytest

from agentclock.core.origins import read_origin
from agentclock.executor.targets import TargetSettings

BASE = TargetSettings(name="t", base_url="http://host:81")
PREFIXED = TargetSettings(name="t", base_url="https://host/api/v1/")


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("/agents/a/runs", "http://host:81/agents/a/runs"),
        ("/x?a=1&b=%20", "http://host:81/x?a=1&b=%20"),
        ("/", "http://host:81/"),
        ("/@evil.example/x", "http://host:81/@evil.example/x"),
        ("/a//b", "http://host:81/a//b"),
        ("/x?next=http://evil.example/..", "http://host:81/x?next=http://evil.example/.."),
        ("/größe", "http://host:81/gr%C3%B6%C3%9Fe"),
        ("/...", "http://host:81/..."),
    ],
)
def test_endpoints_are_joined(endpoint: str, url: str) -> None:
    assert str(BASE.url_for(endpoint)) == url


def test_a_prefix_of_the_base_url_is_kept() -> None:
    assert str(PREFIXED.url_for("/agents/a/runs")) == "https://host/api/v1/agents/a/runs"


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "agents",
        "http://evil.example/",
        "@evil.example/",
        ".evil.example/",
        ":82/",
        "//evil.example/x",
        "/\\evil.example",
        "\\\\evil.example",
        "/../x",
        "/a/../../x",
        "/a/%2e%2e/x",
        "/a/%2E./x",
        "/..",
        "/./x",
        "/a/..%5c..%5cx",
        "/x#fragment",
        "/a b",
        "/a\tb",
        "/a\r\nHost: evil.example",
        "/a\0",
    ],
)
def test_no_endpoint_leads_away(endpoint: str) -> None:
    for target in (BASE, PREFIXED):
        with pytest.raises(ValueError, match=r"endpoint .* (must|leads away)"):
            target.url_for(endpoint)


@pytest.mark.parametrize(
    ("base_url", "problem"),
    [
        ("ftp://host", "must look like"),
        ("host:80", "must look like"),
        ("", "must look like"),
        ("http://", "must look like"),
        ("http://host:99999", "is not a URL"),
        ("http://me:secret@host", "no user or password"),
        ("http://host/?a=1", "no query"),
        ("http://host/#x", "no query and no fragment"),
        ("http://host/#", "no query and no fragment"),
        ("http://host?", "no query and no fragment"),
        ("http://me:secret@host:99999", "no user or password"),
        ("http://127.1", "four decimal numbers"),
        ("http://host\\@elsewhere", "no user or password"),
        ("http://ho st", "blanks"),
    ],
)
def test_base_urls_that_cannot_work_are_named(base_url: str, problem: str) -> None:
    problems = TargetSettings(name="hooks", base_url=base_url).problems()
    assert len(problems) == 1
    assert "target 'hooks'" in problems[0]
    assert problem in problems[0]
    assert "secret" not in problems[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "evil"),
        ("content-length", "3"),
        ("Transfer-Encoding", "chunked"),
        ("X-Agentclock-Run", "x"),
        ("X-Schedule-Owner", "root"),
        ("Idempotency-Key", "1"),
        ("Bad Name", "x"),
        ("X-A", "one\r\nX-B: two"),
        ("X-A", "größe \u20ac"),
    ],
)
def test_headers_that_are_not_to_be_set(name: str, value: str) -> None:
    problems = TargetSettings(name="t", base_url="http://h", headers={name: value}).problems()
    assert len(problems) == 1
    assert value not in problems[0] or len(value) == 1


def test_good_settings_have_no_problems_and_hide_their_headers() -> None:
    target = TargetSettings(name="t", base_url="http://h", headers={"Authorization": "Bearer s3cret"})
    assert target.problems() == []
    assert "s3cret" not in repr(target)
    assert TargetSettings(name="t", base_url="http://h", kind="soap").problems() == [
        "target 't': kind 'soap' must be agentos or http"
    ]


def test_credentials_become_a_header() -> None:
    token = TargetSettings(name="t", base_url="http://h", headers={"X-A": "1"}, token="s3cret")
    assert token.complete().headers == {"X-A": "1", "Authorization": "Bearer s3cret"}
    basic = TargetSettings(name="t", base_url="http://h", basic_auth="ümit:p:w").complete()
    assert basic.headers == {"Authorization": "Basic w7xtaXQ6cDp3"}
    assert basic.hidden == ("ümit:p:w", "p:w")
    for target in (token, basic, token.complete()):
        assert target.has_credentials
        assert target.bearing("other") is target
        assert "s3cret" not in repr(target)
        assert "p:w" not in repr(target)
    assert TargetSettings(name="t", base_url="http://h").bearing("x").complete().headers == {
        "Authorization": "Bearer x"
    }


def test_secrets_stand_where_their_names_stood() -> None:
    headers = {"X-Key": "${secret:key}"}
    target = TargetSettings(name="t", base_url="http://h", headers=headers, basic_auth="me:${secret:word}")
    assert target.problems() == []
    filled = target.complete(lambda text: text.replace("${secret:key}", "k").replace("${secret:word}", "w"))
    assert filled.headers == {"X-Key": "k", "Authorization": "Basic bWU6dw=="}
    with pytest.raises(ValueError, match="header X-Key must be one line") as caught:
        target.complete(lambda _: "s3cret\nX-B: y")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"token": "a", "basic_auth": "a:b"}, "token and basic_auth are two ways to say who calls; keep one"),
        ({"token": "a", "headers": {"authorization": "b"}}, "header authorization and token are two ways"),
        ({"headers": {"authorization": "a", "Authorization": "b"}}, "are two ways"),
        ({"basic_auth": "s3cret"}, "basic_auth must be user:password"),
        ({"token": "s3cret\nX: y"}, "token must be one line"),
        ({"networks": ("10.0.0.1/8",)}, "the network is 10.0.0.0/8"),
    ],
)
def test_credentials_and_networks_that_are_of_no_use(changes: dict[str, Any], problem: str) -> None:
    [found] = TargetSettings(name="t", base_url="http://h", **changes).problems()
    assert problem in found
    assert "s3cret" not in found


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("https://hooks.example", "https://hooks.example"),
        ("https://HOOKS.example:443/a%2Fb?x=1&y", "https://hooks.example/a%2Fb?x=1&y"),
    ],
)
def test_an_origin_takes_its_own_endpoints_only(endpoint: str, url: str) -> None:
    target = TargetSettings.for_origin(read_origin("https://hooks.example"))
    assert (target.kind, target.headers, target.has_credentials) == ("http", {}, False)
    assert str(target.url_for(endpoint)) == url
    for other in (
        "/x",
        "http://hooks.example/",
        "https://hooks.example:444/",
        "https://hooks.example.test/",
        f"{endpoint}#x",
    ):
        with pytest.raises(ValueError, match="endpoint"):
            target.url_for(other)
