"""What stands between the network and the app: who may come in, and how files come in and go out.

Everything here is plain ASGI, because it must also see websockets and Streamlit's own routes.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import html
import json
import os
import re
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffing.errors import DiffError, SourceError
from diffing.services import EVERY_HOST, Services, close_services, host_name, services
from diffing.uploads import OWNER_COOKIE, NoRoom, Receiving, Upload, Uploads, UploadTooLarge, pointer

API = "/api/"
HEALTH = "/_stcore/health"
TOKEN_COOKIE = "diffing_token"
YEAR = 365 * 86_400
PIECE = 1 << 20
"""Bytes of an upload that are written together."""

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
REFUSED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>CSV Diffing</title>
<style>:root{{color-scheme:light dark}}body{{font:1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem}}</style>
<h1>{error}</h1><p>{hint}</p></html>
"""

SCRIPT = "sha256-THxz9J9+wf7rhwR2YkXJoSZ13UCmYyC+3lNDv2+8ugA="
"""The one script that stands in Streamlit's page itself; all others are files."""
PAGE_POLICY = (
    "default-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "worker-src 'self' blob:",
    "frame-src 'none'",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'self'",
)
"""What a page may load and do: from this server alone, and see `page_policy`. Streamlit writes its styles into the page."""

SHORT_TURN = 0.0005
"""Seconds that a thread that computes goes on while the one that answers waits; Python's own 5 ms add up at each step of an answer."""

GetServices = Callable[[], Services]

_OWNER = re.compile(r"[A-Za-z0-9_-]{32,64}")
_UPLOAD = re.compile(r"/_stcore/upload_file/[^/]+/([^/]+)$")
_STARTS_WORK = re.compile(rf"{API}diffing/new(/|$)")


def page_policy(scripts: Iterable[str]) -> str:
    """The policy of a page that runs no script but the files of the server, and those that are exactly these texts."""
    own = (f"sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}" for each in scripts)
    return "; ".join((*PAGE_POLICY, " ".join(("script-src 'self'", *(f"'{each}'" for each in (SCRIPT, *own))))))


def middleware(get: GetServices, *inner: Callable[[ASGIApp], ASGIApp], scripts: Iterable[str] = ()) -> list[Middleware]:
    """Everything in this file, the outermost first, and what else is given. `scripts`: texts that pages may run."""
    return [
        Middleware(PromptSocket),
        Middleware(SafeHeaders, page_policy(scripts)),
        Middleware(HostGuard, get),
        Middleware(TokenGuard, get),
        Middleware(OwnerCookie),
        Middleware(SameOriginGuard),
        Middleware(PlainDownloads),
        Middleware(UploadSpooler, get),
        *map(Middleware, inner),
    ]


@asynccontextmanager
async def lifespan(app: object) -> AsyncIterator[dict[str, Any]]:
    """The services of this process are there as long as its server runs."""
    try:
        await run_in_threadpool(services)
        sys.setswitchinterval(SHORT_TURN)
    except DiffError as error:
        _give_up(error)
    try:
        yield {}
    finally:
        await run_in_threadpool(close_services)


def _give_up(error: DiffError) -> NoReturn:
    """End the process with words instead of a traceback; nothing runs yet that could be lost."""
    print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr, flush=True)
    os._exit(2)


def owner_of(connection: HTTPConnection) -> str:
    """Whose browser this is; empty for programs and browsers without cookies."""
    said = connection.cookies.get(OWNER_COOKIE, "")
    return said if _OWNER.fullmatch(said) else ""


def refusal(path: str, status: int, error: str, hint: str, headers: dict[str, str] | None = None) -> Response:
    """An answer that says no: JSON to programs, a page to people."""
    if path.startswith(API):
        return Response(json.dumps({"error": error, "hint": hint}), status, headers, "application/json")
    return HTMLResponse(REFUSED.format(error=html.escape(error), hint=html.escape(hint)), status, headers)


