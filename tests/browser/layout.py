"""Whether a screen can be used as it is laid out: nothing cut off, nothing covered, nothing empty."""

from __future__ import annotations

import base64
from pathlib import Path

from playwright.sync_api import Page

_FAULTS = (Path(__file__).parent / "layout.js").read_text(encoding="utf-8")


def faults_of(page: Page) -> list[str]:
    found: list[str] = page.evaluate(_FAULTS)
    return found


def colours_of(page: Page, png: bytes) -> int:
    """How many different colours a screenshot has: one of nothing has few."""
    count: int = page.evaluate(
        """async (text) => {
          const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
          const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
          const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
          const context = canvas.getContext("2d");
          context.drawImage(bitmap, 0, 0);
          const data = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
          const seen = new Set();
          for (let at = 0; at < data.length; at += 28) seen.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
          return seen.size;
        }""",
        base64.b64encode(png).decode(),
    )
    return count
