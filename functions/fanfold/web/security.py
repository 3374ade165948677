"""Who may see the page, and what a browser may do with it.

On a laptop the page listens on loopback, to who has the token of the printed address; the Host header must be one that
it was started for, so that no other site's name can be made to point here. What changes something is a POST with a
token of this browser, from this origin (OWASP, *Cross-Site Request Forgery Prevention*).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_SAFE_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Guard:
    """What must be true of a request."""

    token: str | None = None
    """Of the printed address; None where somebody else lets people in (an authoriser of API Gateway)."""
    hosts: frozenset[str] | None = None
    """Names that the page may be asked for; None for any."""
    port: int = 0
    """Cookies know no ports, so that two pages on one machine must not share one."""
    is_secure: bool = False
    """Whether the page is only ever reached over TLS."""

    @property
    def cookie(self) -> str:
        """The name of the session's cookie."""
        return "__Host-fanfold" if self.is_secure else f"fanfold-{self.port}"

    @property
    def session(self) -> str | None:
        """What the cookie of who knows the token holds."""
        return None if self.token is None else _digest("session", self.token)


def _digest(purpose: str, secret: str) -> str:
    return hmac.new(secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def csrf_token(request: Request) -> str:
    """What a form of this browser must hold."""
    session: str = request.scope["state"]["session"]
    return _digest("form", session)


def is_own_form(request: Request, token: object) -> bool:
    """Whether a POST comes from a form of this page in this browser."""
    return isinstance(token, str) and hmac.compare_digest(token.encode(), csrf_token(request).encode())


class Gate:
    """Lets in what the guard allows, and sets the headers of every answer."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        session = SimpleCookie(request.headers.get("cookie", "")).get(self._guard.cookie)
        given = session.value if session is not None else ""
        refusal = self._refusal(request, given)
        is_new = not given and self._guard.token is None
        scope.setdefault("state", {})["session"] = given or secrets.token_urlsafe(32)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                if is_new:
                    headers.append("set-cookie", self._set_cookie(scope["state"]["session"]))
            await send(message)

        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request, given: str) -> Callable[[Scope, Receive, Send], Awaitable[None]] | None:
        guard = self._guard
        if guard.hosts is not None and (request.url.hostname or "") not in guard.hosts:
            return PlainTextResponse("this page is not known by that name\n", 421)
        if guard.token is not None and not hmac.compare_digest(given.encode(), (guard.session or "").encode()):
            return self._admit(request)
        if request.method not in _SAFE_METHODS and not _is_same_origin(request.headers):
            return PlainTextResponse("this was asked for by another site\n", 403)
        if "token" in request.query_params and request.method in _SAFE_METHODS:
            return _without_token(request)
        return None

    def _admit(self, request: Request) -> Response:
        """Who has the token gets a cookie, and an address that does not tell the token any more."""
        token = request.query_params.get("token", "")
        if request.method != "GET" or not hmac.compare_digest(token.encode(), (self._guard.token or "").encode()):
            return PlainTextResponse("open the address that `fanfold ui` printed: it holds the key\n", 403)
        answer = _without_token(request)
        answer.headers["set-cookie"] = self._set_cookie(self._guard.session or "")
        return answer

    def _set_cookie(self, value: str) -> str:
        # Who lets people in by other means is asked where links from other sites lead to, too.
        same_site = "Lax" if self._guard.token is None else "Strict"
        secure = "; Secure" if self._guard.is_secure else ""
        return f"{self._guard.cookie}={value}; Path=/; HttpOnly; SameSite={same_site}{secure}"


def _without_token(request: Request) -> Response:
    query = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != "token"])
    path = "/" + request.url.path.lstrip("/")  # "//other.host" would lead there
    return RedirectResponse(path + (f"?{query}" if query else ""), 303)


def _is_same_origin(headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site") == "same-origin"
    return urlsplit(origin).netloc == headers.get("host")