class PromptSocket:
    """Has small answers sent at once.

    On the sockets that Streamlit listens on, the system holds back the second part of an answer until the
    first is acknowledged, which takes 40 ms for every request and message after the first.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            _send_at_once(receive)
        await self.app(scope, receive, send)


def _send_at_once(receive: Receive) -> None:
    """`receive` belongs to the server's connection; where it does not, nothing is changed."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    connection = transport.get_extra_info("socket") if isinstance(transport, asyncio.BaseTransport) else None
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class SafeHeaders:
    """Tells browsers not to guess types, not to show the app inside other sites, and to name it to nobody."""

    COMMON = {
        "x-content-type-options": "nosniff",
        "x-frame-options": "SAMEORIGIN",
        "referrer-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }
    PAGES = {
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    }
    DATA = {"content-security-policy": "default-src 'none'; frame-ancestors 'none'"}

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self.app, self.pages = app, self.PAGES | {"content-security-policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        added = self.COMMON | (self.DATA if scope["path"].startswith(API) else self.pages)

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in added.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_more)


class HostGuard:
    """Refuses requests that call the server by a name that is none of its own.

    A page of another site can make its name point at this machine, and would then count as this site.
    """

    def __init__(self, app: ASGIApp, get: GetServices) -> None:
        self.app, self.get = app, get

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] == HEALTH:
            return await self.app(scope, receive, send)
        called = host_name(Headers(scope=scope).get("host", ""))
        if {called, EVERY_HOST} & {*LOCAL_HOSTS, *_own_address(scope), *self.get().settings.hosts}:
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        hint = f"Whoever runs it can allow this name with the setting DIFFING_HOSTS={called or 'NAME'}."
        await refusal(scope["path"], 403, f"This server is not called “{called[:100]}”.", hint)(scope, receive, send)


def _own_address(scope: Scope) -> list[str]:
    """The address at which a request reached this machine, as a host."""
    address = (scope.get("server") or ("",))[0] or ""
    return [f"[{address}]" if ":" in address else address] if address else []


class TokenGuard:
    """Lets in who shows the token, if the settings have one: pages, websocket, uploads and API alike.

    It is shown as `Authorization: Bearer`, as the password of a Basic login, as the cookie that the
    first visit with `?token=` sets, or, to the API, as `?token=` itself.
    """

    def __init__(self, app: ASGIApp, get: GetServices) -> None:
        self.app, self.get = app, get

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = None if scope["type"] == "lifespan" else self.get().settings.token
        if token is None or scope["path"] == HEALTH:
            return await self.app(scope, receive, send)
        connection = HTTPConnection(scope)
        asked, rest = _without_token(scope["query_string"])
        if asked is not None and _same(asked, token):
            if _is_page(scope):
                return await _welcome(scope, rest, token)(scope, receive, send)
            return await self.app({**scope, "query_string": rest}, receive, send)
        if _shows(connection, token):
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        ask = {"WWW-Authenticate": 'Basic realm="CSV Diffing", charset="UTF-8"'}
        await refusal(scope["path"], 401, "This server asks for a token.", "Give it as the password.", ask)(scope, receive, send)


def _same(said: str, token: str) -> bool:
    return hmac.compare_digest(said.encode(), token.encode())


def _shows(connection: HTTPConnection, token: str) -> bool:
    """Whether a request carries the token, in a header or as the cookie."""
    scheme, _, said = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _same(said.strip(), token):
        return True
    if scheme.lower() == "basic" and _same(_password(said), token):
        return True
    return _same(connection.cookies.get(TOKEN_COOKIE, ""), _cookie_for(token))


