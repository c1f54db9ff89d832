#!/usr/bin/env python3
"""`"trace": true`: every row of a request is accounted for, stage by stage; a traceparent reaches the log."""
import json

from harness import SMOL, Chain, need

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


def main():
    need(SMOL)

    def body(first, **more):  # another prompt each time: every row is computed
        return {"prompt": list(range(first, first + 700)), "max_tokens": 5, "ignore_eos": True, **more}

    with Chain(SMOL, stages=3) as chain:
        plain = chain.post("/v1/completions", body(1000))
        assert "trace" not in json.dumps(plain), plain
        whole = chain.post("/v1/completions", body(2000, trace=True))["choices"][0]["trace"]
        check(whole, 700, 5, ["a", "b", "c"])
        assert "checksums" not in json.dumps(whole)

        events = list(chain.stream("/v1/completions", body(3000, trace="layers")))
        assert all("trace" not in event["choices"][0] for event in events[:-1])
        streamed = events[-1]["choices"][0]["trace"]
        check(streamed, 700, 5, ["a", "b", "c"])
        assert all(sum(len(stage["checksums"]) for stage in step["stages"]) == 30 for step in streamed["steps"])

        headers = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01", "X-Request-Id": "mine"}
        status, answered, _ = chain.request("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1}, headers)
        assert status == 200 and answered["x-request-id"] == "mine", answered
        chain.request("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1}, {"traceparent": "00-nonsense"})
        lines = [line for line in chain.run("logs", "--stage", "a").stdout.splitlines() if "trace_id" in line]
        assert len(lines) == 1 and f"trace_id={TRACE_ID}" in lines[0] and "request_id=mine" in lines[0], lines
    print(f"trace: {len(whole['steps'])} steps accounted for on three stages")


if __name__ == "__main__":
    main()
