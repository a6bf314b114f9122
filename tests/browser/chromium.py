"""A real Chromium, and pages of it that remember whatever went wrong on them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

#: For what comes at once on an idle machine: a busy one must not fail a test.
PATIENCE_MS = 30_000
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

#: Runs before any script of a page: what the browser refused, and what an injected text managed to do.
_WATCH = """
window.__refused = [];
window.__executed = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.__refused.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
});
window.alert = window.confirm = window.prompt = (text) => { window.__executed.push(String(text)); };
"""


def executable() -> str:
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    assert found is not None, "the browser tests need Chromium: apt install chromium (or run `make setup` as root)"
    return found


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=executable(), args=list(_OPTIONS))


@dataclass
class Trouble:
    """What no page of ours may ever do. `console`: errors that scripts reported; answers of 4xx and 5xx are not among
    them, as tests provoke these."""

    errors: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.console.append(message.text)


@contextmanager
def watched(
    browser: Browser,
    base_url: str,
    *,
    width: int = 1280,
    height: int = 900,
    theme: str = "light",
    zone: str = "Europe/Rome",
    reduced_motion: str = "reduce",
) -> Iterator[Page]:
    """A page of its own; at the end nothing may have gone wrong on it."""
    context = browser.new_context(
        base_url=base_url,
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce" if reduced_motion == "reduce" else "no-preference",
        timezone_id=zone,
        locale="en-GB",
    )
    context.add_init_script(_WATCH)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    trouble = Trouble()
    trouble.watch(page)
    try:
        yield page
        assert_untroubled(context, trouble)
    finally:
        context.close()


def assert_untroubled(context: BrowserContext, trouble: Trouble) -> None:
    for page in context.pages:
        assert page.evaluate("window.__refused") == []
        assert page.evaluate("window.__executed") == []
    assert trouble.errors == []
    assert trouble.console == []
