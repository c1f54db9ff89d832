"""What the speed table measures: each case names its servers, a measurement, what to compare it with and what to reach."""
import dataclasses
import json
import pathlib
import subprocess
import typing

from servers import PROGRAM, ROOT, Commissure, Llama, LlamaRpc, Vllm


@dataclasses.dataclass
class Model:
    """One model in the forms that the programs read."""

    name: str
    quantised: pathlib.Path   # GGUF, read by Commissure and llama.cpp
    bf16: pathlib.Path        # GGUF of bf16 weights, the same two; None when not made
    folder: pathlib.Path      # bf16 safetensors, read by vLLM; None when not made
    token_bytes: float        # bytes of weights a decoded token reads, as quantised: a greedy token meets the head's screen, 5.5 bits a weight
    token_bytes_bf16: float
    kv_read: typing.Callable  # position -> bytes of KV a token there reads
    kv_position: float        # bytes of KV that all layers keep of one position
    context: int              # positions that the servers are started for
    golden: str               # log-probabilities in float32: a file of tests/golden/logprobs
    three_stages: dict        # streams -> what three stages should reach of one process


@dataclasses.dataclass
class Goal:
    """A bound on the ratio to the best of `to` (server keys), on the share of the limit (`to` is "limit") or on the value (`to` is empty)."""

    least: float = None
    most: float = None
    to: tuple = ()
    measure: str = "tok/s"

    def reached(self, value):
        return value >= self.least if self.least is not None else value <= self.most


@dataclasses.dataclass
class Case:
    """One row of the table. `servers` are the keys of the servers it runs on, ours first."""

    key: str
    what: str
    servers: list
    measure: typing.Callable          # (server, salt) -> number, or {name: number}
    goals: list
    limit: typing.Callable = None     # bytes per second -> tokens per second that the hardware allows
    rounds: int = None                # fewer than asked for, where one is enough or long
    restarts: bool = False            # every measurement starts the server anew
    beside: tuple = ()                # two server keys whose ratio is shown beside


def prompt_ids(n_tokens, salt):
    """A prompt of exactly n_tokens ids, another one each time so that no prefix cache helps."""
    return [1000 + (i * 37 + salt * 101) % 20000 for i in range(n_tokens)]


def decode(server, salt, n_context=16, n_tokens=160):
    """Tokens per second of one stream after n_context tokens."""
    times = server.stream_times(prompt_ids(n_context, salt), n_tokens)
    return (n_tokens - 1) / (times[-1] - times[0])


def decode_some(server, salt):
    """The same of fewer tokens, where a server is slow."""
    return decode(server, salt, 16, 64)


def decode_far(server, n_context, n_tokens=64):
    """The same behind a long prompt, which only the first round computes."""
    return decode(server, 3, n_context, n_tokens)


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
    if answer["failed"]:
        raise SystemExit(f"{server.name}: {answer['failed']} of {2 * streams} requests failed")
    return {"tok/s": answer["output_throughput"], "TTFT p50, ms": answer["p50_ttft_ms"]}


def throughput(server, salt, streams):
    return many(server, salt, streams)["tok/s"]


def prefix_hit(server, salt):
    """Time to first token of a prompt of 1,000 tokens asked a second time, over the first."""
    prompt = prompt_ids(1000, salt)
    cold, warm = (server.stream_times(prompt, 1)[0] for _ in range(2))
    return {"hit / cold": warm / cold, "hit, ms": 1000 * warm}


def error_to_float32(server, golden):
    """Mean |delta log-probability| over the prompts of tests/golden/logprobs."""
    texts = json.loads((ROOT / f"tests/golden/logprobs/{golden}.json").read_text())["texts"]
    errors = []
    for text in texts:
        body = {"prompt": text["ids"], "max_tokens": 0, "echo": True, "logprobs": 1}
        with server.post("/v1/completions", body) as response:
            found = json.load(response)["choices"][0]["logprobs"]["token_logprobs"][1:]
        errors += [abs(want - have) for want, have in zip(text["logprobs"], found, strict=True)]
    return {"mean error": sum(errors) / len(errors)}


def start(server, _):
    """From the program's start to its first token; the page cache is warm."""
    with server:
        return {"ms": 1000 * server.first_token()}


