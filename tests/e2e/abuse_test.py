#!/usr/bin/env python3
"""Clients that misbehave get a clear end; a stream beside them stays the same, and nothing of them is left."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import resource
import socket
import struct
import threading
import time

from harness import QUICK, SMOL, Chain, need, wait_until

STREAM = {"prompt": "Once upon a time", "temperature": 0, "ignore_eos": True, "max_tokens": 40 if QUICK else 120}
N_IDLE = 1000


def connect(chain, receive_buffer=0):
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(60)
    client.connect(("127.0.0.1", chain.port))
    return client


def post(body, path="/v1/completions"):
    payload = json.dumps(body).encode() if not isinstance(body, bytes) else body
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(payload)) + payload


def drop(client):
    """Closes with a reset, as a killed client does."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def answer_of(client):
    got = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65536):
            got += piece
    return got


def few_files():
    """The limit of open files that shells give, for what is started next: the server has to raise it."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def many_files():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def is_socket(descriptor):
    try:
        return os.readlink(descriptor).startswith("socket:")
    except FileNotFoundError:  # closed since it was listed
        return False


class Process:
    """What stage A holds."""

    def __init__(self, chain):
        self.folder = pathlib.Path(f"/proc/{chain.state()['stages'][0]['pid']}")

    def sockets(self):
        return sum(is_socket(entry) for entry in (self.folder / "fd").iterdir())

    def private_kib(self):
        fields = dict(line.split(":", 1) for line in (self.folder / "status").read_text().splitlines())
        return int(fields["RssAnon"].split()[0])


def text_of(chain):
    return "".join(event["choices"][0]["text"] for event in chain.stream("/v1/completions", STREAM))


def refused_requests(chain):
    deep = b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    bodies = [{"n": 10**9}, {"n": 10**30}, {"best_of": 10**9}, {"max_tokens": 10**12}, {"max_tokens": 2**63}, {"logprobs": 10**6}, {"stop": ["x"] * 100_000}, {"stop": [""] * 3},
              {"logit_bias": {str(i): 1 for i in range(20_000)}}, {"logit_bias": {"9" * 400: 1}}, {"top_k": -7}, {"seed": 2**80}, {"temperature": 1e308}, {"timeout": 1e30},
              {"stop_token_ids": [2**40]}, {"prompt": [[5] * 10] * 200_000}, {"prompt": [list(range(1025))] * 3}, {"stop": "x" * 1025}, {"bad_words": ["x" * 900] * 100},
              {"prompt": "x" * (2 << 20)}, {"top_p": 10 ** 300}]
    for body in bodies:
        status, _, text = chain.request("POST", "/v1/completions", {"prompt": "a", "max_tokens": 1, **body})
        assert status in (400, 413) and json.loads(text)["error"]["message"], (status, str(body)[:80], text[:300])
        assert len(text) < 4096, "an error does not repeat the input"
    for raw in (deep, b"\xff\xfe" * 1000, b'{"prompt": "' + b"\\ud800" * 10 + b'"}', b'{"a":' * 50_000):
        status, _, text = chain.request("POST", "/v1/completions", raw)
        assert status == 400, (status, raw[:30], text[:200])


def broken_http(chain):
    cases = [(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", (414, 431)), (b"GET / HTTP/1.1\r\n" + b"X-A: " + b"b" * 70_000 + b"\r\n\r\n", (431,)),
             (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n", (431,)), (b"\x16\x03\x01\x02\x00\x01" + bytes(500), (400,)), (b"NONSENSE\r\n\r\n", (400,)),
             (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", (400,)), (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", (413,)),
             (b"GET /health HTTP/1.1\r\n\r\n", (400,)), (b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400,)),
             (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", (501,)),
             (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n", (400, 413)),
             (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,))]
    for raw, expected in cases:
        with connect(chain) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(raw)
            answer = answer_of(client)
            assert answer.count(b"HTTP/1.1 ") <= 1, ("a body was taken for a request", raw[:60])
            head = answer.split(b"\r\n")[0]
            assert not head or int(head.split()[1]) in expected, (raw[:40], head)


def leave_at_random(chain, count):
    """Half requests, requests without a reader, answers left in the middle."""
    def one(i):
        dice = random.Random(i)
        request = post({**STREAM, "stream": dice.random() < 0.6, "prompt": "a " * dice.randint(1, 300), "max_tokens": 200})
        client = connect(chain)
        client.sendall(request[: dice.choice([7, 40, len(request) - 3, len(request), len(request), len(request)])])
        if dice.random() < 0.4:
            client.settimeout(0.05)
            with contextlib.suppress(OSError):
                client.recv(100)
        drop(client) if dice.random() < 0.5 else client.close()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(count)))


def slow_readers(chain, stack):
    """Readers that take nothing while their answers grow."""
    body = {"prompt": ["a"] * 16, "max_tokens": 12 if QUICK else 300, "ignore_eos": True, "stream": True, "logprobs": 20, "temperature": 1, "seed": 1}
    for _ in range(2):
        client = stack.enter_context(connect(chain, receive_buffer=4096))
        client.sendall(post(body))


def unread_flood(chain, process):
    """An answer that outgrows every buffer at once (prompts echoed, nothing computed) is cut, and said to be so by its missing end."""
    n_sockets = process.sockets()
    with connect(chain, receive_buffer=4096) as client:
        client.sendall(post({"prompt": [" " * 60_000] * 100, "max_tokens": 0, "echo": True, "stream": True}))
        wait_until(lambda: process.sockets() <= n_sockets, 60, "the reader who takes nothing is cut")
        assert b"[DONE]" not in answer_of(client)


def large_bodies(chain):
    """Requests that are all work to read hold up neither each other's clients nor ordinary ones, however few threads read them."""
    members = b",".join(b'"k%d":0' % i for i in range(60_000))
    attacks = [(b'{"messages":[{"role":"user","content":"a"}],"max_tokens":1,"chat_template_kwargs":{%b}}' % members, "/v1/chat/completions", 400),
               (b'{"inputs":"a","parameters":{"max_new_tokens":1,%b}}' % members, "/generate", 200),
               (b'{"prompt":"a","max_tokens":1,%b}' % members, "/v1/completions", 200),
               (b'{"tokens":[' + b"407," * 1_000_000 + b"1]}", "/detokenize", 400), (json.dumps({"content": "x" * (4 << 20)}).encode(), "/tokenize", 400)]
    with contextlib.ExitStack() as stack:
        for body, path, _ in attacks * 2:  # who ask and do not read
            client = stack.enter_context(connect(chain, receive_buffer=4096))
            client.sendall(post(body, path))
        for _ in range(3):
            started = time.monotonic()
            assert chain.request("POST", "/v1/completions", {"prompt": "b", "max_tokens": 1, "user": "u" * 40_000})[0] == 200
            assert QUICK or time.monotonic() - started < 10, time.monotonic() - started
    for body, path, expected in attacks:
        status, _, text = chain.request("POST", path, body)
        assert status == expected and len(text) < 4096, (path, status, text[:200])


