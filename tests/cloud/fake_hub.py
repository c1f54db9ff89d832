"""A model hub on loopback: what the `hf` program and our own reader ask of it. Standard library only."""
import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), "X-Request-Id": "fake", **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def serve(self):
        hub = self.server.hub
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            hub.n_refused += 1
            return self.answer(401, b'{"error": "Access to this model is restricted."}', X_Error_Code="GatedRepo", X_Error_Message="Access to this model is restricted. Log in.")
        found = re.fullmatch(rf"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(main|{COMMIT}))?", path)
        if found and found[1] in hub.repositories:
            return self.answer(200, json.dumps(self.describe(found[1], found[2])).encode(), Content_Type="application/json")
        found = re.fullmatch(rf"/([^/]+/[^/]+)/resolve/(?:main|{COMMIT})/(.+)", path)
        content = hub.repositories.get(found[1], {}).get(found[2]) if found else None
        if content is None:
            return self.answer(404, b'{"error": "not found"}', X_Error_Code="EntryNotFound")
        return self.send_file(content)

    def describe(self, repository, what):
        files = self.server.hub.repositories[repository]
        if what == "tree":
            return [{"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()} for name, content in files.items()]
        return {"id": repository, "modelId": repository, "sha": COMMIT, "private": False, "gated": False, "tags": [], "siblings": [{"rfilename": name} for name in files]}

    def send_file(self, content):
        version = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X_Repo_Commit": COMMIT, "Accept_Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not wanted:
            return self.answer(200, content, **version)
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        return self.answer(206, content[first:last + 1], Content_Range=f"bytes {first}-{last}/{len(content)}", **version)

    do_GET = do_HEAD = serve


class FakeHub:
    """`repositories`: name to files, name to bytes. `token`: without it all is gated; None: all is open."""

    def __init__(self, repositories, token=None):
        self.repositories, self.token, self.n_refused = repositories, token, 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.hub = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.server.shutdown()
            self.server.server_close()
