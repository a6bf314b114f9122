"""The documentation is true: generated pages are up to date, examples are accepted, names and links exist."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from enum import StrEnum
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Final, get_args

import pytest
import typer.main
from fastapi import Request
from structlog.testing import capture_logs

from agentclock.api import run_schemas, schemas
from agentclock.api.errors import error_response
from agentclock.cli.main import app as command_line
from agentclock.config import ENV_PREFIX, Settings
from agentclock.config.sources import IN_FILES
from agentclock.core import errors, events
from agentclock.core.cron import Cron, CronError
from agentclock.core.model import CatchUp, Cause, InstructionKind, Overlap, Reason, Run, RunStatus
from agentclock.core.zones import Zone
from agentclock.declaring.files import read_text
from agentclock.declaring.reading import Declarations
from agentclock.drafts import ScheduleDraft, SchedulePatch
from agentclock.engine.eventlog import log_event
from agentclock.executor.secrets import ENV_PREFIX as SECRET_PREFIX
from agentclock.runs import Answers

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
REFERENCE: Final = DOCS / "reference"
PAGES: Final = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
GUARANTEES: Final = DOCS / "guarantees.md"
#: Pages whose commands people copy.
GUIDES: Final = [
    ROOT / "README.md",
    GUARANTEES,
    *sorted((DOCS / "tutorial").glob("*.md")),
    *sorted((DOCS / "how-to").glob("*.md")),
]
#: Methods of a logger, and those of ours that take the name of a log event first.
LOGGERS: Final = frozenset({"debug", "info", "warning", "error", "exception", "went_wrong"})
#: Errors that the REST interface has no status for.
INNER_ERRORS: Final = frozenset({"ConfigError", "LeaseLost", "CorruptRow", "Denied"})
#: What errors are made with, where it is more than nothing.
ARGUMENTS: Final = {
    "InvalidField": ("name", "is wrong"),
    "InvalidFields": ([errors.InvalidField("name", "is wrong")],),
    "ManagedByOthers": ({"nightly": None},),
    "NameTaken": ("nightly",),
    "NotFound": ("Schedule",),
    "NotPaused": ("running",),
    "SchemaBehind": (4,),
    "LimitReached": ("Too many schedules", 10),
    "TooLarge": (1_000,),
    "TooOld": (60,),
    "TooManyRequests": (1.0,),
}
SETTING_HEADS: Final = ("setting", "environment variable", "value", "default", "meaning")
OTHER_VARIABLES: Final = frozenset({"AGENTCLOCK_CONFIG", "AGENTCLOCK_DEMO_MODEL", "AGENTCLOCK_TEST_PG_URL"})
#: What shell commands of clients call the server's address and a token for it.
CLIENT_VARIABLES: Final = frozenset({"AGENTCLOCK_URL", "AGENTCLOCK_TOKEN", "AGENTCLOCK_TOKEN_FILE"})


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def every(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", [pytest.param(path, id=name_of(path)) for path in paths])


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a page that are in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(path), re.MULTILINE | re.DOTALL)


def rows(path: Path, *heads: str) -> list[list[str]]:
    """The cells of the table with these heads, without the marks of code around them."""
    head = re.escape(f"| {' | '.join(heads)} |")
    body = re.search(rf"^{head}\n\|[-|]+\|\n((?:\|.*\n)+)", text_of(path), re.MULTILINE)
    assert body is not None, f"{name_of(path)} has no table {heads}"
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in body[1].splitlines()]


# generated pages


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """tools/reference as a module: it has no suffix, so nothing imports it by itself."""
    loader = SourceFileLoader("agentclock_tools_reference", str(ROOT / "tools" / "reference"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_generated_pages_are_up_to_date(generator: ModuleType) -> None:
    made: dict[str, str] = generator.pages()
    stale = [name for name, text in made.items() if not _stands_in(REFERENCE / name, text)]
    assert not stale, "run `make docs` and commit docs/reference"


def _stands_in(path: Path, text: str) -> bool:
    return path.exists() and text_of(path) == text


def test_the_generator_explains_nothing_that_does_not_exist(generator: ModuleType) -> None:
    pages = "\n".join(generator.pages().values())
    assert not [key for key, text in generator.SUPPLEMENT.items() if text not in pages]


def test_every_setting_is_in_the_reference() -> None:
    listed = {row[0]: row[1] for row in rows(REFERENCE / "settings.md", *SETTING_HEADS)}
    assert listed == {name: f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}


def test_every_command_and_option_is_in_the_reference() -> None:
    text = text_of(REFERENCE / "cli.md")
    commands = _commands()
    assert {f"agentclock {name}" for name in commands} <= set(re.findall(r"^## `(.+)`$", text, re.MULTILINE))
    missing = [option for options in commands.values() for option in options if f"{option}`" not in text]
    assert not [option for option in missing if f"`{option}," not in text]


def test_every_route_is_in_the_reference(generator: ModuleType) -> None:
    headings = set(re.findall(r"^## (\w+) `(.+)`$", text_of(REFERENCE / "rest.md"), re.MULTILINE))
    served = generator.openapi()["paths"]
    assert headings == {(method.upper(), path) for path, routes in served.items() for method in routes}
    assert len(headings) >= 14


def test_every_field_is_in_the_reference() -> None:
    text = text_of(REFERENCE / "fields.md")
    written = (ScheduleDraft, SchedulePatch, Answers)
    models = (*written, schemas.ScheduleDetail, run_schemas.Run, run_schemas.RunAttempt, run_schemas.RunUsage)
    names = {name for model in models for name in model.model_fields}
    assert not [name for name in sorted(names) if f"| `{name}` |" not in text]


def test_every_error_is_in_the_reference_with_its_status() -> None:
    listed = {row[0]: row[2] for row in rows(REFERENCE / "errors.md", "error", "under", "status", "meaning")}
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and name != "AgentclockError"}
    assert listed.keys() == {name for name, kind in kinds.items() if issubclass(kind, errors.AgentclockError)}
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
    for name, status in listed.items():
        if name not in INNER_ERRORS:
            with capture_logs():
                assert str(error_response(kinds[name](*ARGUMENTS.get(name, ())), request).status_code) == status, name


def test_every_accepted_cron_example_means_what_the_page_says() -> None:
    examples = rows(REFERENCE / "cron.md", "expression", "meaning")
    assert len(examples) >= 20
    assert examples == [[expression, Cron.parse(expression).explain()] for expression, _ in examples]


def test_every_rejected_cron_example_is_rejected_for_the_reason_given() -> None:
    examples = rows(REFERENCE / "cron.md", "expression", "field", "reason")
    assert len(examples) >= 15
    for expression, field, reason in examples:
        with pytest.raises(CronError) as caught:
            Cron.parse(expression)
        assert (caught.value.field, caught.value.reason) == (field, reason)


# words


@pytest.mark.parametrize("kind", [RunStatus, Cause, Overlap, CatchUp])
def test_the_glossary_has_every_word(kind: type[StrEnum]) -> None:
    text = text_of(DOCS / "glossary.md")
    assert not [word for word in kind if f"`{word}`" not in text]


def test_every_event_in_the_log_is_explained() -> None:
    text = text_of(DOCS / "how-to" / "troubleshoot.md")
    names = _names_of_logged_events() | _names_in_source()
    assert len(names) >= 30
    assert not [name for name in sorted(names) if f"`{name}`" not in text]


def test_every_reason_and_state_is_explained() -> None:
    text = text_of(DOCS / "how-to" / "troubleshoot.md")
    assert not [reason for reason in Reason if reason.text not in text]
    assert not [status for status in RunStatus if f"`{status}`" not in text]


def _names_of_logged_events() -> set[str]:
    """What the log says of every kind of event with every state that it can tell."""
    with capture_logs() as logged:
        for event in _all_events():
            log_event(event)
    return {line["event"] for line in logged}


def _all_events() -> Iterator[events.Event]:
    run = Run(id="run", schedule_id="schedule", cause=Cause.SCHEDULE, fire_at=0)
    values: dict[str, Any] = {"run": run, "cause": Cause.SCHEDULE, "reason": Reason.OVERLAP, "retry_in_seconds": 1.0}
    values["goes_on"] = None
    absent = {RunStatus.SKIPPED, RunStatus.MISSED}
    for kind in get_args(events.Event):
        given: dict[str, Any] = {field.name: values.get(field.name, 0) for field in fields(kind)}
        if kind is events.RunSettled:
            yield kind(**given | {"status": RunStatus.PENDING, "available_at": 1})
            yield kind(**given | {"status": RunStatus.PENDING, "goes_on": InstructionKind.ATTACH})
            ends = [status for status in RunStatus if status is RunStatus.PAUSED or status.is_final]
            yield from (kind(**given | {"status": end, "available_at": None}) for end in ends if end not in absent)
        elif kind is events.FiresAbsent:
            yield from (kind(**given | {"status": status}) for status in absent)
        else:
            yield kind(**given)


def _names_in_source() -> set[str]:
    """The first argument of every call that logs."""
    names = set()
    for path in (ROOT / "src" / "agentclock").rglob("*.py"):
        for node in ast.walk(ast.parse(text_of(path))):
            match node:
                case ast.Call(func=ast.Attribute(attr=method), args=[ast.Constant(value=str(name)), *_]):
                    names |= {name} if method in LOGGERS else set()
    return names


# examples


@every(GUIDES)
def test_schedules_in_examples_are_accepted(path: Path) -> None:
    for body in _posted_schedules(path):
        draft = ScheduleDraft.model_validate(body)
        Cron.parse(draft.cron_expr or "")
        Zone.load(draft.timezone)


@every(GUIDES)
def test_files_of_schedules_in_examples_are_read(path: Path) -> None:
    for block in blocks(path, "yaml"):
        if re.search(r"^schedules:$", block, re.MULTILINE):
            declarations = Declarations()
            read_text(block, path.name, None, declarations)
            assert not declarations.faults


def test_there_are_schedules_in_examples() -> None:
    assert sum(len(list(_posted_schedules(path))) for path in GUIDES) >= 8


@every(GUIDES)
def test_changes_in_examples_are_accepted(path: Path) -> None:
    for words in _requests(path):
        if _option(words, "-X") == "PATCH":
            SchedulePatch.model_validate(json.loads(_option(words, "-d") or "{}"))


def _posted_schedules(path: Path) -> Iterator[dict[str, Any]]:
    for words in _requests(path):
        body = _option(words, "-d")
        if body and any(word.endswith("/schedules") for word in words) and _option(words, "-X") in (None, "POST"):
            yield json.loads(body)


def _requests(path: Path) -> Iterator[list[str]]:
    """The words of every curl command in a page's shell blocks."""
    for block in blocks(path, "sh"):
        words = shlex.split(block, comments=True)
        starts = [place for place, word in enumerate(words) if word.removeprefix("ID=$(") == "curl"]
        for start, end in pairwise([*starts, len(words)]):
            yield words[start:end]


