#!/usr/bin/env python3
"""Runs Anthropic's Python SDK against a live server: anthropic_python_check.py BASE_URL [--key KEY] [--model NAME].

BASE_URL is the server's root, e.g. http://127.0.0.1:8080. Prints one line per check; exits 1 if any failed.
Works with any model that has a chat template, since it checks shapes and not words.
"""
import json
import urllib.request

import anthropic

from checks import check, raises, run

TOOLS = [{"name": "get_weather", "description": "The weather of a city.",
          "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
         {"name": "now", "input_schema": {"type": "object", "properties": {}}}]
HELLO = [{"role": "user", "content": "Say hello."}]


class Live:
    def __init__(self, base, key, model):
        self.base, self.key = base.rstrip("/"), key
        self.client = anthropic.Anthropic(base_url=self.base, api_key=key or "none", timeout=120, max_retries=0)
        self.model = model or self.get("/v1/models")["data"][0]["id"]

    def get(self, path):
        request = urllib.request.Request(self.base + path, headers={"x-api-key": self.key} if self.key else {})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def options(self, **options):
        return {"model": self.model, "max_tokens": 12, "messages": HELLO, "extra_body": {"top_k": 1}, **options}

    def ask(self, **options):
        return self.client.messages.create(**self.options(**options))

    def stream(self, **options):
        """The final message, and the types of all events."""
        with self.client.messages.stream(**self.options(**options)) as stream:
            types = [event.type for event in stream]
            return stream.get_final_message(), types

    def count(self, **options):
        return self.client.messages.count_tokens(**{"model": self.model, "messages": HELLO, **options}).input_tokens


def texts(message):
    return "".join(block.text for block in message.content if block.type == "text")


def inputs(message):
    return [(block.name, block.input) for block in message.content if block.type == "tool_use"]


@check
def a_message_answers(live):
    message = live.ask()
    assert message.type == "message" and message.role == "assistant" and message.id.startswith("msg_"), message
    assert message.model == live.model and message.stop_reason in ("end_turn", "max_tokens"), message
    assert texts(message) and message.stop_sequence is None, message
    assert 0 < message.usage.output_tokens <= 12 and message._request_id, message


@check
def blocks_equal_plain_text(live):
    plain = live.ask(system="Be kind.", messages=[{"role": "user", "content": "One two three"}])
    parts = [{"type": "text", "text": "One two ", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "three"}]
    split = live.ask(system=[{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
                     messages=[{"role": "user", "content": parts}], metadata={"user_id": "u"})
    assert texts(plain) == texts(split), (plain, split)


@check
def a_stream_has_the_same_message(live):
    whole = live.ask()
    streamed, types = live.stream()
    assert texts(streamed) == texts(whole) and streamed.stop_reason == whole.stop_reason, (streamed, whole)
    assert streamed.usage.output_tokens == whole.usage.output_tokens, (streamed, whole)
    assert types[:2] == ["message_start", "content_block_start"] and types[-2:] == ["message_delta", "message_stop"], types
    events = [event.type for event in live.client.messages.create(stream=True, **live.options())]
    assert events == [kind for kind in types if kind != "text"], (events, types)


@check
def text_comes_as_it_is_made(live):
    with live.client.messages.stream(**live.options()) as stream:
        pieces = list(stream.text_stream)
    assert len(pieces) > 1 and "".join(pieces) == texts(live.ask()), pieces


@check
def tokens_are_counted(live):
    for options in ({}, {"system": "Be kind."}, {"tools": TOOLS}):
        usage = live.ask(**options).usage
        assert live.count(**options) == usage.input_tokens + usage.cache_read_input_tokens, (options, usage)
    assert live.count(tools=TOOLS) > live.count()


@check
def a_stop_sequence_is_told(live):
    text = texts(live.ask())
    mark = text[len(text) // 2:][:2]
    if mark.strip():
        for message in (live.ask(stop_sequences=[mark]), live.stream(stop_sequences=[mark])[0]):
            assert message.stop_reason == "stop_sequence" and message.stop_sequence == mark, message
            assert mark not in texts(message) and text.startswith(texts(message)), message


@check
def a_named_tool_is_used_and_its_result_goes_on(live):
    options = {"tools": TOOLS, "tool_choice": {"type": "tool", "name": "get_weather"}, "max_tokens": 48}
    message = live.ask(**options)
    assert [name for name, _ in inputs(message)] == ["get_weather"], message
    assert message.stop_reason in ("tool_use", "max_tokens", "end_turn"), message
    streamed, types = live.stream(**options)
    assert streamed.stop_reason == message.stop_reason, (streamed, message)
    assert len(inputs(streamed)) == 1 and (message.stop_reason != "tool_use" or inputs(streamed) == inputs(message)), (streamed, message)
    if message.stop_reason == "tool_use":
        assert "input_json" in types, types
    use = next(block for block in message.content if block.type == "tool_use")
    for content in ("Sunny, 30 degrees.", [{"type": "text", "text": "Sunny."}]):
        result = {"type": "tool_result", "tool_use_id": use.id, "content": content}
        answer = live.ask(tools=TOOLS, messages=[*HELLO, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}])
        assert answer.stop_reason, answer


@check
def tools_without_arguments_have_an_empty_input(live):
    for message in (live.ask(tools=TOOLS[1:], tool_choice={"type": "any"}, max_tokens=48), live.stream(tools=TOOLS[1:], tool_choice={"type": "any"}, max_tokens=48)[0]):
        assert [name for name, _ in inputs(message)][:1] == ["now"] and isinstance(inputs(message)[0][1], dict), message
    assert inputs(live.ask(tools=TOOLS, tool_choice={"type": "none"}, max_tokens=48)) == []


@check
def histories_may_hold_thoughts(live):
    history = [*HELLO, {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "redacted_thinking", "data": "x"},
                                                         {"type": "text", "text": "Hello."}]}, {"role": "user", "content": "Again."}]
    assert live.ask(messages=history, thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=24).stop_reason


@check
def a_beta_client_is_answered(live):
    """As Claude Code asks: the beta resource, with fields of the day."""
    with live.client.beta.messages.stream(**live.options(betas=["claude-code-20250219", "interleaved-thinking-2025-05-14"], tools=TOOLS,
                                                         extra_body={"top_k": 1, "context_management": {"edits": []}})) as stream:
        message = stream.get_final_message()
    assert message.type == "message" and message.usage.output_tokens > 0, message


@check
def errors_are_the_sdks_own(live):
    missing = raises(anthropic.NotFoundError, lambda: live.ask(model="no-such-model"))
    assert missing.body["error"]["type"] == "not_found_error" and missing.request_id == missing.body["request_id"], missing.body
    for options, word in (({"extra_body": {"temperature": 3}}, "temperature"), ({"max_tokens": 0}, "max_tokens"), ({"stop_sequences": [""]}, "stop_sequences"),
                          ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
                          ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "other"}}, "other"), ({"messages": []}, "messages"),
                          ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}]}]}, "image"),
                          ({"messages": [*HELLO, {"role": "assistant", "content": "Well"}]}, "messages")):
        for call in (live.ask, live.stream):
            error = raises(anthropic.BadRequestError, lambda: call(**options))
            assert error.status_code == 400 and error.body["error"]["type"] == "invalid_request_error" and word in error.body["error"]["message"], error.body
    too_long = raises(anthropic.BadRequestError, lambda: live.ask(messages=[{"role": "user", "content": "word " * 100_000}]))
    assert too_long.body["error"]["message"].startswith("prompt is too long: "), too_long.body
    if live.key:
        stranger = anthropic.Anthropic(base_url=live.base, api_key="wrong", max_retries=0)
        raises(anthropic.AuthenticationError, lambda: stranger.messages.create(**live.options()))


if __name__ == "__main__":
    run(Live, __doc__, anthropic)
