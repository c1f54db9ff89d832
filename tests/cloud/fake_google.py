"""A stateful fake of the Google Cloud APIs that `commissure up` reaches through the real gcloud.

gcloud talks to it through an HTTP proxy (CONNECT) and trusts a certificate authority made for this run, so hosts, paths
and bodies are exactly those that Google would get. What lives where: this file is the server, the table of routes and
the injected failures; fake_apis.py and fake_storage.py answer the control plane; fake_run.py is Cloud Run, with
fake_front.py before its containers and fake_metadata.py beside them. Standard library and the openssl program only.
"""
import dataclasses
import http.server
import json
import pathlib
import re
import shutil
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time
import traceback
import urllib.parse

PROJECT_NUMBER = "424242424242"
HOSTS = ["*.googleapis.com", "googleapis.com", "*.rep.googleapis.com", "oauth2.googleapis.com", "localhost", "*.run.app"]


class ApiError(Exception):
    """An answer of Google's error form."""

    def __init__(self, code, message, status=None, details=None):
        names = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
                 409: "ALREADY_EXISTS", 412: "FAILED_PRECONDITION", 416: "OUT_OF_RANGE", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
        super().__init__(message)
        self.code = code
        self.body = {"error": {"code": code, "message": message, "status": status or names.get(code, "UNKNOWN"), "details": details or []}}


@dataclasses.dataclass
class Failure:
    """Meets the next `times` calls that match `pattern` ("POST run.googleapis.com/apis/..."): an action, an error, or both."""
    pattern: str
    error: ApiError = None
    times: int = 1
    action: object = None


@dataclasses.dataclass
class Request:
    method: str
    host: str
    path: str
    query: dict
    headers: object
    body: bytes

    def json(self):
        return json.loads(self.body or b"{}")

    def argument(self, name, default=None):
        return self.query.get(name, [default])[0]


@dataclasses.dataclass
class Reply:
    body: object = b""  # bytes, or what JSON takes
    status: int = 200
    headers: dict = dataclasses.field(default_factory=dict)


CUT, LOST = "the connection breaks and the call has no effect", "the connection breaks after the call's effect"

ROUTES = []


def route(method, host, path):
    """Registers `function(google, request, *groups)` for a method and regular expressions of host and path."""
    def register(function):
        ROUTES.append((method, re.compile(host + r"\.googleapis\.com"), re.compile(path), function))
        return function
    return register


class Authority:
    """A certificate authority for this run, and one leaf for every host of the fake."""

    def __init__(self, folder):
        self.ca = folder / "ca.pem"
        self.leaf, key = folder / "leaf.pem", folder / "leaf.key"
        config = folder / "openssl.cnf"
        names = ",".join([f"DNS:{host}" for host in HOSTS] + ["IP:127.0.0.1"])
        config.write_text(f"[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n[leaf]\nsubjectAltName={names}\n")

        def openssl(*arguments):
            subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-config", config]
        openssl("req", "-x509", *ec, "-keyout", folder / "ca.key", "-out", self.ca, "-subj", "/CN=commissure test CA", "-days", 2, "-extensions", "ca")
        openssl("req", *ec, "-keyout", key, "-out", folder / "leaf.csr", "-subj", "/CN=localhost")
        openssl("x509", "-req", "-in", folder / "leaf.csr", "-CA", self.ca, "-CAkey", folder / "ca.key", "-CAcreateserial",
                "-out", self.leaf, "-days", 2, "-extfile", config, "-extensions", "leaf")
        self.key = key

    def server_context(self, protocols=("http/1.1",)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.leaf, self.key)
        context.set_alpn_protocols(list(protocols))
        return context


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    host = ""

    def log_message(self, *_):
        pass

    def do_CONNECT(self):
        self.host = self.path.split(":")[0]
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.connection = self.server.google.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = socketserver._SocketWriter(self.connection)
        self.close_connection = False

    def serve(self):
        parts = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.host or parts.hostname or "", parts.path, urllib.parse.parse_qs(parts.query), self.headers, body)
        reply = self.server.google.answer(request)
        if reply in (CUT, LOST):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)  # at once, whoever still holds the connection
            return
        payload = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = serve


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        """A client that went away, as a rule."""
        if self.google.log:
            traceback.print_exc(file=self.google.log)
            self.google.log.flush()


