#!/usr/bin/env python3
"""What clients rely on, check by check, against three real stages. docs/api.md lists what holds and what does not yet."""
import concurrent.futures
import json
import math
import re
import shutil
import socket
import subprocess
import time

from harness import SMOL, Chain, need, wait_until

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "Say hello to the cat."}]
GREEDY = {"messages": HELLO, "temperature": 0, "max_tokens": 12}


def ask(chain, **more):
    return chain.post(CHAT, {**GREEDY, **more})


def content(answer, choice=0):
    return answer["choices"][choice]["message"]["content"]


def raw_events(chain, path, body):
    """Every event as sent, apart by empty lines."""
    status, headers, text = chain.request("POST", path, {**body, "stream": True})
    assert status == 200 and headers["content-type"].startswith("text/event-stream"), (status, headers)
    assert text.endswith("data: [DONE]\n\n"), text[-80:]
    events = text.split("\n\n")[:-1]
    assert all(event.startswith("data: ") and "\n" not in event for event in events), text
    return [json.loads(event[6:]) for event in events[:-1]]


def whole_answers(chain):  # C1, C2, C26, C36
    answer = chain.post(CHAT, {"messages": HELLO, "max_tokens": 4})
    assert answer["object"] == "chat.completion" and answer["id"].startswith("chatcmpl-"), answer
    assert abs(answer["created"] - time.time()) < 60 and answer["choices"][0]["message"]["role"] == "assistant"
    assert {"index", "message", "finish_reason", "logprobs"} <= answer["choices"][0].keys()
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], usage
    optional = ["model", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n", "seed", "stop", "stream", "stream_options", "logit_bias",
                "logprobs", "top_logprobs", "tools", "tool_choice", "response_format", "user", "metadata", "presence_penalty", "frequency_penalty", "min_p", "timeout"]
    nulls = {**dict.fromkeys(optional), **GREEDY, "someone_elses_field": {"a": [1]}, "user": "me", "store": False}
    assert content(chain.post(CHAT, nulls)) == content(ask(chain))
    short = ask(chain, max_tokens=9, max_completion_tokens=3)
    assert short["usage"]["completion_tokens"] == 3 and short["choices"][0]["finish_reason"] == "length"
    parts = [{"role": "user", "content": [{"type": "text", "text": HELLO[0]["content"]}]}]
    assert content(ask(chain, messages=parts)) == content(ask(chain))


def errors(chain):  # C3, C4, C7, C25, C33, C40, C48
    cases = [
        (404, "GET", "/no/such/path", None, None), (405, "GET", CHAT, None, None), (405, "POST", "/v1/models", {}, None), (400, "POST", CHAT, "{\"messages\": [", None),
        (404, "POST", CHAT, {**GREEDY, "model": "gpt-99"}, "model"), (413, "POST", CHAT, "x" * (9 << 20), None), (400, "POST", CHAT, {**GREEDY, "messages": []}, "messages"),
        (400, "POST", CHAT, {**GREEDY, "messages": [{"role": "wizard", "content": "a"}]}, "messages"),
    ]
    bad = {"temperature": [-1, 2.1, "hot"], "top_p": [-0.1, 1.5], "presence_penalty": [-2.5], "frequency_penalty": [3], "n": [0, 10**9], "max_tokens": [0, -5],
           "stop": ["", ["a", ""]], "logit_bias": [{"x": 1}, {"5": 200}], "stream": ["yes"], "timeout": [-1], "min_tokens": [99],
           "response_format": [{"type": "xml"}], "tools": [[{"type": "web_search"}], [{"type": "function"}], [{"type": "function", "function": {"name": "a b"}}]]}
    cases += [(400, "POST", CHAT, {**GREEDY, name: value}, name) for name, values in bad.items() for value in values]
    cases += [(400, "POST", CHAT, {**GREEDY, "top_logprobs": 3}, "top_logprobs"), (400, "POST", CHAT, {**GREEDY, "logprobs": True, "top_logprobs": 21}, "top_logprobs")]
    for status, method, path, body, param in cases:
        got, headers, text = chain.request(method, path, body)
        assert got == status and headers["content-type"].startswith("application/json"), (got, method, path, str(body)[:200], text)
        error = json.loads(text)["error"]
        assert error["message"] and error["type"] and "code" in error, text
        assert param is None or (error["param"] or "").startswith(param), (param, text)
    got, _, text = chain.request("POST", CHAT, {**GREEDY, "messages": [{"role": "user", "content": "word " * 2000}]})
    error = json.loads(text)["error"]
    assert got == 400 and error["code"] == "context_length_exceeded" and len(re.findall(r"\d{3,}", error["message"])) >= 2, text
    assert chain.request("POST", TEXT, json.dumps({"prompt": "a", "max_tokens": 1}), {"Content-Type": "text/plain"})[0] == 200


