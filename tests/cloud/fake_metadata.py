"""The metadata server beside a container of the fake: access tokens and identity tokens of the container's account."""
import base64
import http.server
import json
import socketserver
import subprocess
import threading
import time
import urllib.parse

BASE = "/computeMetadata/v1"


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class Signer:
    """Google's key for identity tokens: what it signs, and the key set that its public half is in."""

    def __init__(self, folder):
        self.key = folder / "token.key"
        subprocess.run(["openssl", "genrsa", "-out", self.key, "2048"], check=True, capture_output=True)
        text = subprocess.run(["openssl", "rsa", "-in", self.key, "-noout", "-modulus"], check=True, capture_output=True).stdout.decode()
        modulus = base64.urlsafe_b64encode(bytes.fromhex(text.strip().split("=")[1])).rstrip(b"=").decode()
        self.keys = {"keys": [{"kty": "RSA", "kid": "fake", "alg": "RS256", "use": "sig", "n": modulus, "e": "AQAB"}]}

    def sign(self, text):
        done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=text.encode(), check=True, capture_output=True)
        return base64.urlsafe_b64encode(done.stdout).rstrip(b"=").decode()


def identity_token(run, account, audience, lifetime=3600, signature=None):
    """A token as Google signs it, or with another signature."""
    claims = {"aud": audience, "azp": "1", "email": account, "email_verified": True, "exp": int(time.time()) + lifetime,
              "iat": int(time.time()), "iss": "https://accounts.google.com", "sub": "1"}
    text = f"{part({'alg': 'RS256', 'kid': 'fake', 'typ': 'JWT'})}.{part(claims)}"
    token = f"{text}.{signature or run.signer.sign(text)}"
    if signature:
        return token  # the front does not know it
    run.tokens[token] = claims
    return token


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(parts.query)
        server = self.server.metadata
        if self.headers.get("Metadata-Flavor") != "Google":
            return self.answer(403, "Missing Metadata-Flavor:Google header.")
        account = BASE + "/instance/service-accounts/default"
        project = server.run.google.project
        pages = {BASE + "/project/project-id": project, BASE + "/project/numeric-project-id": "424242424242",
                 BASE + "/instance/id": "1", BASE + "/instance/region": "projects/424242424242/regions/europe-west4",
                 account + "/email": server.account, "/": "computeMetadata/"}
        if parts.path == account + "/token":
            token = {"access_token": "fake-runtime-token", "expires_in": 3599, "token_type": "Bearer"}
            return self.answer(200, json.dumps(token), "application/json")
        if parts.path == account + "/identity":
            audience = query.get("audience", [""])[0]
            if not audience:
                return self.answer(400, "non-empty audience parameter required")
            return self.answer(200, identity_token(server.run, server.account, audience))
        return self.answer(200, pages[parts.path]) if parts.path in pages else self.answer(404, "not found")

    def answer(self, status, text, kind="application/text"):
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, *_):
        pass


class MetadataServer:
    def __init__(self, run, account):
        self.run, self.account = run, account
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.metadata = self
        self.address = "127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
