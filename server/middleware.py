"""Around every request: its id, forgiving paths, one JSON log line, the common metrics, errors in one shape."""

from __future__ import annotations

import json
import logging
import re
import time
import traceback
import uuid

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import ApiError
from server.metrics import Metrics

_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_API_HEADS = ("/chat/", "/models")

access_log = logging.getLogger("burnish.access")


def canonical_path(path: str) -> str:
    """`/chat/completions`, `/v1/v1/chat/completions` and a trailing slash all mean the same path."""
    path = re.sub(r"^(?:/v1)+(?=/)", "/v1", path)
    if len(path) > 1:
        path = path.rstrip("/") or "/"
    return f"/v1{path}" if path.startswith(_API_HEADS) else path


class RequestFrame:
    """Outermost ASGI layer. Handlers describe themselves in `scope["state"]["log"]`."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = canonical_path(scope["path"])
        request_id = _request_id(scope)
        log: dict[str, object] = {"id": request_id, "path": scope["path"], "mode": "other"}
        scope.setdefault("state", {})["log"] = log
        started, status = time.monotonic(), 0

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", request_id.encode())]}
            await send(message)

        try:
            await self._app(scope, receive, send_framed)
        except Exception:
            log["error"] = traceback.format_exc(limit=-6)
            if status:
                raise
            error = ApiError(500, "internal_error", f"the server has a defect; please report request {request_id}")
            await JSONResponse(error.body(), error.status, error.headers)(scope, receive, send_framed)
        finally:
            seconds = time.monotonic() - started
            path, mode = str(log["path"]), str(log["mode"])
            if scope.get("endpoint") is None:
                path = "other"
            self._metrics.requests.labels(path, mode, str(status)).inc()
            self._metrics.request_seconds.labels(path, mode).observe(seconds)
            if "overhead" in log:
                self._metrics.overhead_seconds.labels(path, mode).observe(float(str(log["overhead"])))
            access_log.info(json.dumps({**log, "status": status, "seconds": round(seconds, 4)}))


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if _SAFE_ID.fullmatch(text):
                return str(text)
    return f"req_{uuid.uuid4().hex}"
