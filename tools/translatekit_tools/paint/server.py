"""The server of the painting page: images in, images out, and the page itself."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import math
import secrets
import socket
import threading
import time
import webbrowser
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message

from translatekit.config import RunConfig
from translatekit.datasets.palette import PaletteClass, find_palette
from translatekit.errors import DataError, OptionError, PluginError, TranslatekitError
from translatekit.image_spec import ImageSpec
from translatekit.images import Image, encode_image, fit_image, image_of, read_image, read_levels, read_size
from translatekit.images.preview import preview
from translatekit.inference.passes import with_passes
from translatekit.model_file import name_of
from translatekit_tools.bulk.model import open_model
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.paint.batching import Batcher, Translated
from translatekit_tools.paint.describe import PAGE_FILES, describe, page_file
from translatekit_tools.paint.examples import Examples
from translatekit_tools.paint.files import (
    OpenedFile,
    OpenedFiles,
    drawn_spec,
    read_page,
    saved,
    shown,
)
from translatekit_tools.paint.guard import LOCAL_NAMES, Guard
from translatekit_tools.paint.models import LoadedModel, Models, find_directions
from translatekit_tools.paint.options import PaintOptions

_CLIENT_CLOSED = 499  # nobody will read it
_PNG_COMPRESSION = 1  # of an answer that is seldom kept


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked of the server at most.

    Attributes:
        pixels: of an image.
        bytes: of an upload.
        waiting: requests in progress at once.
        seconds: that an upload may take.
        decoding: images decoded or encoded at once.
    """

    pixels: int = 4_194_304
    bytes: int = 20_000_000
    waiting: int = 64
    seconds: float = 30.0
    decoding: int = 4


