"""The dashboard's files keep their promises: small, without markup from text, no loose ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import agentclock.ui
from agentclock.ui.files import load_bundle, slim

STATIC = Path(agentclock.ui.__file__).parent / "static"
SCRIPTS = sorted(STATIC.rglob("*.js"))
#: As app.js loads them.
SCREENS = re.findall(r"import\(\"\./(screens/[^\"]+)\"", (STATIC / "app.js").read_text(encoding="utf-8"))
#: Whatever would turn a text into markup, a script or a style, or ask another host.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|createContextualFragment"
    r"|srcdoc|setAttribute\(\"(?:on|style)|https?://(?!www\.w3\.org/2000/svg)"
)
LONGEST_MODULE_LINES = 250
LONGEST_LINE = 160
HEAVIEST_BYTES = 60 * 1024


def loaded_with(script: Path) -> set[Path]:
    """The module, what it imports, and what that imports."""
    found, fresh = {script}, [script]
    while fresh:
        module = fresh.pop()
        for path in re.findall(r"from \"(\.[^\"]+)\"", module.read_text(encoding="utf-8")):
            other = (module.parent / path).resolve()
            if other not in found:
                found.add(other)
                fresh.append(other)
    return found


@pytest.mark.parametrize(
    "screen", re.findall(r"import\(\"\./(screens/[^\"]+)\"", (STATIC / "app.js").read_text("utf-8"))
)
def test_a_page_is_lighter_than_60_kilobytes(screen: str) -> None:
    files = load_bundle().files
    scripts = loaded_with(STATIC / "app.js") | loaded_with(STATIC / screen) | loaded_with(STATIC / "palette.js")
    paths = {path.relative_to(STATIC).as_posix() for path in scripts} | {"index.html", "style.css", "icon.svg"}
    assert len(paths) > 10
    assert sum(len(files[path].gzipped) for path in paths) < HEAVIEST_BYTES


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_a_module_is_short_and_never_makes_markup_of_text(script: Path) -> None:
    lines = script.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_MODULE_LINES
    assert [line for line in lines if len(line) > LONGEST_LINE] == []
    assert [line for line in lines if FORBIDDEN.search(line)] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_what_a_module_imports_is_there(script: Path) -> None:
    imported = re.findall(r"(?:from|import\() ?\"(\.[^\"]+)\"", script.read_text(encoding="utf-8"))
    assert [path for path in imported if not (script.parent / path).is_file()] == []


def test_every_module_is_used() -> None:
    texts = "\n".join(path.read_text(encoding="utf-8") for path in [*SCRIPTS, STATIC / "index.html"])
    assert [path.name for path in SCRIPTS if f'/{path.name}"' not in texts] == []


def test_the_page_has_no_script_or_style_of_its_own() -> None:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<style|<script>|\sstyle=|\son[a-z]+=", page) == []


def test_files_are_served_under_what_they_say() -> None:
    first, second = load_bundle(), load_bundle()
    assert first.version == second.version
    assert {path for path, file in first.files.items() if not file.body} == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_nothing_but_comments_and_blanks_is_left_out(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    # A template over several lines would lose its blanks.
    assert [line for line in text.splitlines() if line.count("`") % 2] == []
    code = re.sub(r"/\*\*?(?:(?!\*/).)*\*/", "", text, flags=re.DOTALL)
    code = "\n".join(line for line in code.splitlines() if not line.strip().startswith("//"))
    served = re.sub(r"/\*\*?(?:(?!\*/).)*\*/", "", slim(text), flags=re.DOTALL)
    assert "".join(served.split()) == "".join(code.split())


def test_what_is_slimmed() -> None:
    script = """/** What it does.
 * @module
 */
import { h } from "./lib.js";

// Why.
  const a = /** @type {any} */ (b) / 2; // not alone
  /** @type {Set<string>} */
  const url = "http://x"; const glob = "/* no comment */";
"""
    assert slim(script) == (
        'import { h } from "./lib.js";\nconst a = (b) / 2; // not alone\n'
        'const url = "http://x"; const glob = "/* no comment */";\n'
    )