def transport(chain):  # C6, C8, C9, C56, C64
    status, headers, _ = chain.request("GET", "/v1/models", headers={"X-Request-Id": "mine-1"})
    assert status == 200 and headers["x-request-id"] == "mine-1"
    assert chain.request("GET", "/v1/models")[1]["x-request-id"]
    with socket.create_connection(("127.0.0.1", chain.port), timeout=60) as client:
        body = json.dumps({"prompt": "a", "max_tokens": 1}).encode()
        post = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        client.sendall(post + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + post)
        got = b""
        while got.count(b"HTTP/1.1 200 OK") < 3 or got.count(b'"text_completion"') < 2:
            got += client.recv(65536) or exit(f"the connection ended early: {got}")
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert client.recv(65536).startswith(b"HTTP/1.1 100"), "an expectation is answered"
        client.sendall(body)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    assert chain.request("HEAD", "/health")[0] == chain.request("GET", "/v1/health")[0] == 200
    model = json.loads(chain.request("GET", "/v1/models")[2])["data"][0]
    assert model["root"] and model["max_model_len"] == 1024 and chain.request("GET", "/v1/models/" + model["id"])[0] == 200
    props = json.loads(chain.request("GET", "/props")[2])
    assert props["n_ctx"] == 1024 and len(props["stages"]) == 3 and props["modalities"]["text"], props
    for origin, allowed in (("http://a.b", True), ("http://localhost:3000", True), ("http://evil.example", False)):
        status, headers, _ = chain.request("OPTIONS", CHAT, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        assert status == 204 and headers.get("access-control-allow-origin") == (origin if allowed else None), headers
        assert (chain.request("POST", TEXT, {"prompt": "a", "max_tokens": 1}, {"Origin": origin})[0] == 200) == allowed
    # A page whose own name was made to point here is of one origin with the endpoint: only Host gives it away.
    for host, allowed in ((f"localhost:{chain.port}", True), ("llm.example", True), ("evil.example", False), (f"127.0.0.1.evil.example:{chain.port}", False)):
        for method, path in (("GET", "/health"), ("POST", TEXT)):
            status, _, text = chain.request(method, path, {"prompt": "a", "max_tokens": 1} if method == "POST" else None, {"Host": host, "Origin": f"http://{host}"})
            assert status == (200 if allowed else 403) and (allowed or "--allowed-hosts" in text), (host, path, status, text)
    for path in ("//v1/completions", "/v1/completions/", "/completions", "/v1/v1/completions"):
        assert chain.request("POST", path, {"prompt": "a", "max_tokens": 1, "model": "second"})[0] == 200, path
    assert chain.request("POST", TEXT, "x", {"Content-Encoding": "gzip"})[0] == 415
    with socket.create_connection(("127.0.0.1", chain.port), timeout=60) as client:
        body = json.dumps({"prompt": "a", "max_tokens": 30, "ignore_eos": True}).encode()
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        client.shutdown(socket.SHUT_WR)
        got = b""
        while piece := client.recv(65536):
            got += piece
        assert b'"completion_tokens":30' in got, "who only closed the sending half gets the answer"


def streams(chain):  # C11 to C17, C21, C23, C83, C84
    plain = raw_events(chain, CHAT, GREEDY)
    assert plain[0]["choices"][0]["delta"]["role"] == "assistant" and all(event["choices"] for event in plain)
    assert len({(event["id"], event["created"], event["model"]) for event in plain}) == 1 and not any(event.get("usage") for event in plain)
    assert [event["choices"][0]["finish_reason"] is not None for event in plain] == [False] * (len(plain) - 1) + [True]
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in plain) == content(ask(chain))
    counted = raw_events(chain, CHAT, {**GREEDY, "stop": None, "ignore_eos": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}})
    assert counted[-1]["choices"] == [] and counted[-1]["usage"]["completion_tokens"] == 12
    totals = [event["usage"]["completion_tokens"] for event in counted]
    assert totals == sorted(totals), totals
    two = raw_events(chain, CHAT, {**GREEDY, "temperature": 1, "seed": 3, "n": 2, "ignore_eos": True, "stream_options": {"include_usage": True}})
    assert two[-1]["usage"]["completion_tokens"] == 24 and sum(bool(event.get("usage")) for event in two) == 1
    for index in (0, 1):
        own = [event["choices"][0] for event in two[:-1] if event["choices"][0]["index"] == index]
        assert own[0]["delta"]["role"] == "assistant" and sum(choice["finish_reason"] is not None for choice in own) == 1
    emoji = chain.post("/tokenize", {"content": "😀漢字🎉"})["tokens"]
    echo = raw_events(chain, TEXT, {"prompt": "x", "max_tokens": len(emoji), "temperature": 0, "allowed_token_ids": emoji})
    assert all("\ufffd" not in event["choices"][0]["text"] for event in echo[:-1]), "no code point is cut"
    text = content(ask(chain, max_tokens=12))
    stop = text[len(text) // 2 : len(text) // 2 + 6]
    held = raw_events(chain, CHAT, {**GREEDY, "stop": [stop]})
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in held) == text[: text.index(stop)]


