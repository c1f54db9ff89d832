"""Cloud Run's front end before a service of the fake: TLS, identity, concurrency, timeout; then the bytes pass unchanged.

It reads HTTP/2 frame headers and the header blocks of requests (plain literals and the tables, no Huffman: gRPC sends none), and the
first request of an HTTP/1 connection.
"""
import select
import socket
import ssl
import struct
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS, PADDED, PRIORITY = 1, 4, 8, 32
STATIC_NAMES = [None, ":authority", ":method", ":method", ":path", ":path", ":scheme", ":scheme", *[":status"] * 7, "accept-charset",
                "accept-encoding", "accept-language", "accept-ranges", "accept", "access-control-allow-origin", "age", "allow",
                "authorization"]


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header that no table remembers; both parts shorter than 127 bytes."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def text_literal(value):
    """A text as HPACK writes it, without Huffman."""
    if len(value) < 127:
        return bytes([len(value)]) + value
    rest, size = len(value) - 127, bytes([127])
    while rest >= 128:
        size, rest = size + bytes([rest & 127 | 128]), rest >> 7
    return size + bytes([rest]) + value


def without_signature(value):
    """A token as a container gets it: the platform has checked the signature and puts words in its place."""
    head, dot, _ = value.rpartition(".")
    return head + ".SIGNATURE_REMOVED_BY_GOOGLE" if dot and "." in head else value


class HeaderReader:
    """Finds `authorization` and `x-serverless-authorization` in the header blocks of one connection."""

    def __init__(self):
        self.table = []  # newest first: (name, value)
        self.tokens = []  # where tokens stand in the block that was read last: (first byte, byte behind, value)

    def integer(self, block, at, bits):
        value, at = block[at] & (1 << bits) - 1, at + 1
        if value < (1 << bits) - 1:
            return value, at
        shift = 0
        while True:
            value, more, at, shift = value + ((block[at] & 127) << shift), block[at] & 128, at + 1, shift + 7
            if not more:
                return value, at

    def text(self, block, at):
        coded = block[at] & 128
        size, at = self.integer(block, at, 7)
        return ("(coded)" if coded else block[at:at + size].decode("latin-1")), at + size

    def name(self, index):
        if index < 62:
            return STATIC_NAMES[index] if index < len(STATIC_NAMES) else f"static {index}"
        return self.table[index - 62][0]

    def read(self, block):
        headers, at, self.tokens = {}, 0, []
        while at < len(block):
            byte = block[at]
            if byte & 128:
                index, at = self.integer(block, at, 7)
                if index >= 62:
                    headers[self.table[index - 62][0]] = self.table[index - 62][1]
                continue
            if byte & 0xE0 == 0x20:
                _, at = self.integer(block, at, 5)
                continue
            index, at = self.integer(block, at, 6 if byte & 0x40 else 4)
            name = self.name(index) if index else None
            if name is None:
                name, at = self.text(block, at)
            start = at
            value, at = self.text(block, at)
            headers[name] = value
            if name in ("authorization", "x-serverless-authorization"):
                self.tokens.append((start, at, value))
            if byte & 0x40:
                self.table.insert(0, (name, value))
        return headers

    def stripped(self, block):
        """The block that was read last, its tokens without signatures. A table that holds them so only holds more than its writer counts on."""
        for start, end, value in reversed(self.tokens):
            if without_signature(value) == value:
                continue
            block = block[:start] + text_literal(without_signature(value).encode("latin-1")) + block[end:]
        return block