def own_memory(server, model):
    """Private memory after a prompt of 512 tokens and 64 more, less their keys and values; mapped weights are not in it."""
    with server:
        server.first_token()
        decode(server, 5, 512, 64)
        return {"MiB": (server.private_bytes() - (512 + 64) * model.kv_position) / 2**20}


def speed_cases(model):
    """Beside the rivals."""
    weights = lambda bandwidth: bandwidth / model.token_bytes  # noqa: E731
    weights_bf16 = lambda bandwidth: bandwidth / model.token_bytes_bf16  # noqa: E731
    bf16 = ["ours_bf16", "llama_bf16", "vllm"]
    return [
        Case("P1", "decode, 1 stream", ["ours", "llama"], decode, [Goal(1.6, to=("llama",)), Goal(0.8, to="limit")], weights),
        Case("P2", "16 streams, 128 in, 64 out", ["ours", "llama16", "vllm"], lambda s, salt: many(s, salt, 16),
             [Goal(2, to=("vllm",)), Goal(4, to=("llama16",)), Goal(most=0.5, to=("llama16",), measure="TTFT p50, ms")]),
        Case("P3", "prefill 512", ["ours", "llama", "vllm"], prefill, [Goal(1.5, to=("vllm",)), Goal(3, to=("llama",))]),
        Case("P4", "bf16 decode", bf16, decode_some, [Goal(1.2, to=("llama_bf16", "vllm"))], weights_bf16),
        Case("P4", "bf16 prefill 512", bf16, prefill, [Goal(1.5, to=("llama_bf16", "vllm"))]),
    ]


def own_cases(model):
    """Beside ourselves."""
    split = [Case("P5", f"3 stages, {n} stream{'s' * (n > 1)}", ["ours3", "ours"], (lambda s, salt, n=n: throughput(s, salt, n)) if n > 1 else decode_some,
                  [Goal(least, to=("ours",))], beside=("llama_rpc", "llama") if n == 1 else ()) for n, least in model.three_stages.items()]
    return split + [
        Case("P6", "exact, decode", ["exact", "ours"], decode, [Goal(0.97, to=("ours",))]),
        Case("P6", "exact, prefill 512", ["exact", "ours"], prefill, [Goal(0.5, to=("ours",))]),
        Case("P6", "exact, log-probability", ["exact"], lambda s, _: error_to_float32(s, model.golden), [Goal(most=0.02, measure="mean error")], rounds=1),
        Case("P7", "start to first token", ["ours", "llama"], start, [Goal(most=0.5, to=("llama",), measure="ms")], restarts=True),
        Case("P8", "private memory less KV", ["ours", "llama"], lambda s, _: own_memory(s, model), [Goal(most=64, measure="MiB")], rounds=1, restarts=True),
        Case("prefix", "1,000 tokens again", ["ours", "llama"], prefix_hit, [Goal(most=0.2, measure="hit / cold")]),
    ]


def cases_of(model):
    """Every case of one model, in an order that lets a server be stopped early."""
    far = [n for n in (4000, 16000) if n < model.context]
    return speed_cases(model) + own_cases(model) + [
        Case("P10", f"decode at {n} positions", ["ours", "llama"], lambda s, _, n=n: decode_far(s, n), [Goal(0.8, to="limit")],
             lambda bandwidth, n=n: bandwidth / (model.token_bytes + model.kv_read(n + 32))) for n in far]


def make_servers(model, llama, vllm_python):
    """Every server of this model that can be had here, by key."""
    def ours(file, **rest):
        return Commissure(file, **{"options": ["--max-model-len", str(model.context), "--precision", "fast"], **rest})
    exact = ["--max-model-len", str(model.context), "--precision", "exact"]
    servers = {"ours": ours(model.quantised), "ours3": ours(model.quantised, stages=3),
               "exact": ours(model.quantised, label="commissure exact", options=exact)}
    if llama:
        servers["llama"] = Llama(llama, model.quantised, context=model.context)
        servers["llama16"] = Llama(llama, model.quantised, slots=16, context=512)
        servers["llama_rpc"] = LlamaRpc(llama, model.quantised)
    if model.bf16:
        servers["ours_bf16"] = ours(model.bf16, packs=True)
        if llama:
            servers["llama_bf16"] = Llama(llama, model.bf16)
    if vllm_python and model.folder:
        servers["vllm"] = Vllm(vllm_python, model.folder)
    return servers