def parameters(chain):  # C24, C27 to C30, C34, C65
    greedy = content(ask(chain))
    for more in ({"top_k": 1}, {"min_p": 1}, {"top_p": 1e-6}, {"top_p": 0}):
        assert content(ask(chain, temperature=1, seed=5, **more)) == greedy, more
    drawn = content(ask(chain, temperature=1, seed=11))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: content(ask(chain, temperature=1, seed=11)), range(8))) == {drawn}
    space = chain.post("/tokenize", {"content": " cat", "add_special": False})["tokens"][0]
    assert content(ask(chain, max_tokens=3, logit_bias={str(space): 100}, ignore_eos=True)) == " cat cat cat"
    first = ask(chain, logprobs=True, top_logprobs=5)["choices"][0]["logprobs"]["content"]
    assert bytes(byte for entry in first for byte in entry["bytes"]).decode() == greedy
    for entry in first:
        assert sum(math.exp(top["logprob"]) for top in entry["top_logprobs"]) <= 1.0001 and entry["token"] == entry["top_logprobs"][0]["token"]
    banned = chain.post("/tokenize", {"content": first[0]["token"], "add_special": False})["tokens"]
    if len(banned) == 1:
        assert ask(chain, logit_bias={str(banned[0]): -100}, logprobs=True)["choices"][0]["logprobs"]["content"][0]["token"] != first[0]["token"]
    assert ask(chain, ignore_eos=True, max_tokens=20)["usage"]["completion_tokens"] == 20
    assert ask(chain, min_tokens=15, max_tokens=16)["usage"]["completion_tokens"] >= 15
    stop = first[2]["token"]
    for form in (stop, [stop]):
        assert content(ask(chain, stop=form)) == greedy[: greedy.index(stop)]
    assert content(ask(chain, stop=stop, include_stop_str_in_output=True)).endswith(stop)


