#!/usr/bin/env python3
"""`"trace": true`: every row of a request is accounted for, stage by stage; a traceparent reaches the log."""
import contextlib
import http.server
import json
import threading

from harness import QUICK, SMOL, Chain, need, wait_until

N_PROMPT = 100 if QUICK else 700
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def check(trace, n_prompt, n_tokens, stages):
    position = 0
    for step in trace["steps"]:
        assert step["position"] == position, (step, position)
        position += step["rows"]
        assert [stage["stage"] for stage in step["stages"]] == stages, step
        known = sum(stage[part] for stage in step["stages"] for part in ("queue_us", "compute_us", "wire_us"))
        assert all(stage["compute_us"] > 0 for stage in step["stages"]), step
        assert 0 < step["total_us"] <= known + 1, step  # the last stage's wire is what is left
    assert position == n_prompt + n_tokens - 1, (position, n_prompt, n_tokens)


@contextlib.contextmanager
def collector():
    """Takes OTLP/HTTP; gives its address and the spans so far."""
    spans = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
            for resource in body["resourceSpans"]:
                instance = {each["key"]: each["value"]["stringValue"] for each in resource["resource"]["attributes"]}["service.instance.id"]
                for scope in resource["scopeSpans"]:
                    spans.extend({**span, "instance": instance} for span in scope["spans"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", spans
        finally:
            server.shutdown()
            thread.join()


def spans_reach_a_collector():
    body = {"prompt": "Once upon", "max_tokens": 4, "ignore_eos": True}
    with collector() as (address, spans), Chain(SMOL, stages=3, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": address, "no_proxy": "127.0.0.1"}) as chain:
        headers = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}
        status, _, text = chain.request("POST", "/v1/completions", body, headers)
        assert status == 200 and '"trace"' not in text, text
        wait_until(lambda: sum(span["traceId"] == TRACE_ID for span in spans) == 13, 30, "spans arrive")
        own = [span for span in spans if span["traceId"] == TRACE_ID]
        (root,) = [span for span in own if span["parentSpanId"] == "00f067aa0ba902b7"]
        stages = [span for span in own if span["parentSpanId"] == root["spanId"]]
        assert root["kind"] == 2 and {span["name"] for span in stages} == {"stage a", "stage b", "stage c"} and len(stages) == 12, own
        assert len({span["spanId"] for span in own}) == 13
        steps = {}
        for span in stages:
            assert span["instance"] == span["name"], "every stage tells of its own work"
            attributes = {each["key"]: each["value"] for each in span["attributes"]}
            steps.setdefault(attributes["commissure.step"]["intValue"], []).append((int(span["startTimeUnixNano"]), span["name"]))
            assert int(root["startTimeUnixNano"]) - 50_000_000 <= int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
        assert len(steps) == 4 and all([name for _, name in sorted(step)] == ["stage a", "stage b", "stage c"] for step in steps.values()), steps
        unsampled = TRACE_ID[::-1]
        chain.request("POST", "/v1/completions", body, {"traceparent": f"00-{unsampled}-00f067aa0ba902b7-00"})
        n_known = len(spans)
        assert chain.request("POST", "/v1/completions", body)[0] == 200  # starts a trace of its own
        wait_until(lambda: len(spans) == n_known + 13, 30, "its spans arrive")
        assert all(span["traceId"] != unsampled for span in spans)


def one_log_line_a_request():
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "K_SERVICE": "demo", "GOOGLE_CLOUD_PROJECT": "acme"}
    secret = "xylophone zebra"
    for environment in (away, {**away, "COMMISSURE_LOG_PROMPTS": "1"}):
        with Chain(SMOL, stages=1, environment=environment) as chain:
            for _ in range(3):
                headers = {"X-Cloud-Trace-Context": f"{TRACE_ID}/77;o=1", "User-Agent": "probe", "X-Request-Id": "mine"}
                assert chain.request("POST", "/v1/completions", {"prompt": secret, "max_tokens": 2, "n": 2}, headers)[0] == 200
            lost = "spans are lost"
            text = wait_until(lambda: (out := chain.run("logs", "--stage", "a").stdout).count(lost) and out, 30, "a collector that is away is a warning")
            lines = [json.loads(line[line.index("{") :]) for line in text.splitlines() if "{" in line]
            requests = [line for line in lines if line["message"] == "request"]
            assert len(requests) == 3 and text.count(lost) == 1, text
            line = requests[0]
            assert line["severity"] == "INFO" and line["request_id"] == "mine" and line["completion_tokens"] <= 4 and line["total_ms"] >= line["ttft_ms"] > 0, line
            assert line["httpRequest"]["status"] == 200 and line["httpRequest"]["userAgent"] == "probe" and line["httpRequest"]["latency"].endswith("s")
            assert line["logging.googleapis.com/trace"] == f"projects/acme/traces/{TRACE_ID}" and len(line["logging.googleapis.com/spanId"]) == 16
            assert (secret in text) == ("COMMISSURE_LOG_PROMPTS" in environment), "prompts are logged when asked for only"


def main():
    need(SMOL)

    def body(first, **more):  # another prompt each time: every row is computed
        return {"prompt": list(range(first, first + N_PROMPT)), "max_tokens": 5, "ignore_eos": True, **more}

    with Chain(SMOL, stages=3) as chain:
        plain = chain.post("/v1/completions", body(1000))
        assert "trace" not in json.dumps(plain), plain
        whole = chain.post("/v1/completions", body(2000, trace=True))["choices"][0]["trace"]
        check(whole, N_PROMPT, 5, ["a", "b", "c"])
        assert "checksums" not in json.dumps(whole)

        events = list(chain.stream("/v1/completions", body(3000, trace="layers")))
        assert all("trace" not in event["choices"][0] for event in events[:-1])
        streamed = events[-1]["choices"][0]["trace"]
        check(streamed, N_PROMPT, 5, ["a", "b", "c"])
        assert all(sum(len(stage["checksums"]) for stage in step["stages"]) == 30 for step in streamed["steps"])

        headers = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01", "X-Request-Id": "mine"}
        status, answered, _ = chain.request("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1}, headers)
        assert status == 200 and answered["x-request-id"] == "mine", answered
        chain.request("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1}, {"traceparent": "00-nonsense"})
        lines = [line for line in chain.run("logs", "--stage", "a").stdout.splitlines() if "googleapis.com/trace=" in line]
        assert len(lines) == 1 and f"trace={TRACE_ID}" in lines[0] and "request_id=mine" in lines[0], lines
    spans_reach_a_collector()
    one_log_line_a_request()
    print(f"trace: {len(whole['steps'])} steps accounted for on three stages")


if __name__ == "__main__":
    main()