def _password(basic: str) -> str:
    try:
        return base64.b64decode(basic, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _cookie_for(token: str) -> str:
    return hmac.new(token.encode(), b"diffing cookie", hashlib.sha256).hexdigest()


def _without_token(query: bytes) -> tuple[str | None, bytes]:
    """The token of a query, and the query without it."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    found = [value for name, value in pairs if name == "token"]
    rest = urlencode([(name, value) for name, value in pairs if name != "token"])
    return (found[0] if found else None), rest.encode()


def _is_page(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    return not scope["path"].startswith((API, "/_stcore/")) and "text/html" in Headers(scope=scope).get("accept", "")


def _welcome(scope: Scope, query: bytes, token: str) -> Response:
    """Sets the cookie and goes on to the page, without the token in its address.

    A page that goes on by itself, not a redirect: after a link from another site, a browser would
    not send a strict cookie along with the redirect.
    """
    address = "/" + quote(scope["path"].lstrip("/")) + (f"?{query.decode()}" if query else "")
    page = f'<!doctype html><meta http-equiv="refresh" content="0;url={html.escape(address)}"><title>CSV Diffing</title>'
    response = HTMLResponse(page, headers={"cache-control": "no-store"})
    response.set_cookie(TOKEN_COOKIE, _cookie_for(token), max_age=YEAR, httponly=True, samesite="strict", secure=_is_secure(scope))
    return response


def _is_secure(scope: Scope) -> bool:
    return bool(scope["scheme"] in ("https", "wss"))


class OwnerCookie:
    """Gives each browser a name that can't be guessed, to know its uploads by."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_page(scope) or owner_of(HTTPConnection(scope)):
            return await self.app(scope, receive, send)
        cookie = Response()
        owner = secrets.token_urlsafe(24)
        cookie.set_cookie(OWNER_COOKIE, owner, max_age=YEAR, httponly=True, samesite="lax", secure=_is_secure(scope))

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("set-cookie", cookie.headers["set-cookie"])
            await send(message)

        await self.app(scope, receive, send_named)


class SameOriginGuard:
    """Refuses calls of other sites that start, change or delete something, and their websockets, which can do all of that.

    Links to pages and downloads work from anywhere.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or not _changes_something(scope) or not _is_foreign(Headers(scope=scope)):
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        answer = refusal(scope["path"], 403, "Calls from other sites can't do this.", "Do it from the app, or from a program.")
        await answer(scope, receive, send)


def _changes_something(scope: Scope) -> bool:
    if scope["type"] == "websocket":
        return True
    return scope["method"] not in ("GET", "HEAD", "OPTIONS") or bool(_STARTS_WORK.match(scope["path"]))


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser says that another site asks. Browsers tell less to servers without TLS: then no more than an address."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    asking = headers.get("origin") or headers.get("referer")
    return asking is not None and _host_of(asking) != headers.get("host", "").lower()


def _host_of(address: str) -> str:
    try:
        return urlsplit(address).netloc.lower()
    except ValueError:
        return ""


class PlainDownloads:
    """Sends the API's answers uncompressed, so that downloads keep their length and can be resumed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(API):
            scope = {**scope, "headers": [each for each in scope["headers"] if each[0] != b"accept-encoding"]}
        await self.app(scope, receive, send)


# --- forms with files, as they arrive --------------------------------------------------------------


class BadForm(SourceError):
    """A request body that is no form, or is cut off."""

    def __init__(self) -> None:
        super().__init__("The upload can't be read: it is no form, or was cut off.", "Upload the file again.")


@dataclass
class Part:
    """The beginning of one field of a form; its content follows as bytes."""

    headers: list[bytes] = field(default_factory=list)
    """Lines as they came."""

    @property
    def name(self) -> str:
        return self._option(b"name") or ""

    @property
    def file_name(self) -> str | None:
        """None for a field that is no file."""
        return self._option(b"filename")

    def _option(self, name: bytes) -> str | None:
        said = next((line for line in self.headers if line.lower().startswith(b"content-disposition:")), b"")
        found: bytes | None = parse_options_header(said.partition(b":")[2].strip())[1].get(name)
        return None if found is None else found.decode("utf-8", "replace")


class _Cutter:
    """Cuts a form into its parts: collects what a parser calls back."""

    def __init__(self, boundary: bytes) -> None:
        self.found: list[Part | bytes] = []
        self.complete = False
        self._part, self._name, self._value = Part(), b"", b""
        called = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data", "end")
        self.parser = MultipartParser(boundary, {f"on_{each}": getattr(self, f"_{each}") for each in called})  # type: ignore[arg-type]

    def _part_begin(self) -> None:
        self._part = Part()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._part.headers.append(self._name + b": " + self._value)
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        self.found.append(self._part)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self.found.append(bytes(data[start:end]))

    def _end(self) -> None:
        self.complete = True

    def cut(self, data: bytes) -> list[Part | bytes]:
        self.parser.write(data)
        found, self.found = self.found, []
        return found


def boundary_of(headers: Headers) -> bytes:
    """What separates the parts of a form.

    Raises:
        BadForm: the request is no such form.
    """
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise BadForm
    return options[b"boundary"]


async def parts(headers: Headers, receive: Receive) -> AsyncIterator[Part | bytes]:
    """A form as it arrives: the beginning of a part, then pieces of its content, then the next part.

    Raises:
        BadForm: it is none, or ends too early.
        ClientDisconnect: nobody is there any more.
    """
    boundary = boundary_of(headers)
    try:
        cutter, more = _Cutter(boundary), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            more = message.get("more_body", False)
            for each in cutter.cut(message.get("body", b"")):
                yield each
    except FormParserError as error:
        raise BadForm from error
    if not cutter.complete:
        raise BadForm


class Pouring:
    """A file on its way to disk, many pieces at a time and never on the event loop.

    To be used in an `async with`; leaving that without `keep` discards the file.
    """

    def __init__(self, uploads: Uploads, name: str, *, owner: str, id_: str | None = None) -> None:
        self._begin = partial(uploads.receive, name, owner=owner, id_=id_)
        self._pieces: list[bytes] = []
        self._size = 0

    async def __aenter__(self) -> Pouring:
        self._coming: Receiving = await run_in_threadpool(self._begin)
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        await run_in_threadpool(self._coming.discard)

    async def add(self, piece: bytes) -> None:
        """Take the next piece."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= PIECE:
            await self._flush()

    async def keep(self) -> Upload:
        """The file is complete."""
        await self._flush()
        return await run_in_threadpool(self._coming.keep)

    async def refuse(self, error: DiffError) -> None:
        """The file can't be kept; its page will be told why."""
        await run_in_threadpool(self._coming.refuse, error)

    async def _flush(self) -> None:
        data, self._pieces, self._size = b"".join(self._pieces), [], 0
        await run_in_threadpool(self._coming.write, data)


# --- Streamlit's uploads ---------------------------------------------------------------------------


@dataclass
class _Answer:
    """What the app answered, kept until it may be sent."""

    messages: list[Message] = field(default_factory=list)

    async def take(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def accepted(self) -> bool:
        return any(message.get("status") == 204 for message in self.messages)

    async def replay(self, send: Send) -> None:
        for message in self.messages:
            await send(message)


class UploadSpooler:
    """Streams what a page uploads to disk; Streamlit, which would hold it in memory, gets a pointer.

    Streamlit is asked first, with the pointer in place of the file, so its own checks (session, forged
    requests) pass before a byte is kept. It hears of a broken upload as of one that was taken back. A file
    for which there is no room is let through to its end and dropped: so the page can say what is wrong.
    """

    def __init__(self, app: ASGIApp, get: GetServices) -> None:
        self.app, self.get = app, get

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _UPLOAD.search(scope["path"]) if scope["type"] == "http" else None
        if found and scope["method"] == "PUT":
            await self._take(scope, receive, send, found[1])
        elif found and scope["method"] == "DELETE":
            await self._take_back(scope, receive, send, found[1])
        else:
            await self.app(scope, receive, send)

    async def _take(self, scope: Scope, receive: Receive, send: Send, id_: str) -> None:
        uploads, headers = self.get().uploads, Headers(scope=scope)
        try:
            form = parts(headers, receive)
            part = await _file_part(form)
            async with Pouring(uploads, part.file_name or "", owner=owner_of(HTTPConnection(scope)), id_=id_) as pouring:
                answer = await self._ask(scope, part, boundary_of(headers), pointer(id_))
                if answer.accepted:
                    await self._pour(scope, form, pouring)
            await answer.replay(send)
        except ClientDisconnect:
            return
        except DiffError as error:
            await PlainTextResponse(f"{error.message} {error.hint}", _status(error))(scope, receive, send)

    async def _pour(self, scope: Scope, form: AsyncIterator[Part | bytes], pouring: Pouring) -> None:
        """Write what follows to disk; if it is cut off, tell Streamlit that there is no file."""
        complete = False
        try:
            try:
                await _fill(pouring, form)
            except (UploadTooLarge, NoRoom) as error:
                await pouring.refuse(error)
                async for _ in form:
                    pass
            complete = True
        finally:
            if not complete:
                await self.app({**scope, "method": "DELETE"}, _messages([]), _Answer().take)

    async def _ask(self, scope: Scope, part: Part, boundary: bytes, content: bytes) -> _Answer:
        """What Streamlit answers to a small file of the same name."""
        body = b"\r\n".join([b"--" + boundary, *part.headers, b"", content, b"--" + boundary + b"--", b""])
        small = {**scope, "headers": [each for each in scope["headers"] if each[0] not in (b"content-length", b"transfer-encoding")]}
        small["headers"].append((b"content-length", str(len(body)).encode()))
        answer = _Answer()
        await self.app(small, _messages([{"type": "http.request", "body": body, "more_body": False}]), answer.take)
        return answer

    async def _take_back(self, scope: Scope, receive: Receive, send: Send, id_: str) -> None:
        answer = _Answer()
        await self.app(scope, receive, answer.take)
        if answer.accepted:
            await run_in_threadpool(self.get().uploads.remove, id_, owner_of(HTTPConnection(scope)))
        await answer.replay(send)


async def _file_part(form: AsyncIterator[Part | bytes]) -> Part:
    async for each in form:
        if isinstance(each, Part) and each.file_name is not None:
            return each
    raise BadForm


async def _fill(pouring: Pouring, form: AsyncIterator[Part | bytes]) -> None:
    """Write the rest of a form, which is one file, to disk."""
    async for piece in form:
        if isinstance(piece, Part):
            raise BadForm
        await pouring.add(piece)
    await pouring.keep()


def _status(error: DiffError) -> int:
    return 400 if isinstance(error, SourceError) else 507


def _messages(messages: Iterable[Message]) -> Receive:
    left = iter(messages)

    async def receive() -> Message:
        return next(left, {"type": "http.disconnect"})

    return receive
