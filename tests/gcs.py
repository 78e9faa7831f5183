"""A storage service that speaks as much of Google's JSON API as Arrow's file system asks for.

    python tests/gcs.py ROOT

Buckets are the folders in ROOT. The first line that it prints is its URL. It is a process of its own
because Arrow holds the interpreter's lock while it waits for some answers.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

_JSON = "application/json"


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path

    def do_GET(self):
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        # /storage/v1/b/<bucket>/o/<object>, the slashes of an object's name quoted
        _, bucket, *rest = map(unquote, url.path.removeprefix("/storage/v1/").split("/"))
        folder = self.root / bucket
        if not folder.is_dir():
            self._missing("The specified bucket does not exist.")
        elif not rest:
            self._json({"kind": "storage#bucket", "id": bucket, "name": bucket})
        elif len(rest) == 1:
            self._json(_listed(folder, asked.get("prefix", ""), asked.get("delimiter")))
        elif not (folder / rest[1]).is_file():
            self._missing(f"No such object: {bucket}/{rest[1]}")
        elif asked.get("alt") == "media":
            self._media((folder / rest[1]).read_bytes())
        else:
            self._json(_described(folder, rest[1]))

    def _media(self, content):
        wanted = self.headers.get("Range", "").removeprefix("bytes=")
        first, _, last = wanted.partition("-")
        start, stop = int(first or 0), min(int(last) + 1 if last else len(content), len(content))
        place = f"bytes {start}-{stop - 1}/{len(content)}"
        headers = {"Content-Range": place, "x-goog-generation": "1"} if wanted else {"x-goog-generation": "1"}
        self._answer(206 if wanted else 200, content[start:stop], "application/octet-stream", headers)

    def _missing(self, message):
        error = {"code": 404, "message": message, "errors": [{"reason": "notFound", "message": message}]}
        self._answer(404, json.dumps({"error": error}).encode(), _JSON, {})

    def _json(self, value):
        self._answer(200, json.dumps(value).encode(), _JSON, {})

    def _answer(self, status, body, kind, headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


def _described(folder: Path, name: str) -> dict[str, str]:
    size = (folder / name).stat().st_size
    return {
        "kind": "storage#object",
        "id": f"{folder.name}/{name}/1",
        "bucket": folder.name,
        "name": name,
        "generation": "1",
        "metageneration": "1",
        "size": str(size),
        "updated": "2026-01-01T00:00:00Z",
    }


def _listed(folder: Path, prefix: str, delimiter: str | None) -> dict[str, object]:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    items, below = [], set()
    for name in (name for name in names if name.startswith(prefix)):
        head, cut, _ = name[len(prefix) :].partition(delimiter or "\0")
        if cut:
            below.add(prefix + head + cut)
        else:
            items.append(_described(folder, name))
    return {"kind": "storage#objects", "items": items, "prefixes": sorted(below)}


if __name__ == "__main__":
    Answers.root = Path(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