def scoring_and_text(chain):  # C54, C55, C62, C63, lm-eval's local-completions
    messages = [{"role": "system", "content": "Be brief."}, *HELLO]
    rendered = chain.post("/apply-template", {"messages": messages})["prompt"]
    ids = chain.post("/tokenize", {"prompt": rendered, "add_special_tokens": False})
    assert ids["count"] == len(ids["tokens"]) == ask(chain, messages=messages)["usage"]["prompt_tokens"] and ids["max_model_len"] == 1024
    back = chain.post("/detokenize", {"tokens": ids["tokens"]})
    assert back["content"] == back["prompt"] == rendered
    # lm-eval: a batch of token ids, echoed and scored, nothing generated (or one token, by its version).
    context, whole = (chain.post("/tokenize", {"content": text})["tokens"] for text in ("The capital of France is", "The capital of France is Paris"))
    for max_tokens in (0, 1):
        answer = chain.post(TEXT, {"prompt": [whole, context], "temperature": 0, "max_tokens": max_tokens, "logprobs": 1, "seed": 1234, "echo": True})
        for choice, prompt in zip(sorted(answer["choices"], key=lambda c: c["index"]), (whole, context)):
            scores = choice["logprobs"]
            assert scores["token_logprobs"][0] is None and len(scores["tokens"]) == len(prompt) + max_tokens
            assert all(score <= 0 for score in scores["token_logprobs"][1:])
            for score, top in zip(scores["token_logprobs"][1:], scores["top_logprobs"][1:]):
                assert max(top.values()) >= score
    # Prompt scores: vLLM's shape, the same numbers by every way to ask.
    echoed = chain.post(TEXT, {"prompt": ids["tokens"], "max_tokens": 0, "echo": True, "logprobs": 1})["choices"][0]["logprobs"]["token_logprobs"]
    chat_scores = ask(chain, messages=messages, prompt_logprobs=2)["prompt_logprobs"]
    assert [entry and entry[str(token)]["logprob"] for entry, token in zip(chat_scores, ids["tokens"])] == echoed
    assert all(2 <= len(entry) <= 3 and {top["rank"] for top in entry.values()} >= {1, 2} for entry in chat_scores[1:])
    listed = chain.post(TEXT, {"prompt": ["a", "b"], "n": 2, "max_tokens": 2, "temperature": 1, "seed": 1})
    assert [choice["index"] for choice in listed["choices"]] == [0, 1, 2, 3]
    native = chain.post("/generate", {"inputs": "Once", "parameters": {"max_new_tokens": 4}})
    assert native["details"]["generated_tokens"] == 4 and native["generated_text"]