def flooded_log(chain):
    """What anybody may send as fast as the network goes fills no disk."""
    log = pathlib.Path(chain.state()["stages"][0]["log"])
    before = log.stat().st_size
    for _ in range(20):
        with connect(chain) as client:
            n = 50
            client.sendall((b"GET /" + b"a" * 15_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n") * n)
            client.shutdown(socket.SHUT_WR)
            assert answer_of(client).count(b"HTTP/1.1 404") == n
    grown = log.stat().st_size - before
    assert grown < 200_000, f"{grown} bytes of log for 1000 requests"


def pipelined(chain):
    with connect(chain) as client:
        n = 200
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * (n - 1) + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer_of(client).count(b"HTTP/1.1 200 OK") == n


def idle(chain, count, stack):
    clients = [stack.enter_context(connect(chain)) for _ in range(count)]
    for client in clients[::2]:
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nX-Slow: ")  # a slow-loris: bytes, but never a request
    return clients


def trickle(clients, stop):
    while not stop.wait(0.2):
        for client in clients[::2]:
            with contextlib.suppress(OSError):
                client.send(b"a")


def main():
    need(SMOL)
    scale = 10 if QUICK else 1
    few_files()
    with Chain(SMOL, stages=2, flags=["--max-model-len", "1024"]) as chain, concurrent.futures.ThreadPoolExecutor(1) as beside:
        many_files()
        process = Process(chain)
        expected = text_of(chain)
        if not QUICK:  # or memory would grow later: the whole KV pool was in use once
            chain.post("/v1/completions", {"prompt": ["a"] * 16, "max_tokens": 250, "ignore_eos": True})
        leave_at_random(chain, 40 // scale)
        unread_flood(chain, process)
        n_sockets, memory = process.sockets(), process.private_kib()

        def rested():
            return chain.metric("commissure_num_requests_running") == 0 and chain.metric("commissure_kv_blocks_used") == 0

        for attack in (refused_requests, broken_http, large_bodies, flooded_log, pipelined, lambda c: leave_at_random(c, 300 // scale)):
            stream = beside.submit(text_of, chain)
            attack(chain)
            assert stream.result(timeout=170) == expected, "a stream beside it is untouched"
            wait_until(rested, 60, "the KV of all who left is free")

        with contextlib.ExitStack() as stack:
            stop = threading.Event()
            clients = idle(chain, N_IDLE, stack)
            wait_until(lambda: process.sockets() >= n_sockets + N_IDLE, 60, "all are let in")
            thread = threading.Thread(target=trickle, args=(clients, stop))
            thread.start()
            stack.callback(thread.join)
            stack.callback(stop.set)
            assert text_of(chain) == expected, "idle and slow clients cost nobody anything"
        wait_until(lambda: process.sockets() <= n_sockets + 2, 60, "all sockets are closed")
        unread_flood(chain, process)
        with contextlib.ExitStack() as stack:
            slow_readers(chain, stack)
            wait_until(lambda: chain.metric("commissure_num_requests_running") > 0, 60, "they run")
            assert text_of(chain) == expected, "slow readers hold nobody up"
            now = process.private_kib()
            assert QUICK or now < memory + (64 << 10), f"what they leave unread is bounded: {memory} KiB before, {now} now"
            wait_until(rested, 170, "they are cut, or done")
        wait_until(lambda: process.sockets() <= n_sockets + 2, 60, "all sockets are closed")
        if not QUICK:  # a sanitizer keeps freed memory back
            wait_until(lambda: process.private_kib() < memory + (32 << 10), 60, "memory is back")
        print(f"abuse: ok; {n_sockets} sockets before, {process.sockets()} after; {memory >> 10} MiB private before, {process.private_kib() >> 10} after")


if __name__ == "__main__":
    main()
