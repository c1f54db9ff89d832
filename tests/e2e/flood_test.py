#!/usr/bin/env python3
"""A stage that others reach over TCP outlives peers that flood it, that hold every file it may open, and a model that is cut short."""
import contextlib
import http.client
import json
import os
import pathlib
import resource
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from harness import PROGRAM, QUICK, SMOL, free_port, need, wait_until

need(SMOL)
SANITIZED = QUICK  # its allocator keeps what was freed, so memory says nothing
FLOOD_SECONDS = 1 if QUICK else 4


class TwoStages(contextlib.AbstractContextManager):
    """Stages A and B by hand; `limits` are B's. With `tls`, B shows a certificate for localhost."""

    def __init__(self, model=SMOL, limits=None, tls=False):
        self.ports = {"a": free_port(), "b": free_port()}
        self.folder = tempfile.TemporaryDirectory(prefix="commissure-e2e-")
        self.model, self.limits, self.tls, self.processes = model, limits, tls, {}
        if tls:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "b.key", "-out", "b.pem", "-subj", "/CN=localhost",
                            "-addext", "subjectAltName=DNS:localhost", "-days", "2"], cwd=self.folder.name, check=True, capture_output=True)
        for name in "ba":
            self.start(name)
        wait_until(lambda: self.ask()[0] == 200, 60, "the chain answers")

    def start(self, name):
        environment = dict(os.environ, STAGE=name, CUTS="15", MODEL_DIR=str(self.model), PORT=str(self.ports[name]))
        environment.pop("COMMISSURE_HOST", None)
        if name == "a":
            environment["B_ENDPOINT"] = f"https://localhost:{self.ports['b']}" if self.tls else f"127.0.0.1:{self.ports['b']}"
        if self.tls:
            names = {"a": {"SSL_CERT_FILE": "b.pem"}, "b": {"COMMISSURE_TLS_CERT": "b.pem", "COMMISSURE_TLS_KEY": "b.key"}}[name]
            environment.update({key: f"{self.folder.name}/{file}" for key, file in names.items()}, COMMISSURE_HOST="127.0.0.1")
        with open(self.log(name), "a") as log:
            self.processes[name] = subprocess.Popen([PROGRAM, "stage"], env=environment, stderr=log,
                                                    preexec_fn=self.limits if name == "b" else None)

    def __exit__(self, *_):
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.folder.cleanup()

    def log(self, name):
        return pathlib.Path(self.folder.name) / f"{name}.log"

    def ask(self, timeout=30):
        """(status, text, seconds)"""
        begin = time.monotonic()
        try:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.ports["a"], timeout=timeout)) as connection:
                connection.request("POST", "/v1/completions", json.dumps({"prompt": "Once", "max_tokens": 2, "temperature": 0}))
                response = connection.getresponse()
                return response.status, response.read().decode(), time.monotonic() - begin
        except OSError as error:
            return None, repr(error), time.monotonic() - begin

    def private_mib(self, name):
        fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{self.processes[name].pid}/status").read_text().splitlines())
        return int(fields["RssAnon"].split()[0]) // 1024


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers():
    """HPACK: literals that are not indexed."""
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/commissure.v1.Stage/Open"), (b":authority", b"x"),
              (b"content-type", b"application/grpc"), (b"te", b"trailers")]
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)


def connect(port, tls):
    """A connection that speaks HTTP/2."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=1)
    if not tls:
        return peer
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context.wrap_socket(peer)


def flood(port, until, reset, tls):
    """Opens calls as fast as the peer reads, and drops each at once if `reset`. Comes back whenever it is cut."""
    n_calls = n_cuts = 0
    opening = headers()
    while time.monotonic() < until:
        with contextlib.suppress(OSError), connect(port, tls) as peer:
            peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
            for first in range(1, 1 << 30, 400):
                if time.monotonic() > until:
                    return n_calls, n_cuts
                peer.sendall(b"".join(frame(1, 4, stream, opening) + (frame(3, 0, stream, b"\0\0\0\x08") if reset else b"")
                                      for stream in range(first, first + 400, 2)))
                n_calls += 200
        n_cuts += 1
    return n_calls, n_cuts


def floods(tls):
    with TwoStages(tls=tls) as chain:
        before = chain.private_mib("b")
        for reset in (True, False):
            until = time.monotonic() + FLOOD_SECONDS
            most, done = before, threading.Event()

            def watch():
                nonlocal most
                while not done.wait(0.05):
                    most = max(most, chain.private_mib("b"))

            watcher = threading.Thread(target=watch)
            watcher.start()
            n_calls, n_cuts = flood(chain.ports["b"], until, reset, tls)
            status, text, seconds = chain.ask()
            done.set()
            watcher.join()
            print(f"{n_calls} calls{', each reset' * reset}{', over TLS' * tls} in {FLOOD_SECONDS} s: cut {n_cuts} times, private memory {before} -> at most {most} MiB, "
                  f"then an answer in {seconds:.2f} s")
            assert n_cuts > 0, "a connection that floods is cut"
            assert status == 200 and seconds < 10, (status, text, seconds)
            assert SANITIZED or most < 200, f"{most} MiB"
        assert chain.processes["b"].poll() is None
        assert "floods or drops its calls" in chain.log("b").read_text()


def no_files():
    """Idle connections take all files stage B may open; when they have gone, and while they are there, A gets in."""
    with TwoStages(limits=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))) as chain:
        idle = [socket.create_connection(("127.0.0.1", chain.ports["b"]), timeout=5) for _ in range(200)]
        chain.processes["a"].kill()
        chain.processes["a"].wait()
        chain.start("a")
        wait_until(lambda: chain.ask(5)[0] == 200, 60, "a new stage A gets in beside 200 idle connections")
        for connection in idle:
            connection.close()
        chain.processes["a"].kill()
        chain.processes["a"].wait()
        chain.start("a")
        wait_until(lambda: chain.ask(5)[0] == 200, 60, "and when they have gone")


def cut_model():
    """A model that shrinks under a stage ends it with a line that names the file."""
    with tempfile.TemporaryDirectory(prefix="commissure-e2e-") as folder:
        model = pathlib.Path(folder) / "cut.gguf"
        shutil.copy(SMOL, model)
        with TwoStages(model) as chain:
            os.truncate(model, 1 << 20)
            chain.ask(5)
            wait_until(lambda: any(process.poll() is not None for process in chain.processes.values()), 20, "a stage ends")
            ended = next(name for name, process in chain.processes.items() if process.poll() is not None)
            last = chain.log(ended).read_text().splitlines()[-1]
            print(f"stage {ended}:", last)
            assert chain.processes[ended].returncode == 1 and f"{model} can no longer be read" in last, last


floods(tls=False)
if shutil.which("openssl"):
    floods(tls=True)
no_files()
cut_model()