def _option(words: list[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words else None


@every(GUIDES)
def test_commands_in_examples_exist(path: Path) -> None:
    commands = _commands()
    for block in blocks(path, "sh"):
        for line in re.findall(r"^(?:\S+/)?agentclock (.*)$", block, re.MULTILINE):
            words = shlex.split(line, comments=True)
            name = next((name for name in (" ".join(words[:2]), words[0]) if name in commands), None)
            assert name is not None, line
            assert {word for word in words if word.startswith("-")} <= commands[name], line


def _commands() -> dict[str, set[str]]:
    """The options of each command by its full name."""
    found: dict[str, set[str]] = {}

    def collect(group: Any, prefix: str) -> None:
        for name, listed in group.commands.items():
            command = getattr(listed, "real", listed)
            if hasattr(command, "commands"):
                collect(command, f"{prefix}{name} ")
            else:
                found[prefix + name] = {word for option in command.params for word in option.opts if word[0] == "-"}

    collect(typer.main.get_command(command_line), "")
    return found


def test_everything_that_checks_a_guarantee_exists(generator: ModuleType) -> None:
    text = text_of(GUARANTEES)
    named = re.findall(r"`([^`\n]+)`", text)
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    assert _second_words(named, "make") <= targets
    assert _second_words(named, "agentclock") <= {name.split()[0] for name in _commands()}
    tests = _second_words(named, "pytest")
    assert not [path for path in tests if not (ROOT / path).is_file()]
    modules = {word for word in named if re.fullmatch(r"[a-z_]+(/[a-z_]+)+\.py", word)} - tests
    assert not [name for name in modules if not (ROOT / "src" / "agentclock" / name).is_file()]
    paths = {re.sub(r"\$\w+", "{schedule_id}", url) for url in re.findall(r"127\.0\.0\.1:7777(/[\w/$]+)", text)}
    assert paths <= generator.openapi()["paths"].keys()
    assert min(map(len, (tests, modules, paths))) > 0


def test_each_promise_names_its_mechanism_and_its_check() -> None:
    promises = rows(GUARANTEES, "promise", "kept by", "checked by")
    assert len(promises) >= 8
    for promise, kept_by, checked_by in promises:
        assert re.search(r"`?[a-z_]+/[a-z_]+\.py`", kept_by), promise
        assert re.search(r"(make|pytest|agentclock) \S", checked_by), promise


def _second_words(named: list[str], first: str) -> set[str]:
    return {words[1] for words in map(str.split, named) if words[0] == first and len(words) > 1}


@every(PAGES)
def test_python_in_examples_can_be_read(path: Path) -> None:
    for block in blocks(path, "python"):
        ast.parse(block)


@every(PAGES)
def test_environment_variables_in_pages_are_settings(path: Path) -> None:
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES | CLIENT_VARIABLES
    known |= {f"{ENV_PREFIX}{name.upper()}_FILE" for name in IN_FILES}
    named = set(re.findall(rf"\b{ENV_PREFIX}[A-Z_]+[A-Z]\b", text_of(path)))
    assert {name for name in named if not name.startswith(SECRET_PREFIX)} <= known


# links


@every(PAGES)
def test_links_lead_to_a_page_and_a_heading(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)#?([^)\s]*)\)", text_of(path))
    for target, anchor in links:
        page = (path.parent / target) if target else path
        assert page.exists(), target
        assert not anchor or anchor in _anchors(page), f"{target}#{anchor}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index() -> None:
    index = text_of(DOCS / "README.md")
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if page != DOCS / "README.md"]
    assert not [page for page in pages if f"]({page})" not in index]