class FakeGoogle:
    """One project in one fake cloud. `calls` is every request seen, in order: (method, host, path, body)."""

    def __init__(self, project="demo-project", program=None, stage_environment=None, log=None):
        import fake_apis, fake_run, fake_storage  # noqa: they register their routes

        self.project = project
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="commissure-cloud-"))
        self.authority = Authority(self.folder)
        self.tls = self.authority.server_context()
        self.lock = threading.RLock()
        self.calls, self.failures = [], []
        self.mishap = None  # function(name, body): an ApiError, CUT before the call takes effect, LOST when it has, or None; for every call
        self.builder = None  # runs builds' steps (fake_builder.py)
        self.log = log
        self.apis = fake_apis.new_state()
        self.storage = fake_storage.Storage(self.folder / "storage", self.apis["policies"])
        self.run = fake_run.CloudRun(self, program, stage_environment or {})
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.google = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.run.close()
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self):
        """What makes gcloud, and everything else that asks, use this fake and nothing of the user's own."""
        return {
            "CLOUDSDK_CONFIG": str(self.folder / "gcloud"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN": "fake-access-token",
            "CLOUDSDK_PROXY_TYPE": "http", "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1", "CLOUDSDK_PROXY_PORT": str(self.port),
            "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(self.authority.ca),
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1", "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "False", "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_STORAGE_TRACKER_FILES_DIRECTORY": str(self.folder / "uploads"),  # else uploads of other tests would be resumed
            "CLOUDSDK_STORAGE_PROCESS_COUNT": "1", "CLOUDSDK_STORAGE_THREAD_COUNT": "4",
            "CURL_CA_BUNDLE": str(self.authority.ca), "SSL_CERT_FILE": str(self.authority.ca),
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(self.authority.ca),
        }

    def fail(self, pattern, code, message, times=1, **error):
        self.failures.append(Failure(pattern, ApiError(code, message, **error), times))

    def on_call(self, pattern, action, arrives):
        """Acts when the next such call comes, which then takes effect or, if it does not arrive, none."""
        self.failures.append(Failure(pattern, None if arrives else ApiError(503, "never arrived"), 1, action))

    def answer(self, request):
        name = f"{request.method} {request.host}{request.path}"
        with self.lock:
            self.calls.append((request.method, request.host, request.path, request.body))
            mishap = self.mishap(name, request.body) if self.mishap else None
            try:
                if isinstance(mishap, ApiError):
                    raise mishap
                reply = self.find(request, name) if mishap != CUT else CUT
            except ApiError as error:
                reply = Reply(error.body, error.code)
            if mishap == LOST:
                return LOST
        if self.log and isinstance(reply, Reply):
            print(f"{time.monotonic():.2f} {reply.status} {name}?{urllib.parse.urlencode(request.query, True)}", file=self.log, flush=True)
        return reply

    def find(self, request, name):
        for failure in self.failures:
            if failure.times > 0 and re.search(failure.pattern, name):
                failure.times -= 1
                if failure.action:
                    failure.action()
                if failure.error:
                    raise failure.error
        if request.host == "www.googleapis.com" and request.path == "/oauth2/v3/certs":  # the keys of identity tokens are for everybody
            return Reply(self.run.signer.keys)
        if "fake-" not in request.headers.get("Authorization", ""):
            raise ApiError(401, "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
                                "valid authentication credential.")
        for method, host, path, function in ROUTES:
            found = path.fullmatch(request.path) if method == request.method and host.fullmatch(request.host) else None
            if found:
                reply = function(self, request, *[urllib.parse.unquote(group or "") for group in found.groups()])
                return reply if isinstance(reply, Reply) else Reply(reply)
        raise ApiError(404, f"the fake has no answer for {name}")

    def changes(self, since=0):
        """The requests from the `since`-th on that change something."""
        reads = (":getIamPolicy", ":testIamPermissions", "entries:list", ":access")
        return [f"{method} {host}{path}" for method, host, path, _ in self.calls[since:]
                if method not in ("GET", "HEAD") and not path.endswith(reads)]
