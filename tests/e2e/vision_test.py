#!/usr/bin/env python3
"""A small random Gemma 3 with eyes through the whole program: the same tokens and log-probabilities from one stage and from three, alone and
side by side, while a stage is killed under running streams, and with a picture that comes again; every dialect's way to send a picture; ask
--image; and what is no picture is refused by name."""
import base64
import concurrent.futures
import http.server
import os
import pathlib
import signal
import struct
import tempfile
import threading
import zlib

from harness import QUICK, Chain, process_alive, wait_until

MODEL = "synth:gemma-3-4b-tiny?vision=on"
N_TOKENS = 24 if QUICK else 80


def png(width, height, colour):
    """An RGB file; `colour` gives a pixel's three bytes."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + b"".join(bytes(colour(x, y)) for x in range(width)) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


STRIPES = png(90, 60, lambda x, y: (255 * (x // 10 % 2), 4 * y, 40))
CIRCLE = png(64, 64, lambda x, y: (250, 10, 30) if (x - 32) ** 2 + (y - 32) ** 2 < 400 else (5, 90, 200))


def url(picture):
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def part(picture):
    return {"type": "image_url", "image_url": {"url": url(picture)}}


def text(words):
    return {"type": "text", "text": words}


def body(index):
    """Chats with one picture, two, one again with another question, and none."""
    contents = [[text("What is this? "), part(STRIPES)], [part(CIRCLE), text(" And "), part(STRIPES), text("?")],
                [text("What is this? "), part(STRIPES), text(" Say it at length, and then once more.")], "Hello"]
    return {"messages": [{"role": "user", "content": contents[index]}], "max_tokens": N_TOKENS, "temperature": 0.8, "seed": index,
            "logprobs": True, "top_logprobs": 2, "ignore_eos": True, "return_tokens_as_token_ids": True}


def answer(chain, index, on_event=lambda: None):
    scores, usage = [], {}
    for event in chain.stream("/v1/chat/completions", body(index) | {"stream_options": {"include_usage": True}}):
        assert "error" not in event, event
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            scores += [(entry["token"], entry["logprob"]) for entry in (choice.get("logprobs") or {}).get("content") or []]
        on_event()
    assert len(scores) == N_TOKENS, len(scores)
    return scores, usage["prompt_tokens"]


def together(chain, on_event=lambda: None):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda index: answer(chain, index, on_event), range(4)))


def kill_under_streams(chain, stage):
    lock, seen = threading.Lock(), [0]

    def on_event():
        with lock:
            seen[0] += 1
            if seen[0] != N_TOKENS:
                return
        pid = chain.state()["stages"][stage]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not process_alive(pid), 15, f"stage {stage} is gone")

    answers = together(chain, on_event)
    assert seen[0] >= N_TOKENS
    return answers


def cached(chain, index):
    usage = chain.post("/v1/chat/completions", body(index) | {"max_tokens": 1})["usage"]
    return (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)


def dialects(chain, folder):
    """The same picture and question by every way in: the same text comes out."""
    greedy = {"temperature": 0, "max_tokens": 8}
    question = [text("What is this? "), part(STRIPES)]
    expected = chain.post("/v1/chat/completions", {"messages": [{"role": "user", "content": question}]} | greedy)["choices"][0]["message"]["content"]
    plain = base64.b64encode(STRIPES).decode()
    source = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": plain}}
    messages = chain.post("/v1/messages", {"messages": [{"role": "user", "content": [text("What is this? "), source]}]} | greedy)
    assert messages["content"][0]["text"] == expected, messages
    items = [{"role": "user", "content": [{"type": "input_text", "text": "What is this? "}, {"type": "input_image", "image_url": url(STRIPES)}]}]
    response = chain.post("/v1/responses", {"input": items, "temperature": 0, "max_output_tokens": 8})
    assert response["output"][-1]["content"][0]["text"] == expected, response
    ollama = chain.post("/api/chat", {"stream": False, "options": {"temperature": 0, "num_predict": 8},
                                      "messages": [{"role": "user", "content": "What is this? ", "images": [plain]}]})
    first = [{"role": "user", "content": [part(STRIPES), text("What is this? ")]}]  # where Ollama puts its pictures
    assert ollama["message"]["content"] == chain.post("/v1/chat/completions", {"messages": first} | greedy)["choices"][0]["message"]["content"], ollama
    other = chain.post("/v1/chat/completions", {"messages": [{"role": "user", "content": [text("What is this? "), part(CIRCLE)]}],
                                                "logprobs": True} | greedy)
    same = chain.post("/v1/chat/completions", {"messages": [{"role": "user", "content": question}], "logprobs": True} | greedy)
    assert other["choices"][0]["logprobs"] != same["choices"][0]["logprobs"], "another picture"

    picture = folder / "stripes.png"
    picture.write_bytes(STRIPES)
    asked = chain.run("ask", "--image", str(picture), "--max-tokens", "8", "--temperature", "0", "What is this?")
    first = [{"role": "user", "content": [part(STRIPES), text("What is this?")]}]  # as ask sends them
    expected = chain.post("/v1/chat/completions", {"messages": first, "max_tokens": 8, "temperature": 0})["choices"][0]["message"]["content"]
    assert asked.stdout.strip() == expected.strip(), (asked, expected)
    (folder / "words.txt").write_text("no picture")
    refused = chain.run("ask", "--image", str(folder / "words.txt"), "What is this?", check=False)
    assert refused.returncode != 0 and "words.txt" in refused.stderr, refused


class Pictures(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(STRIPES)))
        self.end_headers()
        self.wfile.write(STRIPES)

    def log_message(self, *_):
        pass


def fetched(chain, address):
    """A picture by its address is the picture."""
    def said(image):
        content = [text("What is this? "), {"type": "image_url", "image_url": {"url": image}}]
        return chain.post("/v1/chat/completions", {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 8,
                                                   "logprobs": True})["choices"][0]["logprobs"]
    assert said(f"http://{address}/stripes.png") == said(url(STRIPES))


def refusals(chain):
    def problem(content, path="/v1/chat/completions"):
        status, _, told = chain.request("POST", path, {"max_tokens": 4, "messages": [{"role": "user", "content": content}]})
        assert status == 400, (status, told)
        return told

    assert "messages[0].content[0]" in problem([{"type": "image_url", "image_url": {"url": "data:image/png;base64,bm90aGluZw=="}}])
    assert "ends early" in problem([part(STRIPES[:200])])
    told = problem([{"type": "image_url", "image_url": {"url": "http://10.0.0.1/a.png?key=hidden"}}])
    assert "--image-urls" in told and "hidden" not in told, told
    assert "16" in problem([part(CIRCLE)] * 17)
    huge = png(1, 1, lambda x, y: (0, 0, 0)).replace(struct.pack(">II", 1, 1), struct.pack(">II", 50_000, 50_000), 1)
    head = huge[12:29]
    told = problem([part(huge[:29] + struct.pack(">I", zlib.crc32(head)) + huge[33:])])
    assert "50000 x 50000" in told, told
    # A text that spells the mark is a text.
    chain.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "<start_of_image>"}], "max_tokens": 2})
    chain.post("/v1/chat/completions", {"messages": [{"role": "user", "content": [text("<start_of_image>"), part(CIRCLE)]}], "max_tokens": 2})


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    pictures = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    threading.Thread(target=pictures.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{pictures.server_port}"
    with Chain(MODEL, stages=1, flags=("--image-urls", address)) as chain:
        fetched(chain, address)
        models = chain.request("GET", "/v1/models")[2]
        assert '"image"' in models, models
        expected = [answer(chain, index) for index in range(4)]
        assert expected[1][1] > expected[0][1] > expected[3][1], [count for _, count in expected]
        assert expected[0][0] != expected[2][0]
        assert together(chain) == expected, "side by side"
        refusals(chain)
        dialects(chain, folder)
    with Chain(MODEL, cuts="1,3") as chain:
        assert together(chain) == expected, "three stages"
        assert expected[2][1] > 64 and cached(chain, 2) > 0, "a beginning with a picture is found again"
        for stage in (1, 2):
            assert kill_under_streams(chain, stage) == expected, f"stage {stage} was killed"
    with Chain("synth:gemma-3-4b-tiny", stages=1) as chain:
        status, _, told = chain.request("POST", "/v1/chat/completions", body(0))
        assert status == 400 and "takes text only" in told, (status, told)
print("vision: ok")
