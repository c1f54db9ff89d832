#!/usr/bin/env python3
"""`commissure chat` on a terminal: what a person types and pastes arrives as it was meant. The other end is a small server that keeps the questions."""
import fcntl
import http.server
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time

from harness import PROGRAM, wait_until

WORDS = "The sea is wide and the boat is small, and every evening somebody lights the lamp that shows the way home to those who are out. "


class Server(http.server.BaseHTTPRequestHandler):
    """Says WORDS, or nothing for a long time, or for ever."""

    questions = []  # the last message of each request
    left = []       # whether clients that got nothing closed their connection

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/v1/models":
            return self.answer(200, json.dumps({"data": [{"id": "tiny-talker"}]}).encode())
        if self.path == "/health":
            return self.answer(200, json.dumps({"status": "ok", "stages": [{"stage": "a", "state": "ready"}]}).encode())
        return self.answer(404, b"{}")

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][-1]["content"]
        Server.questions.append(question)
        self.send_response(200)
        self.end_headers()
        try:
            if question == "silence":
                for _ in range(100):
                    self.wfile.write(b": ping\n\n")
                    time.sleep(0.1)
            if question == "nothing at all":  # not even a comment: the client has to end it by itself
                self.wfile.flush()
                Server.left.append(self.connection.recv(1) == b"")
                return
            for word in re.findall(r"\S+ ", WORDS * (100 if question == "for ever" else 1)):
                self.wfile.write(b"data: " + json.dumps({"choices": [{"delta": {"content": word}}]}).encode() + b"\n\n")
                time.sleep(0.02 if question == "for ever" else 0)
            self.wfile.write(b'data: {"choices": [{"delta": {}, "finish_reason": "length"}]}\n\ndata: [DONE]\n\n')
        except OSError:  # the person has stopped it
            pass


class Person:
    """At a terminal of 80 columns."""

    def __init__(self, url):
        self.master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {**os.environ, "TERM": "xterm", "NO_PROXY": "*"}
        self.program = subprocess.Popen([PROGRAM, "chat", "--url", url], stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True)
        os.close(terminal)
        self.seen = ""
        self.lock = threading.Lock()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while True:
            try:
                new = os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                return
            with self.lock:
                self.seen += new

    def type(self, text):
        os.write(self.master, text.encode())

    def paste(self, text):
        for i in range(0, len(text), 500):  # as terminals do, without overfilling the line
            self.type(("\033[200~" if i == 0 else "") + text[i:i + 500].replace("\n", "\r") + ("\033[201~" if i + 500 >= len(text) else ""))
            time.sleep(0.01)

    def wait_for(self, text, seconds=20):
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.seen[-2000:]!r}"
            time.sleep(0.01)
        with self.lock:
            shown, self.seen = self.seen.split(text, 1)
        return shown


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
me = Person(f"http://127.0.0.1:{server.server_port}")


def ask(keys, expected):
    """Types, and waits for the end of the answer; returns what was shown of it."""
    n = len(Server.questions)
    me.type(keys + "\r")
    shown = me.wait_for("tokens in")
    assert Server.questions[n:] == [expected], (Server.questions[n:], shown)
    me.wait_for("> ")
    return shown


try:
    header = me.wait_for("> ")
    assert "tiny-talker at http://127.0.0.1" in header, header

    shown = ask("Hello", "Hello")
    lines = [line for line in re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]|\r", "", shown).split("\n") if "sea" in line or "way home" in line or "are out" in line]
    assert len(lines) >= 2 and all(len(line) <= 80 for line in lines), lines
    assert all(word in " ".join(lines).split() for word in WORDS.split()), "a word was broken in two"
    assert "cut at its length limit" in shown, shown

    ask("\033[A", "Hello")                                      # up: the question before
    ask("wrld\033[D\033[D\033[Do\033[C\033[C\033[C!", "world!")  # left and right
    ask("Größe 日本", "Größe 日本")

    n = len(Server.questions)
    me.paste("one\ntwo\nthree")
    me.wait_for("3 lines")
    assert len(Server.questions) == n, "a paste is not sent by itself"
    ask(" - what is it?", "one\ntwo\nthree - what is it?")

    long = "".join(f"word{i} " for i in range(1000))[:5000]
    me.paste(long)
    me.wait_for("5000 characters")
    ask("", long)

    me.type("/frobnicate\r")
    me.wait_for("There is no command /frobnicate")
    me.wait_for("> ")
    ask(" /etc/hosts holds what?", " /etc/hosts holds what?")

    # Ctrl-C drops a line, stops an answer and one that has not begun; none of these counts for the next.
    me.type("never sent\x03")
    me.wait_for("^C")
    assert "leaves" not in me.wait_for("> "), "only a line was dropped"
    me.type("\x03")
    me.wait_for("once more")
    me.wait_for("> ")
    for question in ("for ever", "silence", "nothing at all"):
        me.type(question + "\r")
        wait_until(lambda: Server.questions[-1] == question, 20, "the question arrived")
        time.sleep(0.5)
        os.kill(me.program.pid, signal.SIGINT)  # what Ctrl-C is while no line is edited
        me.wait_for("(stopped)", 5)
        me.wait_for("> ")
    wait_until(lambda: Server.left == [True], 5, "the connection of a request without an answer was closed")
    ask("still here", "still here")
    me.type("\x04")
    assert me.program.wait(10) == 0

    # `ask` too: at once, with the status of an interrupted program, and the server hears of it.
    for question, text in (("nothing at all", ""), ("for ever", "The sea")):
        asking = subprocess.Popen([PROGRAM, "ask", "--url", f"http://127.0.0.1:{server.server_port}", question], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_PROXY": "*"})
        wait_until(lambda: Server.questions[-1] == question, 20, "the question arrived")
        time.sleep(0.5)
        asking.send_signal(signal.SIGINT)
        out, err = asking.communicate(timeout=5)
        assert asking.returncode == 130 and "(stopped)" in err, (asking.returncode, err)
        assert out.startswith(text) and (out.endswith("\n") if text else out == ""), out
    wait_until(lambda: Server.left == [True, True], 5, "the connection was closed")
finally:
    me.program.kill()
    server.shutdown()
print("chat: keys, pastes, commands, Ctrl-C and line breaks are right")
