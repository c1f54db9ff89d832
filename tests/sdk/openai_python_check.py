#!/usr/bin/env python3
"""Runs the OpenAI Python SDK against a live server: openai_python_check.py BASE_URL [--key KEY] [--model NAME].

BASE_URL is the server's root, e.g. http://127.0.0.1:8080. Prints one line per check; exits 1 if any failed.
Needs openai >= 1. Works with any model, since it checks shapes and not words.
"""
import json
import urllib.request
from typing import Literal, Optional

import openai
import pydantic

from checks import check, raises, run


class Live:
    def __init__(self, base, key, model):
        self.base, self.key = base.rstrip("/"), key
        self.client = openai.OpenAI(base_url=self.base + "/v1", api_key=key or "none", timeout=120)
        self.model = model or self.client.models.list().data[0].id

    def chat(self, **options):
        options = {"max_tokens": 12, "temperature": 0, **options}
        options.setdefault("messages", [{"role": "user", "content": "Say hello."}])
        return self.client.chat.completions.create(model=self.model, **options)

    def complete(self, prompt, **options):
        options = {"max_tokens": 8, "temperature": 0, **options}
        return self.client.completions.create(model=self.model, prompt=prompt, **options)

    def post(self, path, body):
        headers = {"content-type": "application/json"}
        if self.key:
            headers["authorization"] = "Bearer " + self.key
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)


@check
def models_are_listed_and_found(live):
    listed = [model.id for model in live.client.models.list()]
    assert live.model in listed, listed
    assert live.client.models.retrieve(live.model).id == live.model


@check
def chat_answers(live):
    answer = live.chat()
    choice = answer.choices[0]
    assert answer.object == "chat.completion" and answer.id and answer.created
    assert choice.message.role == "assistant" and isinstance(choice.message.content, str)
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens <= 12


@check
def text_parts_equal_plain_text(live):
    plain = live.chat(messages=[{"role": "user", "content": "One two three"}])
    parts = [{"type": "text", "text": "One two "}, {"type": "text", "text": "three"}]
    split = live.chat(messages=[{"role": "user", "content": parts}])
    assert plain.usage.prompt_tokens == split.usage.prompt_tokens
    assert plain.choices[0].message.content == split.choices[0].message.content


