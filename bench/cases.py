"""What the speed table measures: each case names its servers, a measurement and what to compare it with."""
import dataclasses
import json
import subprocess
import typing

from servers import PROGRAM, Commissure, Llama, Vllm


@dataclasses.dataclass
class Model:
    """One model in the forms that the programs read."""

    name: str
    quantised: str           # GGUF, read by Commissure and llama.cpp
    bf16: str                # GGUF of bf16 weights, the same two; None when not made
    folder: str              # bf16 safetensors, read by vLLM; None when not made
    token_bytes: float       # bytes of weights a decoded token reads, as quantised
    token_bytes_bf16: float
    kv_bytes: typing.Callable  # position -> bytes of KV a token there reads


def prompt_ids(n_tokens, salt):
    """A prompt of exactly n_tokens ids, another one each time so that no prefix cache helps."""
    return [1000 + (i * 37 + salt * 101) % 20000 for i in range(n_tokens)]


def decode(server, salt, n_context=16, n_tokens=160):
    """Tokens per second of one stream after n_context tokens."""
    times = server.stream_times(prompt_ids(n_context, salt), n_tokens)
    return (n_tokens - 1) / (times[n_tokens - 1] - times[0]) if len(times) >= n_tokens else float("nan")


def prefill(server, salt, n_tokens=512):
    """Prompt tokens per second, up to the first token."""
    return n_tokens / server.stream_times(prompt_ids(n_tokens, salt), 2)[0]


def many(server, salt, streams):
    """Output tokens per second of `streams` clients at once, and the median time to first token in ms."""
    command = [PROGRAM, "bench", "--url", f"http://127.0.0.1:{server.port}", "--concurrency", str(streams), "--requests", str(2 * streams),
               "--prompt-tokens", "128", "--max-tokens", "64", "--seed", str(salt), "--warmup", "0", "--json"]
    if server.model_name:
        command += ["--model", server.model_name]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {"tok/s": answer["output_throughput"], "ttft_ms": answer["p50_ttft_ms"]}


@dataclasses.dataclass
class Case:
    """One row of the table. `servers` are the keys of the servers it runs on, ours first, the others what it is compared with."""

    key: str
    what: str
    servers: list
    measure: typing.Callable                      # (server, salt) -> number, or {name: number}
    goal: str = ""
    higher_is_better: bool = True
    limit: typing.Callable = None                 # (model, bytes per second) -> the hardware's bound


def cases_of(model):
    """The cases for one model; servers that are absent are left out by the caller."""
    decode_limit = lambda m, bandwidth: bandwidth / m.token_bytes  # noqa: E731
    rows = [
        Case("P1", "decode, 1 stream", ["ours", "llama"], decode, ">= 1.6", limit=decode_limit),
        Case("P2", "16 streams, 128 in, 64 out", ["ours", "vllm", "llama16"], lambda s, salt: many(s, salt, 16), ">= 2 vLLM, >= 4 llama.cpp"),
        Case("P3", "prefill 512", ["ours", "vllm", "llama"], prefill, ">= 1.5 vLLM, >= 3 llama.cpp"),
        Case("P4", "bf16 file, decode", ["ours_bf16", "vllm", "llama_bf16"], decode, ">= 1.2",
             limit=lambda m, bandwidth: bandwidth / m.token_bytes_bf16),
        Case("P4", "bf16 file, prefill 512", ["ours_bf16", "vllm", "llama_bf16"], prefill, ">= 1.5"),
        Case("P5", "3 stages / 1, 1 stream", ["ours3", "ours"], decode, ">= 0.94"),
        Case("P5", "3 stages / 1, 4 streams", ["ours3", "ours"], lambda s, salt: many(s, salt, 4), ">= 0.97"),
        Case("P5", "3 stages / 1, 16 streams", ["ours3", "ours"], lambda s, salt: many(s, salt, 16), ">= 0.97"),
        Case("P6", "exact / fast, decode", ["exact", "ours"], decode, ">= 0.97"),
        Case("P6", "exact / fast, prefill 512", ["exact", "ours"], prefill, ">= 0.5"),
    ]
    for n_context in (4000, 16000):
        rows.append(Case("P10", f"decode at {n_context} positions", ["ours", "llama"], lambda s, salt, n=n_context: decode(s, salt, n, 64), ">= 1",
                         limit=lambda m, bandwidth, n=n_context: bandwidth / (m.token_bytes + m.kv_bytes(n))))
    return rows


def make_servers(model, llama, vllm_python, context):
    """Every server of this model that can be had here, by key."""
    length = ["--max-model-len", str(context), "--precision", "fast"]
    servers = {
        "ours": Commissure(model.quantised, options=length),
        "ours3": Commissure(model.quantised, 3, options=length),
        "exact": Commissure(model.quantised, label="commissure exact", options=["--max-model-len", str(context), "--precision", "exact"]),
    }
    if llama:
        servers["llama"] = Llama(llama, model.quantised, context=context)
        servers["llama16"] = Llama(llama, model.quantised, slots=16, context=512)
    if model.bf16:
        servers["ours_bf16"] = Commissure(model.bf16, options=length)
        if llama:
            servers["llama_bf16"] = Llama(llama, model.bf16)
    if vllm_python and model.folder:
        servers["vllm"] = Vllm(vllm_python, model.folder)
    return servers
