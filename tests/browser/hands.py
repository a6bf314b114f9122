"""Two ways of doing the same: with a mouse, and with a keyboard alone."""

from __future__ import annotations

import re
from typing import Protocol

from playwright.sync_api import Locator, Page

#: Somebody who has not arrived after so many presses of Tab has given up.
_PATIENCE = 400


def labelled(page: Page, label: str) -> Locator:
    """A field by the beginning of its label: a label around a list of choices has their words in it, too."""
    return page.get_by_label(re.compile(f"^{re.escape(label)}")).first


class Hand(Protocol):
    page: Page

    def press(self, name: str, role: str = "button") -> None: ...

    def press_at(self, place: Locator) -> None: ...

    def write(self, label: str, text: str) -> None: ...

    def tick(self, label: str) -> None: ...


class Mouse:
    """Goes to things by pointing at them."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, name: str, role: str = "button") -> None:
        self.press_at(self.page.get_by_role(role, name=name, exact=True).first)  # type: ignore[arg-type]

    def press_at(self, place: Locator) -> None:
        place.click()

    def write(self, label: str, text: str) -> None:
        field = labelled(self.page, label)
        if field.evaluate("(element) => element.tagName") == "SELECT":
            field.select_option(text)
        else:
            field.fill(text)

    def tick(self, label: str) -> None:
        labelled(self.page, label).check()


class Keyboard:
    """Goes to things with Tab, as somebody without a mouse has to, and presses keys there."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, name: str, role: str = "button") -> None:
        self.press_at(self.page.get_by_role(role, name=name, exact=True).first)  # type: ignore[arg-type]

    def press_at(self, place: Locator) -> None:
        self._go_to(place)
        self.page.keyboard.press("Enter")

    def write(self, label: str, text: str) -> None:
        field = labelled(self.page, label)
        self._go_to(field)
        if field.evaluate("(element) => element.tagName") == "SELECT":
            self._choose(field, text)
        else:
            self.page.keyboard.press("Control+a")
            self.page.keyboard.insert_text(text)

    def tick(self, label: str) -> None:
        self._go_to(labelled(self.page, label))
        self.page.keyboard.press("Space")

    def _choose(self, field: Locator, value: str) -> None:
        self.page.keyboard.press("Home")
        for _ in range(_PATIENCE):
            if field.input_value() == value:
                return
            self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"no key chooses {value}")

    def _go_to(self, place: Locator) -> None:
        place.wait_for()
        for _ in range(_PATIENCE):
            if place.evaluate("(element) => document.activeElement === element"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError("no key leads there")