@check
def chat_streams_the_same_text(live):
    whole = live.chat()
    chunks = list(live.chat(stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content, (text, whole.choices[0].message.content)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({(c.id, c.created, c.model) for c in chunks}) == 1
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert reasons == [whole.choices[0].finish_reason], reasons
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(c.usage is None for c in chunks[:-1])


@check
def stream_without_usage_has_none(live):
    assert all(c.choices and c.usage is None for c in live.chat(stream=True))


@check
def continuous_usage_grows(live):
    options = {"include_usage": True, "continuous_usage_stats": True}
    counts = [c.usage.completion_tokens for c in live.chat(stream=True, extra_body={"stream_options": options})]
    assert counts and counts == sorted(counts), counts


@check
def chat_logprobs_have_their_shape(live):
    content = live.chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert content
    for entry in content:
        assert entry.logprob <= 0 and len(entry.top_logprobs) == 3
        assert isinstance(entry.bytes, list)
        assert abs(entry.top_logprobs[0].logprob - entry.logprob) < 1e-5  # greedy took the likeliest


@check
def max_completion_tokens_wins(live):
    answer = live.chat(max_completion_tokens=3, max_tokens=9, extra_body={"ignore_eos": True})
    assert answer.usage.completion_tokens == 3 and answer.choices[0].finish_reason == "length"


@check
def seed_repeats(live):
    first = live.chat(temperature=1, seed=7)
    assert first.choices[0].message.content == live.chat(temperature=1, seed=7).choices[0].message.content


@check
def null_is_absent_and_unknown_is_ignored(live):
    nothing = {"stop": None, "seed": None, "logit_bias": None, "tools": None, "response_format": None, "top_k": None}
    live.chat(extra_body={**nothing, "some_future_field": {"a": 1}})


TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "The weather of a city.",
          "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}},
         {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]


def calls_of(live, **options):
    """The calls of an answer, whole and streamed, which are the same but for their ids."""
    options = {"tools": TOOLS, "max_tokens": 48, **options}
    message = live.chat(**options).choices[0].message
    whole = [(call.function.name, call.function.arguments) for call in message.tool_calls or []]
    with live.client.chat.completions.stream(model=live.model, messages=[{"role": "user", "content": "Say hello."}], temperature=0, **options) as stream:
        streamed = stream.get_final_completion().choices[0].message
    assert [(call.function.name, call.function.arguments) for call in streamed.tool_calls or []] == whole, (streamed, whole)
    assert (streamed.content or "") == (message.content or ""), (streamed, message)
    assert all(call.id and call.type == "function" for call in message.tool_calls or [])
    return whole


@check
def a_named_tool_is_called(live):
    calls = calls_of(live, tool_choice={"type": "function", "function": {"name": "now"}})
    assert [name for name, _ in calls] == ["now"], calls


@check
def a_call_that_is_a_must_is_valid(live):
    calls = calls_of(live, tool_choice="required", max_tokens=120, tools=[
        {"type": "function", "function": {"name": "book", "strict": True, "parameters": {
            "type": "object", "properties": {"nights": {"type": "integer", "minimum": 1, "maximum": 30}, "room": {"enum": ["single", "double"]}},
            "required": ["nights", "room"], "additionalProperties": False}}},
        {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}])
    assert len(calls) == 1, calls
    name, arguments = calls[0][0], json.loads(calls[0][1])
    assert (name == "now" and arguments == {}) or (name == "book" and 1 <= arguments["nights"] <= 30 and arguments["room"] in ("single", "double")), calls


class Mood(pydantic.BaseModel):
    mood: Literal["calm", "merry", "grumpy"]
    score: int = pydantic.Field(ge=1, le=99)
    sure: bool
    also: Optional[Literal["tired"]]


@check
def a_model_of_pydantic_is_parsed(live):
    ask = {"model": live.model, "messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 120, "response_format": Mood, "temperature": 1}
    for seed in range(3):
        parsed = live.client.chat.completions.parse(seed=seed, **ask).choices[0].message.parsed
        assert isinstance(parsed, Mood) and 1 <= parsed.score <= 99, parsed
    with live.client.chat.completions.stream(seed=1, **ask) as stream:
        streamed = stream.get_final_completion().choices[0].message.parsed
    assert streamed == live.client.chat.completions.parse(seed=1, **ask).choices[0].message.parsed


@check
def json_object_is_one(live):
    choice = live.chat(max_tokens=200, temperature=0.8, seed=3, response_format={"type": "json_object"}).choices[0]
    assert choice.finish_reason == "length" or isinstance(json.loads(choice.message.content), dict), choice


@check
def vllm_s_fields_hold_too(live):
    for extra, good in (({"structured_outputs": {"choice": ["left", "right"]}}, ("left", "right")), ({"guided_regex": "[ab]c"}, ("ac", "bc"))):
        assert live.chat(extra_body=extra, temperature=1).choices[0].message.content in good


@check
def a_schema_that_cannot_be_held_is_refused(live):
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array", "uniqueItems": True}}}
    error = raises(openai.BadRequestError, lambda: live.chat(response_format=schema))
    assert error.param == "response_format" and "uniqueItems" in str(error), error


@check
def tools_may_be_left_uncalled(live):
    calls_of(live)
    assert calls_of(live, tool_choice="none") == []


@check
def answers_of_tools_go_on(live):
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Rome\"}"}}
    answer = live.chat(tools=TOOLS, messages=[{"role": "user", "content": "Weather in Rome?"}, {"role": "assistant", "content": None, "tool_calls": [call]},
                                              {"role": "tool", "tool_call_id": "call_1", "content": "Sunny, 30 degrees."}])
    assert answer.choices[0].finish_reason in ("stop", "length", "tool_calls")


@check
def a_tool_that_is_not_there_is_refused(live):
    error = raises(openai.BadRequestError, lambda: live.chat(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "other"}}))
    assert error.param == "tool_choice" and "other" in str(error), error


