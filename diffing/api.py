"""The HTTP API: start comparisons, ask how far they are, fetch what they found."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from diffing import __version__, options
from diffing.asgi import BadForm, GetServices, Part, Pouring, owner_of, parts
from diffing.errors import DiffError, PlanError
from diffing.jobs import Job, JobId, Jobs, JobState, Question, UnknownJob, kinds_of
from diffing.metrics import Metric
from diffing.plan_json import to_plain
from diffing.result import Change, Summary
from diffing.services import EVERYTHING, FORMS, Services
from diffing.store import Lease
from diffing.uploads import Upload
from diffing.views import DIFFERING, Filter

log = logging.getLogger(__name__)

STATUS: Mapping[str, int] = {
    "BadRequest": 400,
    "UnknownMetric": 404,
    "UnknownJob": 404,
    "ResultGone": 410,
    "UploadGone": 410,
    "UploadTooLarge": 413,
    "Busy": 429,
    "DoesNotFit": 422,
    "NoRoom": 507,
    "MetricError": 409,
    "SourceError": 422,
    "PlanError": 422,
    "StoreError": 507,
    "EngineError": 500,
    "DiffError": 400,
}
"""Family of errors to HTTP status; an error has that of the first of its families that is here."""

ENDED: Mapping[JobState, int] = {JobState.CANCELLED: 410, JobState.INTERRUPTED: 503}
"""States that are no errors of the comparison, but the end of it without a result."""

_OPTION = re.compile(r"--([a-z-]+)")
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
FIELD_LIMIT, MOST_FIELDS = 1 << 16, 1000
"""Bytes of one field of a form that is no file, and fields of one form."""

FLAGS = ("no_key", "text", "skip_bad_lines", "fill_short_lines")
MAYBE_COLUMNS = ("ignore_case", "ignore_space")
VALUES = ("key", "ignore", "rename", "tolerance", "null")
DIALECT = ("delimiter", "quote", "encoding", "skip_rows", "skip_after_header", "type", "date_format")
SIDES = ("", "old_", "new_")
FILTER_NAMES = ("fate", "changed", "find", "where", "least", "most", "step")
"""The parts of a page's filter, as they stand in its address."""
FIELDS = (*VALUES, *FLAGS, *MAYBE_COLUMNS, *(f"{side}{name}" for side in SIDES for name in (*DIALECT, "header")))
"""What a form may say besides `old` and `new`: the options of the command line, with _ for -."""
TRUTHS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


class BadRequest(DiffError):
    """A request that can't be understood."""


def routes(get: GetServices) -> list[Route]:
    """All paths under /api, where what is no path of ours is a 404 in JSON; and one that people type."""
    api = Api(get)
    known = [
        Route("/api/diffing/new/{metric_id}", _guarded(api.new_metric), methods=["GET", "POST"]),
        Route("/api/diffing/new", _guarded(api.new), methods=["POST"]),
        Route("/api/diffing/job/{job_id}", _guarded(api.job), methods=["GET"]),
        Route("/api/diffing/job/{job_id}", _guarded(api.delete), methods=["DELETE"]),
        Route("/api/diffing/job/{job_id}/summary", _guarded(api.summary), methods=["GET"]),
        Route("/api/diffing/metrics", _guarded(api.metrics), methods=["GET"]),
        Route("/api/openapi.json", _guarded(api.description), methods=["GET"]),
    ]
    api.known = [(route.path_regex, route.methods or set()) for route in known]
    nothing = _guarded(api.nothing)
    rest = [Route("/api/{rest:path}", nothing, methods=METHODS), Route("/api", nothing, methods=METHODS)]
    return [*known, *rest, Route("/compare", _to_the_start, methods=["GET"])]


