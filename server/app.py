"""The application: routes, lifespan, and the one place where exceptions become answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from server.api import adapters, burnish, chat, health, memory, models, tokenize
from server.errors import ApiError
from server.metrics import Metrics
from server.middleware import RequestFrame
from server.parts import open_parts
from server.schemas.validation import explain
from server.settings import Settings

_ROUTERS = (
    chat.router,
    models.router,
    tokenize.router,
    burnish.router,
    adapters.router,
    memory.router,
    health.router,
)


def create_app(settings: Settings) -> FastAPI:
    """The whole server as an ASGI application; its lifespan starts and stops engine, sandbox and stores."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_parts(settings, metrics) as parts:
            app.state.parts = parts
            yield
            parts.stopping = True

    app = FastAPI(title="Burnish", lifespan=lifespan, redirect_slashes=False, docs_url=None, redoc_url=None)
    for router in _ROUTERS:
        app.include_router(router)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_middleware(RequestFrame, metrics=metrics)
    return app


async def _api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    request.state.log["code"] = error.code
    return JSONResponse(error.body(), error.status, error.headers)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    """Unknown paths and wrong methods, in the same shape as every other error."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        shown = ApiError(405, "method_not_allowed", f"{request.method} is not allowed on {path}")
        shown.headers.update(error.headers or {})
    else:
        shown = ApiError(error.status_code, "not_found", f"there is nothing at {path}; see README for the endpoints")
    return await _api_error(request, shown)


async def _bad_parameter(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return await _api_error(request, explain(error.errors()[0], ()))
