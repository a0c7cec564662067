"""The files of a published page, as a folder or as one file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from translatekit import __version__
from translatekit_tools.paint.describe import ANY_TRANSPORT, page_file

_OWN_SCRIPTS = ("main.js", "offline.js", "assets.js", "pixels.js", "local.js")
_WORKERS = ("worker.js", "service-worker.js")  # loaded by other means than import

_POLICY = (
    "default-src 'none'; script-src 'self' blob: 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src blob:; connect-src 'self' data:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'"
)
_POLICY_OF_ONE_FILE = (
    "default-src 'none'; script-src 'unsafe-inline' blob: data: 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src blob: data:; media-src blob:; connect-src data:; worker-src blob:; base-uri 'none'; form-action 'none'"
)
"""What browsers are told to let the page do: none lets it reach another place than its own."""

_IMPORT = re.compile(r"""(\bfrom |\bimport\()"\./([\w-]+\.js)\"""")


def scripts() -> dict[str, bytes]:
    """The page's own scripts by name: those of the painting page, and those of a model in the browser."""
    web = resources.files(__package__) / "web"
    return {
        **{name: page_file(name) for name in ANY_TRANSPORT},
        **{name: (web / name).read_bytes() for name in (*_OWN_SCRIPTS, *_WORKERS)},
    }


def in_folder(title: str, summary: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a page in a folder, by name.

    Args:
        title: of the page.
        summary: for search engines and previews.
        files: what the page's scripts load.
    """
    site = {**files, **scripts(), "style.css": page_file("style.css")}
    site["index.html"] = _document(title, summary, _POLICY).encode()
    version = hashlib.sha256(
        b"".join(hashlib.sha256(name.encode() + b"\0" + site[name]).digest() for name in sorted(site))
    ).hexdigest()
    worker = site["service-worker.js"].replace(b"@VERSION@", version[:16].encode())
    return {**site, "service-worker.js": worker}


def in_one_file(title: str, summary: str, files: Mapping[str, bytes]) -> bytes:
    """The page as one HTML file, which a browser opens from the disk too.

    Scripts import each other by an import map of data: URLs, since a page from the disk may load no file beside it.

    Args:
        title: of the page.
        summary: for search engines and previews.
        files: what the page's scripts load.
    """
    known = {name: _IMPORT.sub(r'\1"\2"', text.decode()) for name, text in scripts().items()}
    modules = {name: _data_url(known[name]) for name in known if name not in ("main.js", *_WORKERS)}
    embedded = {**files, "worker.js": known["worker.js"].encode()}
    parts = [
        f'<script type="importmap">{json.dumps({"imports": modules})}</script>',
        *(
            f'<script type="text/plain" data-file="{html.escape(name)}">{base64.b64encode(data).decode()}</script>'
            for name, data in embedded.items()
        ),
        f'<script type="module">{known["main.js"]}</script>',
    ]
    text = _document(title, summary, _POLICY_OF_ONE_FILE)
    style = page_file("style.css").decode()
    text = text.replace('<link rel="stylesheet" href="style.css">', f"<style>\n{style}</style>")
    # At the end, so that the page is there before the large parts are.
    text = text.replace('    <script type="module" src="main.js"></script>\n', "")
    return text.replace("  </body>", "\n".join(parts) + "\n  </body>").encode()


def _document(title: str, summary: str, policy: str) -> str:
    text = page_file("index.html").decode()
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="referrer" content="no-referrer">',
        f'<meta name="generator" content="translatekit {__version__}">',
        f'<meta name="description" content="{html.escape(summary)}">',
    ]
    text = text.replace(head[0], "\n    ".join(head), 1)
    return text.replace("<title>translatekit paint</title>", f"<title>{html.escape(title)}</title>", 1)


def _data_url(text: str) -> str:
    return f"data:text/javascript;base64,{base64.b64encode(text.encode()).decode()}"


def write(folder: Path, site: Mapping[str, bytes]) -> None:
    """Write the files into a folder."""
    for name, data in site.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
