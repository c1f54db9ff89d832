#!/usr/bin/env python3
"""Stage A calls stage B over TLS with identity tokens of a metadata server; whoever has none, or a wrong one, is refused with a
message that says what is missing, and no token is ever in a log."""
import base64
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from harness import PROGRAM, SMOL, free_port, need, wait_until

need(SMOL)
if shutil.which("openssl") is None:
    print("SKIPPED: openssl, which makes the certificates, is absent")
    sys.exit(77)
CALLER = "stage-a@p.iam.gserviceaccount.com"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Google(contextlib.AbstractContextManager):
    """A certificate authority, a signer of tokens and the metadata server that gives them away."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA", "-days", "2")
        self.openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "b.key", "-out", "b.csr", "-subj", "/CN=localhost")
        (self.folder / "names").write_text("subjectAltName=DNS:localhost")
        self.openssl("x509", "-req", "-in", "b.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "b.pem", "-days", "2", "-extfile", "names")
        self.openssl("genrsa", "-out", "token.key", "2048")
        modulus = self.openssl("rsa", "-in", "token.key", "-noout", "-modulus").decode().strip().split("=")[1]
        keys = {"keys": [{"kty": "RSA", "kid": "k1", "alg": "RS256", "n": encoded(bytes.fromhex(modulus)), "e": "AQAB"}]}
        (self.folder / "keys.json").write_text(json.dumps(keys))
        self.changes, self.given, self.refuses = {}, [], False
        google = self

        class Metadata(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                good = self.headers.get("Metadata-Flavor") == "Google" and not google.refuses
                body = google.token(self.path).encode() if good else b""
                self.send_response(200 if good else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def openssl(self, *arguments, stdin=None):
        return subprocess.run(["openssl", *arguments], cwd=self.folder, input=stdin, capture_output=True, check=True).stdout

    def token(self, path):
        audience = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)["audience"][0]
        claims = {"iss": "https://accounts.google.com", "aud": audience, "iat": int(time.time()), "exp": int(time.time()) + 3600, "email": CALLER,
                  "email_verified": True, **self.changes}
        text = encoded(json.dumps({"alg": "RS256", "kid": "k1"}).encode()) + "." + encoded(json.dumps(claims).encode())
        token = text + "." + encoded(self.openssl("dgst", "-sha256", "-sign", "token.key", stdin=text.encode()))
        self.given.append(token)
        return token


class StageA(contextlib.AbstractContextManager):
    """Stage A of two, calling stage B at `url`."""

    def __init__(self, google, url, *flags, **environment):
        self.port = free_port()
        self.log = google.folder / f"a-{self.port}.log"
        self.process = subprocess.Popen(
            [PROGRAM, "stage", "--stage", "a", "--cuts", "15", "--model", str(SMOL), "--host", "127.0.0.1", "--port", str(self.port), "--next", url, *flags],
            env=dict(os.environ, SSL_CERT_FILE=str(google.folder / "ca.pem"), GCE_METADATA_HOST=f"127.0.0.1:{google.server.server_port}", **environment),
            stderr=self.log.open("w"))

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def ask(self, path, body=None):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            connection.request("POST" if body else "GET", path, json.dumps(body) if body else None)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return None, ""

    def refusal(self, *words):
        """What /health says is wrong with the chain or with stage B, once it holds all words."""

        def look():
            health = json.loads(self.ask("/health")[1] or "{}")
            told = [health.get("error", {}).get("message", "")] + [stage["problem"] for stage in health.get("stages", [])]
            return next((message for message in told if all(word in message for word in words)), None)

        return wait_until(look, 60, words)


with tempfile.TemporaryDirectory(prefix="commissure-e2e-") as folder, Google(folder) as google:
    port = free_port()
    url = f"https://localhost:{port}"
    log_b = google.folder / "b.log"
    stage_b = subprocess.Popen(
        [PROGRAM, "stage", "--stage", "b", "--cuts", "15", "--model", str(SMOL), "--host", "127.0.0.1", "--port", str(port), "--tls-cert",
         google.folder / "b.pem", "--tls-key", google.folder / "b.key", "--require-identity", url, "--allowed-callers", CALLER, "--identity-keys",
         google.folder / "keys.json"], stderr=log_b.open("w"))
    try:
        with StageA(google, url, K_SERVICE="a") as stage:  # as on Cloud Run: --identity auto
            wait_until(lambda: stage.ask("/health")[0] == 200, 60, "the chain is up over TLS with tokens")
            status, text = stage.ask("/v1/completions", {"prompt": "Once", "max_tokens": 4, "temperature": 0})
            assert status == 200 and json.loads(text)["usage"]["completion_tokens"] == 4, text
            n_given = len(google.given)
            assert n_given == 1, f"one token serves all calls, {n_given} were taken"
        with StageA(google, url, "--identity", "none") as stage:
            print("no token:", stage.refusal("--identity metadata", "no identity token"))
        wrong = {"another audience": {"aud": "https://c.run.app"}, "another issuer": {"iss": "https://example.com"},
                 "another account": {"email": "stage-x@p.iam.gserviceaccount.com"}, "another time": {"iat": int(time.time()) + 3000}}
        for name, google.changes in wrong.items():
            with StageA(google, url, "--identity", "metadata") as stage:
                print(f"{name}:", stage.refusal("roles/run.invoker", url))
        google.changes = {}
        google.refuses = True
        with StageA(google, url, "--identity", "metadata") as stage:
            print("no service account:", stage.refusal("no service account"))
        google.refuses = False
        other = subprocess.run([PROGRAM, "stage", "--stage", "a", "--cuts", "15", "--model", str(SMOL), "--port", "0", "--next", "127.0.0.1:1", "--identity",
                                "metadata"], capture_output=True, text=True, timeout=60)
        assert other.returncode != 0 and "never sent in the clear" in other.stderr, other.stderr
    finally:
        stage_b.terminate()
        assert stage_b.wait(20) == 0
    logs = "".join(path.read_text() for path in google.folder.glob("*.log"))
    assert "a call was refused" in logs
    for token in google.given:
        for part in token.split(".")[1:]:
            assert part not in logs, "a token is in a log"
    assert "Bearer" not in logs and "eyJ" not in logs, "a token is in a log"
    print(f"security: {len(google.given)} tokens given away, none in a log")