class _Service:
    """What the routes do."""

    def __init__(self, models: Models, limits: Limits) -> None:
        self._models = models
        self._limits = limits
        self._under_way = 0
        self._decoding = asyncio.Semaphore(limits.decoding)
        self._files = OpenedFiles()

    async def health(self, request: Request) -> Response:
        return JSONResponse(
            {"status": "ok", "waiting": self._under_way, "translated": self._models.translated}
        )

    async def model(self, request: Request) -> Response:
        model = await self._model(request)
        return JSONResponse({**model.description, "directions": self._models.directions})

    async def example(self, request: Request) -> Response:
        """A start for a drawing: ``number=N`` counts through the examples, ``surprise=SEED`` makes one of two."""
        model = await self._model(request)
        query = request.query_params
        make = None
        if model.examples is not None:
            make = model.examples.surprise if "surprise" in query else model.examples.example
        try:
            number = int(query.get("surprise", query.get("number", "0"))[:18])
        except ValueError:
            raise HTTPException(422, "the number of an example is a whole number, such as number=0") from None
        png = None
        if make is not None:
            async with self._decoding:
                png = await asyncio.to_thread(make, number)
        return Response(status_code=204) if png is None else Response(png, media_type="image/png")

    async def open(self, request: Request) -> Response:
        """A file of any kind through the model: what it is, and the key that it is shown and saved by.

        The body is the file, whose name is ``name=``; or it is one that is open, ``id=``; or ``example=N`` of the data.
        ``page=K`` says which slice or page.
        """
        model = await self._model(request)
        self._check_waiting(model.batcher)
        self._under_way += 1
        try:
            data = b"" if {"id", "example"} & set(request.query_params) else await self._upload(request)
            return await _unless_disconnected(request, self._opened(model, dict(request.query_params), data))
        except ClientDisconnect:
            return Response(status_code=_CLIENT_CLOSED)
        finally:
            self._under_way -= 1

    async def _opened(self, model: LoadedModel, query: dict[str, str], data: bytes) -> Response:
        batcher = model.batcher
        began = time.perf_counter()
        async with self._decoding:
            file = await asyncio.to_thread(self._read, model, query, data)
        if file is None:
            return Response(status_code=204)
        decoded = time.perf_counter()
        try:
            result = await batcher.translate(file.taken)
        except TranslatekitError as error:
            raise HTTPException(422, str(error)) from None
        file.output = result.pixels
        height, width = file.output.shape[:2]
        answer = {
            "id": self._files.add(file),
            "name": file.name,
            "page": file.page,
            "pages": file.pages,
            "width": width,
            "height": height,
            "kind": "" if file.image is None else str(file.image.spec),
        }
        timing = _server_timing(decoded - began, result, 0.0)
        return JSONResponse(answer, headers={"server-timing": timing})

    def _read(self, model: LoadedModel, query: dict[str, str], data: bytes) -> OpenedFile | None:
        page = _whole(query.get("page", "-1"))
        name = query.get("name", "image")[:200]
        if "example" in query:
            pixels = None if model.examples is None else model.examples.pixels(_whole(query["example"]))
            if pixels is None:
                return None
            return OpenedFile(name="example", data=b"", pages=1, page=0, image=None, taken=pixels)
        if "id" in query:
            known = self._file(query["id"])
            name, data = known.name, known.data
        try:
            return read_page(name, data, page, model.batcher.predictor, self._limits.pixels)
        except (DataError, OptionError, PluginError) as error:
            raise HTTPException(422, str(error)) from None

    def _file(self, key: str) -> OpenedFile:
        file = self._files.get(key)
        if file is None or file.output is None:
            raise HTTPException(404, "that file is not open any more: open it again")
        return file

    async def shown(self, request: Request) -> Response:
        """One side of an open file as PNG: ``side=before`` or ``after``, in a window ``level=`` and ``width=``."""
        query = request.query_params
        file, info = self._file(query.get("id", "")), (await self._model(request)).batcher.predictor.info
        side = query.get("side", "after")
        if side not in ("before", "after"):
            raise HTTPException(422, f"side={side!r:.20} is neither before nor after")
        window = None
        if "width" in query:
            window = (_number(query.get("level", "")), _number(query["width"]))
            if window[1] <= 0:
                raise HTTPException(422, "the width of a window is above 0, such as width=400")
        spec = info.input if side == "before" else info.output

        def made() -> bytes:
            seen = image_of(shown(file, spec, side, window))
            return encode_image(seen, ".png", compression=_PNG_COMPRESSION)

        async with self._decoding:
            png = await asyncio.to_thread(made)
        return Response(png, media_type="image/png", headers={"cache-control": "no-store"})

    async def saved(self, request: Request) -> Response:
        """The translation of an open file as a file of its kind."""
        file, model = self._file(request.query_params.get("id", "")), await self._model(request)
        async with self._decoding:
            try:
                name, data = await asyncio.to_thread(saved, file, model.batcher.predictor)
            except TranslatekitError as error:
                raise HTTPException(422, str(error)) from None
        return Response(
            data,
            media_type="application/octet-stream",
            headers={"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"},
        )

    async def _model(self, request: Request) -> LoadedModel:
        """The model of the direction that is asked for."""
        direction = request.query_params.get("direction")
        try:
            return await self._models.get(direction)
        except KeyError:
            directions = ", ".join(self._models.directions)
            raise HTTPException(
                404, f"this model has no direction {direction!r}: it has {directions}"
            ) from None
        except TranslatekitError as error:
            raise HTTPException(422, str(error)) from None

    async def translate(self, request: Request) -> Response:
        batcher = (await self._model(request)).batcher
        self._check_waiting(batcher)
        self._under_way += 1
        try:
            data = await self._upload(request)
            return await _unless_disconnected(request, self._answer(batcher, data))
        except ClientDisconnect:
            return Response(status_code=_CLIENT_CLOSED)
        finally:
            self._under_way -= 1

    def _check_waiting(self, batcher: Batcher) -> None:
        if self._under_way >= self._limits.waiting:
            seconds = max(1, math.ceil(self._under_way * batcher.seconds))
            raise HTTPException(
                503,
                f"{self._under_way} images are being translated: try again in {seconds} s",
                {"retry-after": str(seconds)},
            )

    async def _upload(self, request: Request) -> bytes:
        """The image's bytes: the body, or the first file of a form."""
        try:
            return await asyncio.wait_for(_read_upload(request, self._limits.bytes), self._limits.seconds)
        except asyncio.TimeoutError:
            raise HTTPException(
                408, f"the upload took more than {self._limits.seconds:g} s: send a smaller image"
            ) from None

    async def _answer(self, batcher: Batcher, data: bytes) -> Response:
        began = time.perf_counter()
        info = batcher.predictor.info
        async with self._decoding:
            image = await asyncio.to_thread(self._decode, data, info.input)
        decoded = time.perf_counter()
        try:
            result = await batcher.translate(image.pixels)
        except TranslatekitError as error:
            raise HTTPException(422, str(error)) from None
        encoding = time.perf_counter()
        is_plain = info.output.shown and result.pixels.dtype == np.uint8
        output = image_of(result.pixels if is_plain else preview(result.pixels, info.output), image.alpha)
        async with self._decoding:
            png = await asyncio.to_thread(encode_image, output, ".png", compression=_PNG_COMPRESSION)
        timing = _server_timing(decoded - began, result, time.perf_counter() - encoding)
        return Response(png, media_type="image/png", headers={"server-timing": timing})

    def _decode(self, data: bytes, spec: ImageSpec) -> Image:
        try:
            height, width = read_size(data)
            if height * width > self._limits.pixels:
                raise HTTPException(
                    413,
                    f"the image has {width}x{height} pixels, and {self._limits.pixels:,} are the limit: "
                    "make it smaller",
                )
            if spec.shown:
                return read_levels(data, 1 if spec.count == 1 else 3, deep=False)
            if spec.meaning != "labels" or spec.count > 1:
                raise DataError(
                    f"the model takes {spec}, which is no drawing: send the file to /open?name=FILE"
                )
            return image_of(fit_image(read_image(data), drawn_spec(spec), "the drawing"))
        except DataError as error:
            raise HTTPException(422, str(error)) from None


