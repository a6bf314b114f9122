"""Who is asking."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Depends


async def current_user() -> str | None:
    """The owner to whose schedules the caller is confined; None: not confined."""
    return None


User: TypeAlias = Annotated[str | None, Depends(current_user)]