def respond(live, **options):
    options = {"max_output_tokens": 12, "temperature": 0, "input": "Say hello.", **options}
    return live.client.responses.create(model=live.model, **options)


def response_stream(live, **options):
    """The final response as the SDK puts it together, and the types of all events. One that was cut off is in its last event alone."""
    with live.client.responses.stream(model=live.model, temperature=0, **{"input": "Say hello.", "max_output_tokens": 12, **options}) as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events))), events
    return events[-1].response, [event.type for event in events]


@check
def a_response_answers(live):
    answer = respond(live, instructions="Be kind.", metadata={"a": "b"}, store=True)
    assert answer.object == "response" and answer.id.startswith("resp_") and answer.model == live.model, answer
    assert answer.output_text and answer.output[-1].role == "assistant", answer
    assert answer.status == "completed" or answer.incomplete_details.reason == "max_output_tokens", answer
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens and answer.usage.output_tokens <= 12, answer
    assert answer.metadata == {"a": "b"} and answer.instructions == "Be kind." and answer.temperature == 0, answer
    chat = live.chat(messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Say hello."}])
    assert (answer.output_text, answer.usage.input_tokens) == (chat.choices[0].message.content, chat.usage.prompt_tokens), (answer, chat)


@check
def a_response_streams_the_same(live):
    whole = respond(live)
    final, types = response_stream(live)
    assert final.output_text == whole.output_text and final.status == whole.status, (final, whole)
    assert final.usage.output_tokens == whole.usage.output_tokens, (final, whole)
    order = [kind for i, kind in enumerate(types) if kind != "response.output_text.delta" or types[i - 1] != kind]
    assert order == ["response." + kind for kind in ("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
                                                     "content_part.done", "output_item.done", final.status)], types


@check
def a_conversation_of_responses_goes_on(live):
    first = respond(live)
    again = [{"role": "user", "content": "Say hello."}, *[item.to_dict() for item in first.output], {"role": "user", "content": [{"type": "input_text", "text": "Again."}]}]
    assert respond(live, input=again, store=False, include=["reasoning.encrypted_content"]).usage.input_tokens > first.usage.input_tokens
    error = raises(openai.BadRequestError, lambda: respond(live, previous_response_id=first.id))
    assert error.param == "previous_response_id" and "'input'" in error.message, error


@check
def functions_of_a_response_are_called_and_go_on(live):
    tools = [{"type": "function", **tool["function"], "strict": False} for tool in TOOLS]
    for choice, name in (({"type": "function", "name": "get_weather"}, "get_weather"), ({"type": "function", "name": "now"}, "now")):
        options = {"tools": tools, "tool_choice": choice, "max_output_tokens": 48}
        answer = respond(live, **options)
        call = answer.output[0]
        assert (call.type, call.name) == ("function_call", name) and call.call_id and call.id.startswith("fc_"), answer
        final, types = response_stream(live, **options)
        assert (final.output[0].name, final.output[0].arguments, final.output[0].status) == (name, call.arguments, call.status), (final, answer)
        assert types.count("response.function_call_arguments.done") == 1 and types[-1] == "response." + final.status, types
        if call.status == "completed":
            json.loads(call.arguments)
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny, 30 degrees."}
        history = [{"role": "user", "content": "Weather?"}, *answer.output, result]
        assert respond(live, tools=tools, input=history).status in ("completed", "incomplete")


@check
def a_response_of_pydantic_is_parsed(live):
    ask = {"model": live.model, "input": "How are you?", "max_output_tokens": 400, "text_format": Mood, "temperature": 0}
    parsed = live.client.responses.parse(**ask).output_parsed
    assert isinstance(parsed, Mood) and 1 <= parsed.score <= 99, parsed
    with live.client.responses.stream(**ask) as stream:
        assert stream.get_final_response().output_parsed == parsed


@check
def responses_leave_out_what_nobody_runs_here(live):
    raw = live.client.responses.with_raw_response.create(model=live.model, input="Hi", max_output_tokens=2, tools=[{"type": "web_search"}])
    assert raw.headers["x-commissure-left-out"] == "tools: web_search" and raw.parse().tools == [], raw.headers
    error = raises(openai.BadRequestError, lambda: respond(live, tools=[{"type": "custom", "name": "a"}]))
    assert error.param == "tools" and "custom" in error.message, error


@check
def errors_of_responses_name_their_fields(live):
    schema = {"type": "json_schema", "name": "x", "schema": {"type": "array", "uniqueItems": True}}
    for options, param in (({"temperature": 3}, "temperature"), ({"max_output_tokens": 0}, "max_output_tokens"), ({"input": []}, "input"), ({"top_p": "a"}, "top_p"),
                           ({"text": {"format": schema}}, "text.format"), ({"background": True}, "background"), ({"reasoning": {"effort": "x"}}, "reasoning.effort")):
        error = raises(openai.BadRequestError, lambda: respond(live, **options))
        assert error.param == param and param.split(".")[0] in error.message, (options, error.body)
    assert raises(openai.BadRequestError, lambda: respond(live, input="word " * 100_000)).code == "context_length_exceeded"
    raises(openai.NotFoundError, lambda: live.client.responses.create(model="nope", input="x"))


@check
def completion_answers(live):
    answer = live.complete("Once upon a time")
    assert answer.object == "text_completion" and answer.choices[0].finish_reason in ("stop", "length")


@check
def completion_streams_the_same_text(live):
    whole = live.complete("Once upon a time").choices[0].text
    assert "".join(c.choices[0].text for c in live.complete("Once upon a time", stream=True)) == whole


@check
def completion_takes_lists(live):
    answer = live.complete(["One", "Two", "Three"], max_tokens=2)
    assert sorted(choice.index for choice in answer.choices) == [0, 1, 2]
    assert answer.usage.prompt_tokens >= 3


@check
def stop_string_never_shows(live):
    text = live.complete("Count: one two three", max_tokens=16).choices[0].text
    mark = text[len(text) // 2:][:2]
    if mark.strip():
        stopped = live.complete("Count: one two three", max_tokens=16, stop=[mark]).choices[0]
        assert mark not in stopped.text and stopped.finish_reason == "stop"
        assert text.startswith(stopped.text)


@check
def lm_eval_scores_a_prompt(live):
    """The request of lm-eval's local-completions: token ids, echo, logprobs."""
    tokens = [live.post("/tokenize", {"prompt": text})["tokens"] for text in ("The sky is blue", "Two and two is four")]
    for max_tokens in (0, 1):
        answer = live.complete(tokens, echo=True, logprobs=1, max_tokens=max_tokens, seed=1234)
        for ids, choice in zip(tokens, sorted(answer.choices, key=lambda c: c.index)):
            probs = choice.logprobs
            assert len(probs.token_logprobs) >= len(ids)
            assert len(probs.tokens) == len(probs.token_logprobs) == len(probs.top_logprobs) == len(probs.text_offset)
            assert probs.token_logprobs[0] is None and probs.top_logprobs[0] is None
            for logprob, top in list(zip(probs.token_logprobs, probs.top_logprobs))[1:len(ids)]:
                assert logprob <= max(top.values())


@check
def token_ids_come_back(live):
    text = "Grüße, 你好 😀"
    tokens = live.post("/tokenize", {"content": text})["tokens"]
    assert live.post("/detokenize", {"tokens": tokens})["content"] == text


@check
def generate_answers(live):
    answer = live.post("/generate", {"inputs": "Once", "parameters": {"max_new_tokens": 4}})
    assert isinstance(answer["generated_text"], str) and answer["details"]["generated_tokens"] <= 4


@check
def several_choices_differ_and_repeat(live):
    first, again = (live.chat(n=3, temperature=1.5, seed=11) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    assert texts == [choice.message.content for choice in again.choices]
    assert len(set(texts)) > 1, texts
    assert first.usage.prompt_tokens == live.chat().usage.prompt_tokens
    streamed = ["", "", ""]
    for chunk in live.chat(n=3, temperature=1.5, seed=11, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts, (streamed, texts)


@check
def best_of_gives_the_likeliest(live):
    def mean(choice):
        return sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)

    options = {"temperature": 1.5, "seed": 5, "logprobs": 1}
    every = live.complete("The sea is", n=4, **options).choices
    best = live.complete("The sea is", n=2, best_of=4, **options).choices
    assert [choice.text for choice in best] == [choice.text for choice in sorted(every, key=mean, reverse=True)[:2]]


@check
def biases_and_penalties_change_the_answer(live):
    plain = live.complete("one two one two one two", max_tokens=24)
    token = live.post("/tokenize", {"prompt": plain.choices[0].text, "add_special_tokens": False})["tokens"][0]
    banned = live.complete("one two one two one two", logit_bias={str(token): -100}, logprobs=1)
    assert not banned.choices[0].text.startswith(plain.choices[0].text[:4])
    forced = live.complete("one two", logit_bias={str(token): 100}, max_tokens=6, logprobs=1).choices[0]
    assert len(set(forced.logprobs.tokens)) == 1, forced.logprobs.tokens
    for penalty in ("presence_penalty", "frequency_penalty"):
        assert live.complete("one two one two one two", max_tokens=24, **{penalty: 2}).choices[0].text


@check
def unknown_model_is_404(live):
    error = raises(openai.NotFoundError, lambda: live.client.chat.completions.create(
        model="no-such-model", messages=[{"role": "user", "content": "x"}]))
    assert error.code == "model_not_found", error.body


@check
def bad_values_are_400_naming_the_field(live):
    bad = {"temperature": 5, "top_p": -1, "max_tokens": 0, "top_logprobs": 3, "stop": [""], "n": 0}
    for name, value in bad.items():
        error = raises(openai.BadRequestError, lambda: live.chat(**{name: value}))
        assert error.param == name, (name, error.body)
        assert name in error.message


@check
def overflow_is_400_with_both_numbers(live):
    error = raises(openai.BadRequestError, lambda: live.complete("one two " * 8_000, max_tokens=1))
    assert error.code == "context_length_exceeded" and "maximum context length is" in error.message


@check
def wrong_key_is_401(live):
    if not live.key:
        return "skipped: the server has no key"
    stranger = openai.OpenAI(base_url=live.base + "/v1", api_key="wrong", max_retries=0)
    raises(openai.AuthenticationError, lambda: stranger.models.list())
    assert urllib.request.urlopen(live.base + "/health", timeout=30).status == 200


@check
def client_timeout_is_a_timeout(live):
    hasty = live.client.with_options(timeout=0.001, max_retries=0)
    raises(openai.APITimeoutError, lambda: hasty.chat.completions.create(
        model=live.model, messages=[{"role": "user", "content": "Tell a long story."}], max_tokens=200))
    live.chat()  # the server is none the worse


@check
def request_id_is_echoed(live):
    answer = live.client.chat.completions.with_raw_response.create(
        model=live.model, messages=[{"role": "user", "content": "x"}], max_tokens=1,
        extra_headers={"x-request-id": "check-42"})
    assert answer.headers["x-request-id"] == "check-42"
    assert live.chat(max_tokens=1)._request_id


if __name__ == "__main__":
    run(Live, __doc__, openai)