def make_app(
    models: Models,
    limits: Limits | None = None,
    hosts: frozenset[str] | None = LOCAL_NAMES,
    token: str | None = None,
) -> Starlette:
    """The application: the page, ``POST /translate``, ``GET /model``, ``GET /example`` and ``GET /health``.

    Files that a browser cannot show are ``POST``ed to ``/open``, looked at by ``GET /shown`` and saved by
    ``GET /file``.

    Args:
        models: the model, or those of a run's directions; the application starts and ends them.
        limits: the defaults when not given.
        hosts: names that the server goes by; None for any, where a token or something else guards it.
        token: see `translatekit_tools.paint.guard.Guard`.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with models:
            yield

    service = _Service(models, limits or Limits())
    routes = [
        Route("/translate", service.translate, methods=["POST"]),
        Route("/model", service.model),
        Route("/open", service.open, methods=["POST"]),
        Route("/shown", service.shown),
        Route("/file", service.saved),
        Route("/example", service.example),
        Route("/health", service.health),
        Route("/", _page_file("index.html")),
        *(Route(f"/{name}", _page_file(name)) for name in PAGE_FILES if name != "index.html"),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Guard, hosts=hosts, token=token)],
        exception_handlers={HTTPException: _explain, Exception: _internal_error},
    )


def describe_served(
    batcher: Batcher, name: str, palette: list[PaletteClass] | None, mode: str, limits: Limits
) -> dict[str, Any]:
    """What ``GET /model`` answers: the model, its palette, and the server's limits (see `describe`)."""
    device = batcher.predictor.device
    return {
        **describe(
            batcher.predictor.info,
            name=name,
            palette=palette,
            mode=mode,
            max_pixels=limits.pixels,
            facts=[("Runs on", device)] if device else (),
        ),
        "device": device,
        "limits": {"bytes": limits.bytes, "pixels": limits.pixels},
    }


def serve(
    model: str | Path, options: PaintOptions | None = None, say: Callable[[str, str], None] | None = None
) -> None:
    """Serve the page for a model until Ctrl-C.

    Args:
        model: a model file of any installed backend, or a run's folder.
        options: those of ``translatekit paint``.
        say: called with the page's address and a line about the model, before the first request is answered.

    Raises:
        TranslatekitError: the model cannot be opened, or the address is taken.
        KeyboardInterrupt: Ctrl-C ended it.
    """
    options = options or PaintOptions()
    run_options = RunOptions(
        direction=options.direction, best=options.best, device=options.device, precision=options.precision
    )
    files = find_directions(model, run_options)
    limits = Limits(options.max_pixels, options.max_megabytes * 1_000_000, options.max_waiting)
    with listen(options.host, options.port) as listener:
        openers = {
            name: partial(_open, file, name or options.direction, options, limits)
            for name, file in files.items()
        }
        file, open_first = next(iter(files.values())), next(iter(openers.values()))
        first = open_first()
        info, description = first.batcher.predictor.info, first.description
        models = Models(first, openers if len(openers) > 1 else None)
        is_local = _is_loopback(listener)
        token = choose_token(options, is_local)
        hosts = LOCAL_NAMES | {options.host.lower()} if is_local else None
        app = make_app(models, limits, hosts, token)
        address = _address(listener, options.host) + ("" if token is None else f"#token={token}")
        if say is not None:
            say(
                address,
                f"{description['name']}: {info.generator}, {info.size} pixels, "
                f"on {description['device'] or file.suffix}",
            )
        # The page asks for an example as soon as it is open; finding the data can take seconds.
        threading.Thread(target=lambda: first.examples and first.examples.example(0), daemon=True).start()
        if options.open:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        config = uvicorn.Config(
            app,
            log_level="error",  # a warning is about a client that sent nonsense
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=5,
        )
        uvicorn.Server(config).run(sockets=[listener])


