"""The house rules that no linter knows: sizes, words, and what must not stand in this repository."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from agentclock.store.queries import Queries

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "src" / "agentclock"
MODULES: Final = sorted(SOURCE.rglob("*.py"))
TESTS: Final = sorted((ROOT / "tests").rglob("*.py"))
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

LONGEST_FUNCTION: Final = 60
LONGEST_MODULE: Final = 400
#: `path` or `path:function` and why it may be longer. Empty is best.
MAY_BE_LONG: Final[dict[str, str]] = {}

MUTABLE: Final = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
MUTABLE_TYPES: Final = frozenset({"dict", "list", "set", "defaultdict", "deque", "Counter", "OrderedDict"})

#: Other products' words for what the glossary calls run, agent run and schedule.
FOREIGN_WORDS: Final = re.compile(r"(^|_)(jobs?|cronjobs?|task_id|execution_id)(_|$)")
MAY_SPEAK_OTHERWISE: Final = {
    "store/sqlite_writer.py": "its jobs are write operations that wait for the one connection, not runs"
}

TEXT_FOLDERS: Final = ("src", "tests", "docs", "tools", "requirements", ".ci", "examples", "ops", "deploy")
TEXT_SUFFIXES: Final = frozenset(
    {"", ".css", ".html", ".in", ".js", ".json", ".md", ".py", ".sql", ".toml", ".tsv", ".txt", ".yaml", ".yml"}
)
#: Split, so that this file may contain what it forbids.
FORBIDDEN: Final = {
    "a package registry's host": r"py" + r"pi\.org|python" + r"hosted\.org|npm" + r"js\.org",
    "a path of somebody's machine": r"/work" + r"/|/root" + r"/|/home/[a-z]|/opt/py" + r"pi",
    "unfinished work": r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b",
    "a number of an issue": r"\b[Ii]ssue" + r" #?\d",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def every(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", [pytest.param(path, id=name_of(path)) for path in paths])


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def text_files() -> list[Path]:
    found = [path for path in ROOT.iterdir() if path.suffix in (".md", ".toml") or path.name in ("Makefile", "LICENSE")]
    for folder in TEXT_FOLDERS:
        found += (ROOT / folder).rglob("*")
    return sorted(
        path for path in found if path.is_file() and path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts
    )


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@every(MODULES)
def test_modules_and_functions_are_short(path: Path) -> None:
    short = path.relative_to(SOURCE).as_posix()
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_MODULE or short in MAY_BE_LONG, f"{lines} lines"
    too_long = {
        f"{short}:{function.name}": length
        for function in functions(tree_of(path))
        if (length := (function.end_lineno or function.lineno) - function.lineno + 1) > LONGEST_FUNCTION
    }
    assert not too_long.keys() - MAY_BE_LONG.keys(), too_long


def test_exceptions_are_still_needed() -> None:
    paths = {path.relative_to(SOURCE).as_posix() for path in MODULES}
    listed = [*MAY_BE_LONG, *MAY_SPEAK_OTHERWISE]
    assert not [entry for entry in listed if entry.partition(":")[0] not in paths]


@every(MODULES)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)), "give it a docstring"


@every(MODULES)
def test_no_mutable_state_at_module_level(path: Path) -> None:
    tree = tree_of(path)
    found = [line for line, target, final in _module_variables(tree) if not final and target != "__all__"]
    found += [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Global)]
    assert not found, f"annotate as Final, or move into an object: lines {found}"


def _module_variables(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Line, name and whether Final, of each variable of a module that holds something mutable."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=target), *_], value=value) if _is_mutable(value):
                yield node.lineno, target, False
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if _is_mutable(value):
                yield node.lineno, target, ast.unparse(node.annotation).startswith("Final")


def _is_mutable(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rpartition(".")[2] in MUTABLE_TYPES
    return isinstance(value, MUTABLE)


@every([path for path in MODULES if "cli" not in path.relative_to(SOURCE).parts])
def test_only_the_command_line_prints(path: Path) -> None:
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@every([path for path in MODULES if path.relative_to(SOURCE).as_posix() not in MAY_SPEAK_OTHERWISE])
def test_names_use_the_words_of_the_glossary(path: Path) -> None:
    foreign = {name for name in _names(tree_of(path)) if FOREIGN_WORDS.search(_snake(name))}
    assert not foreign, f"see docs/glossary.md: {sorted(foreign)}"


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@every(TESTS)
def test_no_test_is_skipped(path: Path) -> None:
    words = {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    assert not words & {"skip", "skipif", "xfail", "importorskip"}


def test_nothing_forbidden_stands_in_any_file() -> None:
    found = [
        f"{name_of(path)}:{number}: {what}: {line.strip()[:100]}"
        for path in text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for what, pattern in FORBIDDEN.items()
        if re.search(pattern, line)
    ]
    assert not found, "\n".join(found)


@every(sorted((ROOT / "requirements").glob("*.txt")))
def test_requirements_are_pinned_hashed_and_name_no_index(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    entries = re.findall(r"^[a-z0-9].*$", text, re.MULTILINE)
    assert entries
    assert all(re.match(r"[a-z0-9.-]+==\S+ .*\\$", entry) for entry in entries)
    assert text.count("--hash=sha256:") >= len(entries)
    assert not re.search(r"^\s*(--(extra-)?index-url|--find-links|-[if] )|://", text, re.MULTILINE)


def test_both_dialects_have_the_same_queries() -> None:
    assert Queries("sqlite").shared_names == Queries("postgres").shared_names


@every(PAGES)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert not [target for target in targets if not (path.parent / target).exists()]