def metrics(chain):  # C74 to C77
    def page():
        return chain.request("GET", "/metrics")[2]

    before = {name: chain.metric(name) for name in ("vllm:generation_tokens_total", "vllm:prompt_tokens_total")}
    started = time.monotonic()
    sum_before = chain.metric("vllm:time_to_first_token_seconds_sum")
    usage = ask(chain, ignore_eos=True)["usage"]
    spent = time.monotonic() - started
    assert chain.metric("vllm:generation_tokens_total") - before["vllm:generation_tokens_total"] == usage["completion_tokens"]
    assert chain.metric("vllm:prompt_tokens_total") - before["vllm:prompt_tokens_total"] == usage["prompt_tokens"]
    assert 0 < chain.metric("vllm:time_to_first_token_seconds_sum") - sum_before < spent
    text = page()
    for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "request_success_total", "num_preemptions_total", "inter_token_latency_seconds",
                 "e2e_request_latency_seconds", "request_queue_time_seconds", "request_prefill_time_seconds", "request_decode_time_seconds", "iteration_tokens_total"):
        assert f"\n# TYPE vllm:{name} " in text, name
    for stage in "abc":
        for name in ("stage_compute_seconds_sum", "stage_queue_seconds_sum", "stage_wire_seconds_sum", "stage_idle_seconds_total", "stage_rows_total"):
            assert re.search(rf'^commissure_{name}{{[^}}]*stage="{stage}"[^}}]*}} [\d.]', text, re.M), (name, stage)
    flow = {(stage, way): float(re.search(rf'^commissure_stage_boundary_bytes_total{{(?=[^}}]*direction="{way}")[^}}]*stage="{stage}"[^}}]*}} (\S+)', text, re.M)[1])
            for stage in "abc" for way in ("in", "out")}
    assert flow["a", "in"] == flow["c", "out"] == 0 < flow["a", "out"] == flow["b", "in"] == flow["b", "out"] == flow["c", "in"], flow
    for name, bound, count in re.findall(r'^(commissure_\w+)_bucket{[^}]*le="(\+Inf)"[^}]*} (\S+)', text, re.M):
        assert bound and float(count) >= 0 and f"\n{name}_count" in text
    aborted = re.compile(r'commissure_request_success_total{[^}]*"abort"[^}]*} (\S+)')
    n_aborted = float(aborted.search(text)[1])
    for body in ({**GREEDY, "max_tokens": 900, "ignore_eos": True, "stream": True}, {"messages": HELLO, "max_tokens": 900, "ignore_eos": True}):
        with socket.create_connection(("127.0.0.1", chain.port)) as client:
            payload = json.dumps(body).encode()
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(payload) + payload)
            wait_until(lambda: chain.metric("commissure_num_requests_running") == 1, 30, "it runs")
            assert chain.metric("commissure_kv_blocks_used") >= 1
        wait_until(lambda: chain.metric("commissure_kv_blocks_used") == 0, 30, "its KV is free")
    assert float(aborted.search(page())[1]) == n_aborted + 2
    if shutil.which("promtool"):
        own = "\n".join(line for line in page().splitlines() if "vllm:" not in line) + "\n"  # their colons are theirs
        done = subprocess.run(["promtool", "check", "metrics"], input=own, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr
    else:
        print("SKIPPED: promtool (Debian: prometheus) is absent, the page was not linted")


def deadlines(chain):  # C71
    status, _, text = chain.request("POST", CHAT, {**GREEDY, "max_tokens": 900, "ignore_eos": True, "timeout": 0.05})
    assert status == 504 and json.loads(text)["error"]["type"] == "timeout_error", (status, text)
    body = {**GREEDY, "max_tokens": 900, "ignore_eos": True, "timeout": 1, "stream": True}
    status, _, text = chain.request("POST", CHAT, body)
    assert status == 504 or '"error"' in text.rsplit("data: ", 1)[1], text[-300:]
    wait_until(lambda: chain.metric("commissure_kv_blocks_used") == 0, 30, "its KV is free")


def priorities(chain):  # C67; the chain runs one request at a time
    order = []

    def ask(priority):  # long enough that the order in which answers are noticed here is that in which they ended
        chain.post("/v1/completions", {"prompt": "Hi", "max_tokens": 100, "ignore_eos": True, "priority": priority})
        order.append(priority)

    waiting = lambda: chain.metric("commissure_num_requests_waiting")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        with socket.create_connection(("127.0.0.1", chain.port)) as client:
            payload = json.dumps({"prompt": "Once upon a time", "max_tokens": 900, "ignore_eos": True, "stream": True}).encode()
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(payload) + payload)
            wait_until(lambda: chain.metric("commissure_num_requests_running") == 1, 30, "the first request runs")
            later = []
            for n_before, priority in enumerate((7, 0, -7)):
                later.append(pool.submit(ask, priority))
                wait_until(lambda: waiting() == n_before + 1, 30, f"the request of priority {priority} waits")
        for future in later:  # the first one's client left
            future.result(timeout=120)
    assert order == [-7, 0, 7], order
    status, _, text = chain.request("POST", "/v1/completions", {"prompt": "Hi", "priority": "high"})
    assert status == 400 and json.loads(text)["error"]["param"] == "priority", text


def main():
    need(SMOL)
    checks = [whole_answers, errors, transport, streams, parameters, scoring_and_text, metrics, deadlines]
    with Chain(SMOL, stages=3, flags=["--max-model-len", "1024", "--metrics-names", "both", "--served-model-name", "first,second", "--cors-origins", "http://a.b", "--allowed-hosts", "llm.example"]) as chain:
        for check in checks:
            started = time.monotonic()
            check(chain)
            print(f"{check.__name__}: ok, {time.monotonic() - started:.1f} s", flush=True)
    with Chain(SMOL, stages=2, flags=["--max-model-len", "1024", "--max-num-seqs", "1"]) as chain:
        priorities(chain)
        print("priorities: ok", flush=True)


if __name__ == "__main__":
    main()
