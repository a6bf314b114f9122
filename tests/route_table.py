"""Every route of the stand-alone server: what it asks for, and what it answers to whoever may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

READ: Final = ("schedules:read",)
WRITE: Final = ("schedules:write",)
DELETE: Final = ("schedules:delete",)
CANCEL: Final = ("runs:cancel", "schedules:write")
APPROVE: Final = ("runs:approve", "schedules:write")
ADMIN: Final = ("agent_os:admin",)

ONE: Final = "/schedules/{schedule_id}"
RUN: Final = ONE + "/runs/{run_id}"
NEW_YEAR: Final = {"from": "2024-12-31", "until": "2025-01-02"}
RUNS: Final = {"runs": [{"schedule_id": "{schedule_id}", "run_id": "{run_id}"}]}
DRAFT: Final = {"name": "{name} too", "endpoint": "/agents/greeter/runs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`scopes`: each one is enough; empty: whoever asks is answered. `status`: for whoever may."""

    method: str
    path: str
    scopes: tuple[str, ...]
    status: int = 200
    body: Any = None
    query: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_open(self) -> bool:
        return not self.scopes

    @property
    def only_reads(self) -> bool:
        return self.scopes in ((), READ)

    @property
    def is_of_one(self) -> bool:
        """Whether it is about a row that somebody owns."""
        return "{" in self.path and self.scopes != ADMIN and not self.path.startswith("/targets/")


def _row(scopes: tuple[str, ...], method: str, path: str, status: int = 200, body: Any = None, query: str = "") -> Row:
    return Row(method=method, path=path, scopes=scopes, status=status, body=body, query=query)


TABLE: Final = (
    _row((), "GET", "/health"),
    _row((), "GET", "/ready"),
    _row((), "GET", "/openapi.json"),
    _row((), "GET", "/docs"),
    _row((), "GET", "/docs/oauth2-redirect"),
    _row((), "GET", "/redoc"),
    _row(READ, "GET", "/info"),
    _row(READ, "GET", "/metrics"),
    _row(READ, "GET", "/schedules"),
    _row(WRITE, "POST", "/schedules", 201, DRAFT),
    _row(READ, "GET", "/schedules/preview", query="cron_expr=@daily"),
    _row(READ, "GET", "/schedules/events"),
    _row(READ, "GET", "/schedules/summary"),
    _row(READ, "GET", "/schedules/attention"),
    _row(READ, "GET", "/schedules/timeline"),
    _row(READ, "GET", "/schedules/statistics"),
    _row(READ, "GET", "/schedules/accounts"),
    _row(READ, "GET", f"{ONE}/statistics"),
    _row(READ, "GET", "/runs/failures"),
    _row(WRITE, "POST", "/schedules/apply", 200, {"manager": "somebody", "schedules": []}),
    _row(READ, "GET", ONE),
    _row(WRITE, "PATCH", ONE, 200, {"description": "changed"}),
    _row(DELETE, "DELETE", ONE, 204),
    _row(WRITE, "POST", f"{ONE}/enable"),
    _row(WRITE, "POST", f"{ONE}/disable"),
    _row(WRITE, "POST", f"{ONE}/trigger", 202, query="overlap=allow"),
    _row(WRITE, "POST", "/schedules/by-name/{name}/trigger", 202, query="overlap=allow"),
    _row(READ, "GET", f"{ONE}/backfills"),
    _row(WRITE, "POST", f"{ONE}/backfills", 201, {"from": "2023-12-31", "until": "2024-01-02"}),
    _row(CANCEL, "POST", f"{ONE}/backfills/{{backfill_id}}/cancel"),
    _row(READ, "GET", f"{ONE}/accounting"),
    _row(READ, "GET", f"{ONE}/revisions"),
    _row(READ, "GET", f"{ONE}/usage"),
    _row(READ, "GET", f"{ONE}/why"),
    _row(READ, "GET", f"{ONE}/runs"),
    _row(READ, "GET", RUN),
    _row(READ, "GET", f"{RUN}/events"),
    _row(CANCEL, "POST", f"{RUN}/cancel", 202),
    _row(APPROVE, "POST", f"{RUN}/continue", 202, {"action": "approve"}),
    _row(WRITE, "POST", f"{RUN}/retry", 409),
    _row(READ, "GET", "/targets"),
    _row(READ, "GET", "/targets/{name}/components"),
    _row(READ, "GET", "/workers"),
    _row(WRITE, "POST", "/schedules/bulk/enable", 200, {"ids": ["{schedule_id}"]}),
    _row(WRITE, "POST", "/schedules/bulk/disable", 200, {"ids": ["{schedule_id}"]}),
    _row(WRITE, "POST", "/schedules/bulk/trigger", 200, {"ids": ["{schedule_id}"]}),
    _row(DELETE, "POST", "/schedules/bulk/delete", 200, {"ids": ["{schedule_id}"]}),
    _row(CANCEL, "POST", "/runs/bulk/cancel", 200, RUNS),
    _row(WRITE, "POST", "/runs/bulk/retry", 200, RUNS),
    _row(READ, "GET", "/runs"),
    _row(READ, "GET", "/runs/{run_id}"),
    _row(READ, "GET", "/audit"),
    _row(ADMIN, "GET", "/owners"),
    _row(ADMIN, "POST", "/owners/{user_id}/revoke"),
    _row(ADMIN, "POST", "/owners/{user_id}/restore"),
    _row(ADMIN, "GET", "/webhooks"),
    _row(ADMIN, "POST", "/webhooks/{name}/test"),
    _row(READ, "GET", "/webhooks/notices"),
    _row(WRITE, "POST", "/webhooks/notices/{notice_id}/retry"),
)

#: Open to everybody, but not to wrong tokens: these have tests of their own.
SESSION: Final = (
    _row((), "GET", "/session"),
    _row((), "POST", "/session"),
    _row((), "DELETE", "/session", 204),
)

#: The dashboard, the same for everybody: tests of its own as well.
PAGES: Final = (
    _row((), "GET", "/"),
    _row((), "GET", "/assets/{version}/{path:path}"),
)

ALL_SCOPES: Final = frozenset(scope for row in TABLE for scope in row.scopes) - {*ADMIN}


def endpoints(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Method and path of each route that an app has, those of its routers among them."""
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is not None:
            yield from endpoints(router.routes)
        else:
            yield from ((method, route.path) for method in route.methods if method != "HEAD")