def choose_token(options: PaintOptions, is_local: bool) -> str | None:
    """What ``Authorization: Bearer`` must hold; None where nothing must.

    Args:
        options: what the user says of it.
        is_local: nobody but this machine reaches the server.
    """
    if options.token is None:
        return None if is_local else secrets.token_urlsafe(16)
    return None if options.token.lower() == "off" else options.token


def _open(file: Path, direction: str | None, options: PaintOptions, limits: Limits) -> LoadedModel:
    """Open a model file for the page."""
    run_options = RunOptions(direction=direction, device=options.device, precision=options.precision)
    batcher = Batcher(lambda: with_passes(open_model(file, run_options), options.passes), options.batch_size)
    info = batcher.predictor.info
    palette = find_palette(file, info, None if options.palette is None else Path(options.palette))
    description = describe_served(batcher, name_of(file), palette, options.mode, limits)
    return LoadedModel(
        batcher=batcher, description=description, examples=Examples(info, RunConfig.of_model(file))
    )


def _whole(text: str) -> int:
    try:
        return int(text[:18])
    except ValueError:
        raise HTTPException(422, f"{text!r:.20} is no whole number") from None


def _number(text: str) -> float:
    try:
        number = float(text[:40])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise HTTPException(422, f"{text!r:.20} is no number, such as level=40")
    return number


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OptionError: there is no such address here, or its port is taken.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise OptionError(
            f"--host {host!r} is no address of this machine: pass 127.0.0.1 or 0.0.0.0"
        ) from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise OptionError(
            f"port {port} of {host} cannot be listened at ({(error.strerror or str(error)).lower()}): "
            "pass another --port, or --port 0 for any that is free"
        ) from None
    return listener


# --- requests ---------------------------------------------------------------------------------------------------


async def _read_upload(request: Request, limit: int) -> bytes:
    too_large = HTTPException(
        413, f"the upload has more than the limit of {limit:,} bytes: send a smaller image"
    )
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > limit:
        raise too_large
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise too_large
        return message

    limited = Request(request.scope, receive)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await limited.body()
    async with limited.form(max_files=1, max_fields=16) as form:
        for value in form.values():
            if isinstance(value, UploadFile):
                return await value.read()
    raise HTTPException(422, "the form holds no file: send the image as one, or as the body itself")


async def _unless_disconnected(request: Request, answer: Any) -> Response:
    """The answer, unless the client disconnects first: then the work for it is cancelled."""
    working = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        response: Response = working.result()
        return response
    finally:
        working.cancel()
        leaving.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _server_timing(decoding: float, result: Translated, encoding: float) -> str:
    parts = {
        "decode": decoding,
        "wait": result.queue_seconds,
        "model": result.model_seconds,
        "encode": encoding,
    }
    return ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in parts.items())


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _internal_error(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the server failed at this image: see its terminal"}, 500)


def _page_file(name: str) -> Callable[[Request], Any]:
    content = page_file(name)

    async def answer(request: Request) -> Response:
        return Response(content, headers={"content-type": PAGE_FILES[name], "cache-control": "no-cache"})

    return answer


# --- addresses --------------------------------------------------------------------------------------------------


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def _address(listener: socket.socket, host: str) -> str:
    """Where a browser finds the page."""
    bound, port = listener.getsockname()[:2]
    if ipaddress.ip_address(bound).is_unspecified:
        host = _lan_address()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _lan_address() -> str:
    """The address that other machines of the network know this one by, as far as can be told."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: the system only chooses a way there
        return str(probe.getsockname()[0])
    return socket.gethostname()
