"""An OpenAI-compatible endpoint on loopback: enough of `/chat/completions` for agno's OpenAIChat."""

from __future__ import annotations

import json
from typing import Any, Self

from aiohttp import web


class OpenAIStub:
    """Answers every conversation with `words`; `asked` holds the requests."""

    def __init__(self, *words: str) -> None:
        self.words = words or ("Hello", " from", " the", " stub.")
        self.asked: list[dict[str, Any]] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        frame = {"id": f"chat-{len(self.asked)}", "created": 1, "model": body["model"]}
        usage = {"prompt_tokens": 7, "completion_tokens": len(self.words), "total_tokens": 7 + len(self.words)}
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(self.words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({**frame, "object": "chat.completion", "choices": [choice], "usage": usage})
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for number, word in enumerate(self.words):
            delta = {"content": word} | ({} if number else {"role": "assistant"})
            await _send(answer, frame | _chunk({"index": 0, "delta": delta, "finish_reason": None}))
        await _send(answer, frame | _chunk({"index": 0, "delta": {}, "finish_reason": "stop"}))
        await _send(answer, frame | _chunk() | {"usage": usage})
        await answer.write(b"data: [DONE]\n\n")
        return answer


def _chunk(*choices: dict[str, Any]) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": list(choices)}


async def _send(answer: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await answer.write(f"data: {json.dumps(chunk)}\n\n".encode())
