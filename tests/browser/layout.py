"""Whether a screen can be used as it is laid out: nothing cut off, nothing covered, nothing empty."""

from __future__ import annotations

from playwright.sync_api import Page

#: Everything that somebody can act on or read. Boxes that scroll by themselves may be wider within.
_FAULTS = """
() => {
  const faults = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width + 1) {
    faults.push(`the page scrolls sideways: ${document.documentElement.scrollWidth} > ${width}`);
  }
  const name = (element) => `<${element.tagName.toLowerCase()}> ${(element.getAttribute("aria-label") || element.textContent || element.id || "").trim().slice(0, 40)}`;
  const scrolls = (element) => {
    for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
      if (/(auto|scroll)/.test(getComputedStyle(at).overflowX) && at.scrollWidth > at.clientWidth) return true;
    }
    return false;
  };
  const visible = (element) => element.checkVisibility({ contentVisibilityAuto: true, visibilityProperty: true }) && element.getClientRects().length > 0;
  const hidden = (element) => element.closest(".visually-hidden, .skip, [aria-hidden=true]") !== null;
  const actions = [...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
    .filter((element) => visible(element) && !hidden(element));
  for (const element of actions) {
    const box = element.getBoundingClientRect();
    if ((box.left < -1 || box.right > width + 1) && !scrolls(element)) {
      faults.push(`${name(element)} reaches out of the page: ${Math.round(box.left)}..${Math.round(box.right)} of ${width}`);
    }
    const inline = getComputedStyle(element).display === "inline";
    if (!inline && (box.width < 23.5 || box.height < 23.5) && !element.matches("input[type=checkbox], input[type=radio]")) {
      faults.push(`${name(element)} is too small to hit: ${Math.round(box.width)} x ${Math.round(box.height)}`);
    }
    if (element.tagName === "BUTTON" && element.scrollWidth > element.clientWidth + 2) {
      faults.push(`${name(element)} does not fit its own text`);
    }
  }
  const inView = actions.filter((element) => {
    const box = element.getBoundingClientRect();
    return box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= width && !scrolls(element);
  });
  for (const element of inView) {
    const box = element.getBoundingClientRect();
    const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    const covers = top && !element.contains(top) && !top.contains(element) && !top.closest("label")?.contains(element) && !element.closest("label")?.contains(top);
    if (covers && !document.querySelector("dialog[open]")) faults.push(`${name(element)} is covered by ${name(top)}`);
  }
  return faults;
}
"""


def faults_of(page: Page) -> list[str]:
    found: list[str] = page.evaluate(_FAULTS)
    return found


def colours_of(page: Page, png: bytes) -> int:
    """How many different colours a screenshot has: one of nothing has few."""
    count: int = page.evaluate(
        """async (bytes) => {
          const bitmap = await createImageBitmap(new Blob([new Uint8Array(bytes)], { type: "image/png" }));
          const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
          const context = canvas.getContext("2d");
          context.drawImage(bitmap, 0, 0);
          const data = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
          const seen = new Set();
          for (let at = 0; at < data.length; at += 4 * 7) seen.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
          return seen.size;
        }""",
        list(png),
    )
    return count