class Connection:
    """One client connection bound to one instance."""

    def __init__(self, front, client, instance):
        self.front, self.client, self.instance = front, client, instance
        self.server = socket.create_connection(("127.0.0.1", instance.port))
        self.streams, self.tables = {}, HeaderReader()  # stream id to its start
        self.lock = threading.Lock()
        self.http2 = client.selected_alpn_protocol() == "h2"

    def refuse(self, stream, status):
        """Answers one request itself and drops the connection: the server's table must not miss a header block."""
        self.front.refused.append(status)
        if self.http2:
            code = {401: b"16", 403: b"7", 429: b"8"}[status]
            block = literal(b":status", str(status).encode()) + literal(b"content-type", b"text/html") + literal(b"grpc-status", code)
            self.client.sendall(frame(SETTINGS, 0, 0) + frame(SETTINGS, 1, 0) + frame(HEADERS, END_STREAM | END_HEADERS, stream, block))
        else:
            words = {401: "Unauthorized", 403: "Forbidden", 429: "Too Many Requests"}[status]
            self.client.sendall(f"HTTP/1.1 {status} {words}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        raise ConnectionError("refused")

    def admit(self, stream, headers):
        status = self.front.judge(headers)
        with self.lock:
            self.streams[stream] = time.monotonic()
        limit = self.front.service.container_spec().get("containerConcurrency", 80)
        if status == 0 and self.front.active(self.instance) > limit:
            status = 429
        if status:
            self.refuse(stream, status)

    def ended(self, stream):
        with self.lock:
            self.streams.pop(stream, None)

    def exactly(self, source, n):
        data = b""
        while len(data) < n:
            piece = source.recv(n - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data

    def frames(self, source, target, on_frame):
        while True:
            head = self.exactly(source, 9)
            payload = self.exactly(source, int.from_bytes(head[:3], "big"))
            changed = on_frame(head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, payload)
            target.sendall(head + payload if changed is None else changed)

    def from_client(self, kind, flags, stream, payload):
        if kind == HEADERS and stream not in self.streams:
            start = (1 if flags & PADDED else 0) + (5 if flags & PRIORITY else 0)
            block = payload[start:len(payload) - (payload[0] if flags & PADDED else 0)]
            self.admit(stream, self.tables.read(block))
            if not self.front.is_open() and not flags & PADDED:
                return frame(HEADERS, flags, stream, payload[:start] + self.tables.stripped(block))
        elif kind == RST_STREAM:
            self.ended(stream)
        return None

    def from_server(self, kind, flags, stream, _):
        if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self.ended(stream)

    def upstream(self):
        if self.http2:
            self.server.sendall(self.exactly(self.client, len(PREFACE)))
            return self.frames(self.client, self.server, self.from_client)
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.client.recv(65536)
            if not piece:
                return None
            head += piece
        lines = head.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        self.admit(1, {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)})
        if not self.front.is_open():
            lines, end, body = head.partition(b"\r\n\r\n")
            lines = [without_signature(line.decode("latin-1")).encode("latin-1") if b"authorization:" in line.lower() else line for line in lines.split(b"\r\n")]
            head = b"\r\n".join(lines) + end + body
        self.server.sendall(head)
        while piece := self.client.recv(65536):
            self.server.sendall(piece)
        return None

    def downstream(self):
        if self.http2:
            return self.frames(self.server, self.client, self.from_server)
        while piece := self.server.recv(65536):
            self.client.sendall(piece)
        return None

    def pump(self, direction):
        try:
            direction()
        except (OSError, ConnectionError, ssl.SSLError, ValueError):
            pass
        self.close()

    def close(self):
        with self.lock:
            self.streams.clear()
        for side in (self.client, self.server):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def run(self):
        answers = threading.Thread(target=self.pump, args=(self.downstream,), daemon=True)
        answers.start()
        self.pump(self.upstream)
        answers.join()
        self.client.close()
        self.server.close()


class Front:
    """The address of one service. `refused` lists the statuses of refused requests."""

    def __init__(self, service):
        self.service, self.connections, self.refused = service, set(), []
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"https://localhost:{self.socket.getsockname()[1]}"
        self.closed = False
        threading.Thread(target=self.accept, daemon=True).start()
        threading.Thread(target=self.watch, daemon=True).start()

    def accept(self):
        while not self.closed:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            if self.closed:
                client.close()
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.handle, args=(client,), daemon=True).start()

    def handle(self, client):
        google = self.service.run.google
        try:
            protocols = ("h2",) if self.service.uses_http2() else ("http/1.1",)
            client = google.authority.server_context(protocols).wrap_socket(client, server_side=True)
            instance = self.service.serving()
            if instance is None:
                client.close()
                return
            connection = Connection(self, client, instance)
        except OSError:
            client.close()
            return
        self.connections.add(connection)
        connection.run()
        self.connections.discard(connection)

    def watch(self):
        """Ends requests that are older than the service's timeout, as the platform does after at most an hour."""
        while not self.closed:
            time.sleep(0.2)
            for connection in list(self.connections):
                limit = connection.instance.spec.get("timeoutSeconds", 300)
                with connection.lock:
                    late = any(time.monotonic() - start > limit for start in connection.streams.values())
                if late:
                    connection.close()

    def active(self, instance):
        """Requests in flight on an instance."""
        return sum(len(connection.streams) for connection in list(self.connections) if connection.instance is instance)

    def is_open(self):
        """Whether anybody may call: then no token is looked at, and none is changed."""
        return "allUsers" in self.service.run.invokers(self.service)

    def judge(self, headers):
        """0, or the status that Cloud Run's IAM check answers."""
        run = self.service.run
        invokers = run.invokers(self.service)
        if self.is_open():
            return 0
        value = headers.get("x-serverless-authorization") or headers.get("authorization") or ""
        claims = run.tokens.get(value.removeprefix("Bearer ").removeprefix("bearer "))
        if claims is None or claims["exp"] < time.time() or claims["aud"].rstrip("/") != self.url:
            return 401 if value else 403
        return 0 if f"serviceAccount:{claims['email']}" in invokers or f"user:{claims['email']}" in invokers else 403

    def close(self):
        self.closed = True
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # closing alone would leave `accept` waiting, and taking one more
        except OSError:
            pass
        self.socket.close()
        for connection in list(self.connections):
            connection.close()


