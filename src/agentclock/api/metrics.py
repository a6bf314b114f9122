"""GET /metrics: what Prometheus reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response

from agentclock.api.auth import Admission, Guard, OpenGuard, Permission
from agentclock.api.requests import ApiRoute
from agentclock.api.schemas import json_answer

#: All metrics as text and its content type, in the format that an Accept header prefers.
Exposition = Callable[[str], Awaitable[tuple[bytes, str]]]

_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "All metrics, in Prometheus's text format or as OpenMetrics if that is asked for.",
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/openmetrics-text": {"schema": {"type": "string"}},
        },
    },
    401: json_answer(401),
    403: json_answer(403),
    414: json_answer(414),
    429: json_answer(429),
}


def build_metrics_router(exposition: Exposition, *, guard: Guard | None = None) -> APIRouter:
    """`guard` None: everybody may ask. Names of all owners' schedules stand in the metrics."""

    async def metrics(request: Request) -> Response:
        """Metrics of this process and its database. Answers at once, also while the database is away."""
        text, content_type = await exposition(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    router = APIRouter(tags=["Status"], route_class=ApiRoute)
    router.add_api_route(
        "/metrics",
        metrics,
        methods=["GET"],
        dependencies=[Depends(Admission(guard or OpenGuard(), Permission.READ))],
        responses=_ANSWER,
        response_class=Response,
        response_model=None,
    )
    return router
