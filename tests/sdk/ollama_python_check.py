#!/usr/bin/env python3
"""Runs Ollama's Python package against a live server: ollama_python_check.py BASE_URL [--key KEY] [--model NAME].

BASE_URL is the server's root, e.g. http://127.0.0.1:8080. Prints one line per check; exits 1 if any failed.
Works with any model that has a chat template, since it checks shapes and not words.
"""
import importlib.metadata
import json

import ollama
import pydantic

from checks import check, raises, run

ollama.__version__ = importlib.metadata.version("ollama")
HELLO = [{"role": "user", "content": "Say hello."}]
GREEDY = {"temperature": 0, "num_predict": 12, "num_ctx": 4096}


def now() -> str:
    """The time of day."""


def get_weather(city: str) -> str:
    """The weather of a city.

    Args:
      city: its name
    """


class Live:
    def __init__(self, base, key, model):
        self.client = ollama.Client(host=base, headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=120)
        self.model = model or self.client.list().models[0].model

    def chat(self, **options):
        return self.client.chat(**{"model": self.model, "messages": HELLO, "options": GREEDY, **options})


@check
def models_are_listed_and_shown(live):
    assert live.model in [model.model for model in live.client.list().models] and live.client.ps().models[0].context_length > 0
    shown = live.client.show(live.model)
    assert "completion" in shown.capabilities and shown.modelinfo[shown.modelinfo["general.architecture"] + ".context_length"] > 0, shown


@check
def a_chat_answers(live):
    answer = live.chat(keep_alive="5m")
    assert answer.done and answer.done_reason in ("stop", "length") and answer.message.role == "assistant" and answer.message.content, answer
    assert answer.model == live.model and answer.prompt_eval_count > 0 and 0 < answer.eval_count <= 12, answer
    assert answer.total_duration >= answer.prompt_eval_duration > 0 and answer.eval_duration >= 0, answer
    bare = live.chat(model=live.model.removesuffix(":latest"))
    assert bare.message.content == answer.message.content, (bare, answer)


@check
def a_stream_has_the_same_text(live):
    whole = live.chat()
    parts = list(live.chat(stream=True))
    assert "".join(part.message.content for part in parts) == whole.message.content and len(parts) > 1, parts
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True], parts
    assert (parts[-1].done_reason, parts[-1].eval_count) == (whole.done_reason, whole.eval_count), parts[-1]


@check
def a_prompt_is_answered(live):
    chat = live.chat(messages=[{"role": "system", "content": "Be kind."}, *HELLO])
    options = {"model": live.model, "prompt": "Say hello.", "options": GREEDY}
    assert live.client.generate(system="Be kind.", **options).response == chat.message.content
    raw = live.client.generate(raw=True, **options)
    assert 0 < raw.prompt_eval_count < chat.prompt_eval_count, raw
    assert "".join(part.response for part in live.client.generate(raw=True, stream=True, **options)) == raw.response


@check
def who_asks_nothing_hears_that_the_model_is_there(live):
    assert live.client.generate(model=live.model).done_reason == "load"
    assert live.client.chat(model=live.model, messages=[], keep_alive=0).done_reason == "unload"


class Mood(pydantic.BaseModel):
    score: int = pydantic.Field(ge=1, le=99)
    sure: bool


@check
def an_answer_is_held_to_its_format(live):
    options = {**GREEDY, "num_predict": 80}
    mood = Mood.model_validate_json(live.chat(format=Mood.model_json_schema(), options=options).message.content)
    assert 1 <= mood.score <= 99, mood
    answer = live.chat(format="json", options=options)
    assert answer.done_reason == "length" or isinstance(json.loads(answer.message.content), dict), answer


@check
def functions_of_python_are_tools(live):
    for stream in (False, True):
        answer = live.chat(tools=[now, get_weather], stream=stream, options={**GREEDY, "num_predict": 48})
        for part in answer if stream else [answer]:
            for call in part.message.tool_calls or []:
                assert call.function.name in ("now", "get_weather") and isinstance(call.function.arguments, dict), part
    call = {"function": {"name": "get_weather", "arguments": {"city": "Rome"}}}
    history = [*HELLO, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "Sunny.", "tool_name": "get_weather"}]
    assert live.chat(tools=[get_weather], messages=history, think=False).done


@check
def a_served_model_is_pulled(live):
    assert live.client.pull(live.model).status == "success"
    assert [part.status for part in live.client.pull(live.model, stream=True)][-1] == "success"


@check
def errors_are_the_packages_own(live):
    for call, status, words in ((lambda: live.chat(model="llama3"), 404, "llama3"), (lambda: live.client.pull("llama3"), 404, "llama3"),
                                (lambda: live.chat(options={"temperature": 3}), 400, "temperature"), (lambda: live.chat(options={"num_predict": -3}), 400, "num_predict"),
                                (lambda: list(live.chat(stream=True, options={"top_p": 7})), 400, "top_p"), (lambda: live.client.embed(live.model, "a"), 501, "embeddings"),
                                (lambda: live.client.generate(live.model, "a", suffix="b"), 400, "suffix"), (lambda: live.client.delete(live.model), 501, "not supported"),
                                (lambda: live.chat(messages=[{"role": "user", "content": "word " * 100_000}]), 400, "maximum context length")):
        error = raises(ollama.ResponseError, call)
        assert error.status_code == status and words in error.error, (error.status_code, error.error)


if __name__ == "__main__":
    run(Live, __doc__, ollama)