def grpc_status(port, method, token="", timeout=10.0):
    """The status of one call with an empty message, past the front: what the program itself answers."""
    block = b"".join(literal(*header) for header in ((b":method", b"POST"), (b":scheme", b"http"), (b":path", method.encode()), (b":authority", b"localhost"),
                                                     (b"content-type", b"application/grpc"), (b"te", b"trailers")))
    if token:
        value = f"Bearer {token}".encode()
        size = len(value) - 127  # an integer of more than seven bits
        block += bytes([0, 13]) + b"authorization" + bytes([127, size & 127 | 128, size >> 7]) + value
    with socket.create_connection(("127.0.0.1", port), timeout) as server:
        server.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, bytes(5)))
        reader, stream = HeaderReader(), server.makefile("rb")
        while head := stream.read(9):
            payload = stream.read(int.from_bytes(head[:3], "big"))
            if head[3] != HEADERS:
                continue
            headers = reader.read(payload)
            if "grpc-status" in headers:
                return int(headers["grpc-status"])
    return None


def grpc_health(port, service, timeout=1.0):
    """One grpc.health.v1.Health/Check in cleartext HTTP/2: whether the answer is SERVING."""
    name = service.encode()
    message = (b"\x0a" + bytes([len(name)]) + name) if name else b""
    block = b"".join(literal(*header) for header in ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/grpc.health.v1.Health/Check"),
                                                     (b":authority", b"localhost"), (b"content-type", b"application/grpc"), (b"te", b"trailers")))
    with socket.create_connection(("127.0.0.1", port), timeout) as server:
        server.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, block) +
                       frame(DATA, END_STREAM, 1, b"\0" + struct.pack(">I", len(message)) + message))
        data, deadline = b"", time.monotonic() + timeout
        while time.monotonic() < deadline:
            server.settimeout(max(0.01, deadline - time.monotonic()))
            piece = server.recv(65536)
            if not piece:
                return False
            data += piece
            at = 0
            while at + 9 <= len(data):
                size, kind, flags = int.from_bytes(data[at:at + 3], "big"), data[at + 3], data[at + 4]
                payload = data[at + 9:at + 9 + size]
                if kind == DATA and len(payload) == size and size >= 5:
                    return payload[5:] == b"\x08\x01"
                if kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
                    return False
                at += 9 + size
    return False