async def _to_the_start(request: Request) -> Response:
    """The page to compare has no name of its own in addresses, but people type one."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"./{query}")


class Json(Response):
    """JSON as people write it, with a space after colons and commas."""

    media_type = "application/json"

    def __init__(self, data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(data, status, {"cache-control": "no-store", **(headers or {})})

    def render(self, content: object) -> bytes:
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")


class Download(FileResponse):
    """A file of a result, which stays on disk until it is sent."""

    chunk_size = 1 << 20

    def __init__(self, lease: Lease, path: Path, *, name: str, media_type: str) -> None:
        super().__init__(
            path, media_type=media_type, filename=name, stat_result=os.stat(path), headers={"cache-control": "private, no-cache"}
        )
        self._lease = lease

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._lease:
            await super().__call__(scope, receive, send)


Handler = Callable[[Request], Awaitable[Response]]


def _guarded(handler: Handler) -> Handler:
    """The same, but errors are answered in JSON."""

    @wraps(handler)
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except DiffError as error:
            return Json({"error": error.message, "hint": _in_fields(error.hint)}, status_of(kinds_of(error)), _retry(error))
        except Exception:
            log.exception("The API failed.")
            return Json({"error": "The server failed.", "hint": "Try again. The server's log says more."}, 500)

    return guarded


def _in_fields(hint: str) -> str:
    """A hint that names options of the command line, for those who fill in fields of a form."""
    return _OPTION.sub(lambda option: option[1].replace("-", "_"), hint)


def status_of(kinds: Iterable[str]) -> int:
    """The HTTP status for an error of these families, the narrowest first."""
    return next((STATUS[kind] for kind in kinds if kind in STATUS), 500)


def _retry(error: DiffError) -> dict[str, str]:
    return {"retry-after": "30"} if status_of(kinds_of(error)) == STATUS["Busy"] else {}


class Api:
    """The handlers. What may take time runs in threads."""

    def __init__(self, get: GetServices) -> None:
        self.get = get
        self.known: list[tuple[re.Pattern[str], set[str]]] = []
        """Paths as patterns, and how each may be asked."""

    @property
    def jobs(self) -> Jobs:
        return self.get().jobs

    # --- starting ----------------------------------------------------------------------------------

    async def new_metric(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Json(None, 405, {"allow": "GET, POST"})
        again = _truth(request.query_params.get("again", "false"), "again")
        job = await run_in_threadpool(self.jobs.submit_metric, request.path_params["metric_id"], again=again)
        return Json({"job_id": job.id})

    async def new(self, request: Request) -> Response:
        services, owner = self.get(), owner_of(request)
        async with AsyncExitStack() as undo:
            files, fields = await _read_form(request, services, owner, undo)
            question = asked(files, fields)
            job = await run_in_threadpool(services.jobs.submit, question, owner=owner)
            undo.pop_all()
        return Json({"job_id": job.id, "url": str(request.base_url.replace(path=f"/api/diffing/job/{job.id}", query=""))})

    # --- watching, fetching ------------------------------------------------------------------------

    async def job(self, request: Request) -> Response:
        job = self.jobs.get(_job_id(request))
        if job.state is not JobState.DONE:
            return Json(_progress(job), _job_status(job))
        return await run_in_threadpool(self._download, job, request.query_params)

    def _download(self, job: Job, query: QueryParams) -> Response:
        form, filter = _form(query), _filter(query)
        lease = self.jobs.lease(job)
        try:
            path = self.get().download(lease, form, filter)
            name = "-".join([job.stem, "diff", *_named(filter)]) + FORMS[form].suffix
            return Download(lease, path, name=name, media_type=FORMS[form].media_type)
        except BaseException:
            lease.release()
            raise

    async def summary(self, request: Request) -> Response:
        job = self.jobs.get(_job_id(request))
        if job.state is not JobState.DONE:
            return Json(_progress(job), 202 if job.state.active else _job_status(job))
        summary = self.jobs.at_hand(job)
        if summary is None:
            summary = await run_in_threadpool(self._summary, job)
        return Json({**_progress(job), **summary.report()})

    def _summary(self, job: Job) -> Summary:
        with self.jobs.lease(job) as lease:
            return lease.result.summary

    async def delete(self, request: Request) -> Response:
        job = self.jobs.get(_job_id(request))
        if job.state.active:
            await run_in_threadpool(self.jobs.cancel, job.id)
            return Json({"job_id": job.id, "status": "cancelled"})
        await run_in_threadpool(self.jobs.delete, job.id)
        return Json({"job_id": job.id, "status": "deleted"})

    async def metrics(self, request: Request) -> Response:
        found = await run_in_threadpool(self.get().files.metrics)
        return Json({"metrics": await run_in_threadpool(lambda: [_metric(each) for each in found.values()])})

    async def description(self, request: Request) -> Response:
        return Json(describe())

    async def nothing(self, request: Request) -> Response:
        allowed = sorted(method for paths, methods in self.known for method in methods if paths.match(request.url.path))
        said = {"error": f"There is no {request.method} {request.url.path}.", "hint": "See /http-api, or /api/openapi.json."}
        return Json(said, 405, {"allow": ", ".join(allowed)}) if allowed else Json(said, 404)


# --- what is asked -------------------------------------------------------------------------------


def _job_id(request: Request) -> JobId:
    """Small integers are jobs of metrics; anything else is the id of a job over uploaded files."""
    text: str = request.path_params["job_id"]
    if len(text) > 64:
        raise UnknownJob("of this name")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else text


def _form(query: QueryParams) -> str:
    form = query.get("format", "csv")
    if form not in FORMS:
        raise BadRequest(f"There is no format “{form}”.", f"The formats are {', '.join(FORMS)}.")
    return form


def _filter(query: QueryParams) -> Filter:
    """Which rows are asked for: `change`, and the filter of a page as it stands in its address.

    Raises:
        BadRequest: a part of it can't be understood; rows would be missing, or too many.
    """
    said = {name: query[name] for name in FILTER_NAMES if query.get(name)}
    found = Filter.from_query(said)
    for name in said.keys() - found.to_query().keys():
        raise BadRequest(f"“{name}={said[name][:40]}” is no filter.", "Filter on a page, and copy its address.")
    changes = _changes(query) or found.changes
    return replace(found, changes=changes if len(changes) < len(DIFFERING) else ())


def _changes(query: QueryParams) -> tuple[Change, ...]:
    """The fates asked for, each once and in order."""
    said = [each for value in query.getlist("change") for each in value.split(",") if each]
    for each in said:
        if each not in list(DIFFERING):
            raise BadRequest(f"There is no change “{each}”.", f"The changes are {', '.join(DIFFERING)}.")
    return tuple(each for each in DIFFERING if each in said)


def _named(filter: Filter) -> list[str]:
    """What the name of a download says about its rows."""
    if filter == EVERYTHING:
        return []
    return list(filter.changes) if filter == Filter(changes=filter.changes) else ["filtered"]


def _truth(text: str, name: str) -> bool:
    if text.lower() not in TRUTHS:
        raise BadRequest(f"“{name}” can't be “{text}”.", "Say true or false.")
    return TRUTHS[text.lower()]


async def _read_form(
    request: Request, services: Services, owner: str, undo: AsyncExitStack
) -> tuple[dict[str, Upload], list[tuple[str, str]]]:
    """The files of a form, on disk, and its other fields. `undo` gets what removes the files again."""
    form = parts(request.headers, request.receive)
    files: dict[str, Upload] = {}
    fields: list[tuple[str, str]] = []
    part = await anext(form, None)
    while isinstance(part, Part):
        if part.file_name is not None and part.name in ("old", "new"):
            if part.name in files:
                raise BadRequest(f"The {part.name} file is there twice.", "Send one old and one new file.")
            async with Pouring(services.uploads, part.file_name, owner=owner) as pouring:
                following = await _each_piece(form, pouring.add)
                files[part.name] = upload = await pouring.keep()
            undo.push_async_callback(run_in_threadpool, services.uploads.remove, upload.id, owner)
        else:
            text = _Text(part.name)
            following = await _each_piece(form, text.add)
            fields.append((part.name, text.value))
        if len(fields) > MOST_FIELDS:
            raise BadForm
        part = following
    return files, fields


async def _each_piece(form: Any, add: Callable[[bytes], Awaitable[None]]) -> Part | None:
    """Hand the content of a part on, piece by piece; the next part, if there is one."""
    async for piece in form:
        if isinstance(piece, Part):
            return piece
        await add(piece)
    return None


class _Text:
    """A field of a form that is no file."""

    def __init__(self, name: str) -> None:
        self.name, self._data = name, b""

    async def add(self, piece: bytes) -> None:
        self._data += piece
        if len(self._data) > FIELD_LIMIT:
            raise BadRequest(f"The field “{self.name[:40]}” is too long.", "Send files as old and new.")

    @property
    def value(self) -> str:
        return self._data.decode("utf-8", "replace")


def asked(files: Mapping[str, Upload], fields: Iterable[tuple[str, str]]) -> Question:
    """The question that a form asks.

    Raises:
        BadRequest: a file is missing, or a field is none.
        PlanError: what a field says can't be understood.
    """
    for side in ("old", "new"):
        if side not in files:
            raise BadRequest(f"The {side} file is missing.", "Send both as files: curl -F old=@old.csv -F new=@new.csv …")
    said = _parsed(["old", "new", *(option for name, value in fields for option in _option(name, value))])
    return Question(
        uploads=(files["old"].id, files["new"].id),
        choices=options.choices(said),
        old_dialect=options.dialect_choice(said, "old"),
        new_dialect=options.dialect_choice(said, "new"),
        keyless=said.no_key,
    )


def _parsed(argv: list[str]) -> Any:
    try:
        return options.parse(argv)
    except PlanError as error:
        hint = "See /api/openapi.json for the fields and what they take." if "--help" in error.hint else error.hint
        raise PlanError(error.message, hint) from error


def _option(name: str, value: str) -> Iterator[str]:
    """A field of a form as the command line says it."""
    if name not in FIELDS:
        raise BadRequest(f"There is no field “{name[:40]}”.", f"The fields are old, new, {', '.join(FIELDS)}.")
    option = "--" + name.replace("_", "-")
    flag = TRUTHS.get(value.lower())
    if name.endswith("header") and not name.endswith("after_header"):
        yield option if _truth(value, name) else f"--no-{option[2:]}"
    elif name in FLAGS or (name in MAYBE_COLUMNS and flag is not None):
        yield from [option] if _truth(value, name) else []
    else:
        yield f"{option}={value}"


# --- what is answered ----------------------------------------------------------------------------


def _job_status(job: Job) -> int:
    return status_of(job.error) if job.state is JobState.FAILED else ENDED.get(job.state, 200)


def _progress(job: Job) -> dict[str, Any]:
    """A job in JSON: how far it is, or how it ended."""
    if job.state.active:
        where = {"position": job.position} if job.position else {}
        share = {"state": job.state, "stage": job.stage, "share": round(job.share, 3), "elapsed": _rounded(job.elapsed)}
        return {"job_id": job.id, "status": "processing", **share, **where}
    if job.state is JobState.DONE:
        answer = {"from_cache": job.from_cache, "computed_at": _time(job.computed_at), "totals": job.totals}
        return {"job_id": job.id, "status": "done", **answer}
    message = job.message or f"The comparison was {job.state}."
    return {"job_id": job.id, "status": job.state, "error": message, "hint": _in_fields(job.hint) or "Start it again when you need it."}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _metric(metric: Metric) -> dict[str, Any]:
    files = {side: metric.shown(side) for side in ("old", "new")}
    words = {"id": metric.id, "title": metric.title, "description": metric.description}
    return {**words, **files, "missing": list(metric.missing), **to_plain(metric.choices)}


# --- how it is described -------------------------------------------------------------------------


def describe() -> dict[str, Any]:
    """The API in OpenAPI 3.1."""
    paths = {
        "/api/diffing/new/{metric_id}": {"get": _new_metric("startMetric"), "post": _new_metric("startMetricByPost")},
        "/api/diffing/new": {"post": _new_files()},
        "/api/diffing/job/{job_id}": {"get": _get_job(), "delete": _delete_job()},
        "/api/diffing/job/{job_id}/summary": {"get": _get_summary()},
        "/api/diffing/metrics": {"get": _operation("listMetrics", "The registry of metrics.", {"200": _json("The metrics.")})},
    }
    info = {"title": "CSV Diffing", "version": __version__, "description": "The same table twice: what changed?"}
    return {"openapi": "3.1.0", "info": info, "servers": [{"url": "/"}], "paths": paths, "components": _components()}


def _components() -> dict[str, Any]:
    error = {"type": "object", "properties": {"error": {"type": "string"}, "hint": {"type": "string"}}, "required": ["error", "hint"]}
    schemes = {"bearer": {"type": "http", "scheme": "bearer", "description": "Only where the server asks for a token."}}
    return {"schemas": {"Error": error}, "securitySchemes": schemes}


def _operation(name: str, summary: str, responses: dict[str, Any], *parameters: dict[str, Any]) -> dict[str, Any]:
    error = {"description": "What went wrong, and what to do.", "content": _content({"$ref": "#/components/schemas/Error"})}
    return {"operationId": name, "summary": summary, "parameters": list(parameters), "responses": {**responses, "default": error}}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _json(description: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": _content({"type": "object", "properties": properties})}


def _parameter(name: str, where: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "description": description, "schema": schema or {"type": "string"}}


def _new_metric(name: str) -> dict[str, Any]:
    metric = _parameter("metric_id", "path", "An id of the registry.")
    again = _parameter("again", "query", "Compute, even if the answer is stored.", type="boolean", default=False)
    started = _json("The job.", job_id={"type": "integer"})
    return _operation(name, "Compare the two files of a metric.", {"200": started}, metric, again)


def _new_files() -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    properties = {"old": file, "new": file, **{name: _field(name) for name in FIELDS}}
    form = {
        "multipart/form-data": {
            "schema": {"type": "object", "required": ["old", "new"], "properties": properties, "additionalProperties": False}
        }
    }
    started = _json("The job, and where to fetch the result.", job_id={"type": "string"}, url={"type": "string"})
    operation = _operation("startFiles", "Compare two files. The fields mean what the options of the command line do.", {"200": started})
    return {**operation, "requestBody": {"required": True, "content": form}}


def _field(name: str) -> dict[str, Any]:
    """A field of the form, which may be given several times unless it is a flag."""
    return {"type": "boolean"} if name in FLAGS or name.endswith("_header") or name == "header" else {"type": "string"}


def _job_parameter() -> dict[str, Any]:
    return _parameter("job_id", "path", "What starting the job answered.")


def _get_job() -> dict[str, Any]:
    form = _parameter("format", "query", "The form of the rows.", type="string", enum=list(FORMS), default="csv")
    change = _parameter("change", "query", "Rows of these fates only, separated by commas, as added,changed.")
    filters = [_parameter(name, "query", "A part of a page's filter, from its address.") for name in FILTER_NAMES]
    binary = {each.media_type: {"schema": {"type": "string", "format": "binary"}} for each in FORMS.values()}
    progress = _json("How far the job is, or the rows that differ when it is done.", job_id={}, status={"const": "processing"})
    answer = {**progress, "content": {**progress["content"], **binary}}
    return _operation("getJob", "Progress, then the rows that differ.", {"200": answer}, _job_parameter(), form, change, *filters)


def _get_summary() -> dict[str, Any]:
    answers = {"200": _json("The counts."), "202": _json("It is not done yet; how far it is.")}
    return _operation("getSummary", "What changed, in counts.", answers, _job_parameter())


def _delete_job() -> dict[str, Any]:
    ended = _json("What became of it.", job_id={}, status={"enum": ["cancelled", "deleted"]})
    return _operation("deleteJob", "Cancel a job that runs; delete one that has ended.", {"200": ended}, _job_parameter())
