"""The secrets that messages to webhooks are signed with, as the Standard Webhooks specification writes them."""

from __future__ import annotations

import base64
import binascii
from typing import Final

PREFIX: Final = "whsec_"


def signing_key(secret: str) -> bytes:
    """The bytes that `whsec_` and base64 stand for. Raises ValueError, without a word of the secret."""
    encoded = secret.strip().removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a webhook's secret is {PREFIX} and base64") from None
    if not key:
        raise ValueError(f"a webhook's secret is {PREFIX} and base64, and not empty")
    return key
