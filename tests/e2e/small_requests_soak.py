#!/usr/bin/env python3
"""10,000 small requests of every kind through three stages: each one is answered, and afterwards every stage's memory and the free KV
blocks are where they were.

    tests/e2e/small_requests_soak.py [--requests 10000] [--json]
"""
import argparse
import concurrent.futures
import http.client
import json
import pathlib
import time

from harness import QUICK, SMOL, Chain, need, wait_until

AT_ONCE = 8
# What a stage's allocator may hold on to: of 10,000 requests less than half a KiB each.
ROOM = 4 << 20


def plain(chain, i):
    answer = chain.post("/v1/completions", {"prompt": f"Request {i} says", "max_tokens": 1 + i % 4, "ignore_eos": True})
    assert answer["usage"]["completion_tokens"] == 1 + i % 4, answer


def chat(chain, i):
    answer = chain.post("/v1/chat/completions", {"messages": [{"role": "user", "content": f"Number {i}?"}], "max_tokens": 3, "logprobs": True, "top_logprobs": 2})
    assert answer["choices"][0]["message"]["content"] is not None, answer


def streamed(chain, i):
    assert sum(1 for _ in chain.stream("/v1/completions", {"prompt": f"Stream {i}", "max_tokens": 3, "seed": i, "ignore_eos": True})) > 0


def several(chain, i):
    answer = chain.post("/v1/completions", {"prompt": [f"One {i}", f"two {i}"], "n": 2, "max_tokens": 2, "seed": i, "temperature": 1})
    assert len(answer["choices"]) == 4, answer


def refused(chain, i):
    assert chain.request("POST", "/v1/completions", {"prompt": "x", "max_tokens": -1 - i})[0] == 400


def dropped(chain, i):
    """A client that goes away in the middle of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", chain.port, timeout=60)
    connection.request("POST", "/v1/completions", json.dumps({"prompt": f"Gone {i}", "max_tokens": 400, "ignore_eos": True, "stream": True}),
                       {"Content-Type": "application/json"})
    connection.getresponse().readline()
    connection.close()


KINDS = [plain, chat, streamed, plain, several, plain, refused, streamed, dropped, plain]


def send(chain, first, n):
    """Requests first ... first + n - 1, AT_ONCE at a time; raises for the first one that failed."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda i: KINDS[i % len(KINDS)](chain, i), range(first, first + n)):
            pass


def warm(chain):
    """Writes to every KV block and to what the allocators keep."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: chain.post("/v1/completions", {"prompt": f"{i} " + "word " * 450, "max_tokens": 40, "ignore_eos": True}), range(4)))
    send(chain, 0, 150)


def anonymous_bytes(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * int(text.split("Anonymous:")[1].split()[0])


def at_rest(chain):
    """{stage: bytes that no file backs} once nothing runs, and the KV blocks that are held then."""
    wait_until(lambda: chain.metric("commissure_num_requests_running") == 0 and chain.metric("commissure_num_requests_waiting") == 0, 30, "an idle engine")
    return {stage["stage"]: anonymous_bytes(stage["pid"]) for stage in chain.status()["stages"]}, chain.metric("commissure_kv_blocks_used")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    n = min(options.requests, 40) if QUICK else options.requests
    need(SMOL)
    # So few KV blocks that a few long requests write to all of them.
    with Chain(SMOL, stages=3, flags=["--kv-tokens", "2048", "--max-model-len", "512"]) as chain:
        if not QUICK:  # a sanitizer keeps freed memory: its growth says nothing
            warm(chain)
        before, blocks_before = at_rest(chain)
        start = time.monotonic()
        send(chain, 1_000_000, n)
        seconds = time.monotonic() - start
        after, blocks_after = at_rest(chain)
    growth = {stage: after[stage] - before[stage] for stage in before}
    if options.json:
        print(json.dumps({"requests": n, "seconds": seconds, "before": before, "growth": growth, "blocks_before": blocks_before, "blocks_after": blocks_after}))
    assert blocks_before == blocks_after == 0, (blocks_before, blocks_after)
    if not QUICK:
        assert all(grown <= ROOM for grown in growth.values()), (before, after)
    print(f"small requests: {n} in {seconds:.1f} s ({n / seconds:.0f} a second), no KV block held; memory of the stages grew by "
          + ", ".join(f"{grown / 1024:.0f} KiB" for grown in growth.values()))


if __name__ == "__main__":
    main()
