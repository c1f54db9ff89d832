#!/usr/bin/env python3
"""Answers held to a JSON schema, an expression, a choice and a grammar, by the default model: valid (judged by Python's jsonschema) whatever is drawn, the same tokens from one, two and
three stages and after a killed stage, whole and streamed; and what cannot be held is a 400 that says why."""
import json
import os
import re
import signal
import subprocess
import threading

from harness import ALL, SMOL, Chain, need, process_alive, python_with, wait_until

need(SMOL)
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 24},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "mood": {"enum": ["calm", "merry", "gr\u00e4mlich"]},
        "tags": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{1,8}$"}, "maxItems": 3},
        "home": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/place"}]},
    },
    "required": ["name", "age", "mood", "tags", "home"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 16}, "since": {"type": "string", "format": "date"}}, "required": ["city", "since"], "additionalProperties": False}},
}
GBNF = 'root ::= item ("\\n" item){2}\nitem ::= "- " [a-z]{3,9} (" " [a-z]{2,9}){0,2}\n'
ASK = [{"role": "user", "content": "Invent a person."}]
HELD = [
    ("json_schema", {"response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}}),
    ("json_object", {"response_format": {"type": "json_object"}}),
    ("structured json", {"structured_outputs": {"json": SCHEMA}}),
    ("regex", {"structured_outputs": {"regex": r"\d{4}-\d{2}-\d{2} (mon|tues|fri)day"}}),
    ("choice", {"guided_choice": ["positive", "negative", "very negative"]}),
    ("grammar", {"grammar": GBNF}),
    ("llama schema", {"json_schema": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4}}),
]
JUDGE = """
import json, sys, jsonschema
for line in sys.stdin:
    schema, value = json.loads(line)
    jsonschema.Draft202012Validator(schema).validate(value)
"""


CHECKED = set()  # kinds of which some answer was whole


def judge(python, pairs):
    done = subprocess.run([python, "-c", JUDGE], input="".join(json.dumps(pair) + "\n" for pair in pairs), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def check(name, text, finish, pairs):
    if finish == "length":
        return
    CHECKED.add(name)
    if name in ("json_schema", "structured json"):
        pairs.append((SCHEMA, json.loads(text)))
    elif name == "json_object":
        assert isinstance(json.loads(text), dict), text
    elif name == "regex":
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2} (mon|tues|fri)day", text), text
    elif name == "choice":
        assert text in ("positive", "negative", "very negative"), text
    elif name == "grammar":
        assert re.fullmatch(r"(- [a-z]{3,9}( [a-z]{2,9}){0,2}\n?){3}", text), text
    else:
        value = json.loads(text)
        assert 2 <= len(value) <= 4 and all(isinstance(part, bool) for part in value), text


def answers(chain):
    """Of every kind, greedy and drawn, in chats and completions: what the client sees."""
    seen = []
    for name, held in HELD:
        for more in ({"temperature": 0}, {"temperature": 1.3, "seed": 7, "logprobs": True, "top_logprobs": 2}):
            made = chain.post("/v1/chat/completions", {"messages": ASK, "max_tokens": 160, **held, **more})["choices"][0]
            seen.append((name, made["message"]["content"], made["finish_reason"], json.dumps(made["logprobs"])))
        made = chain.post("/v1/completions", {"prompt": "A person:", "max_tokens": 120, "temperature": 0.9, "seed": 3, **held})["choices"][0]
        seen.append((name, made["text"], made["finish_reason"], ""))
    return seen


def streamed(chain, body):
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in chain.stream("/v1/chat/completions", body) if event["choices"])


def refused(chain):
    for body, field, words in (
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "not": {}}}}}, "response_format", "'not'"),
        ({"response_format": {"type": "xml"}}, "response_format", "json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format", "'schema'"),
        ({"structured_outputs": {"regex": "(a"}}, "structured_outputs", "parenthesis"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs", "one kind"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs.structural_tag", "not supported"),
        ({"guided_choice": []}, "guided_choice", "array"),
        ({"grammar": "root ::= nothing"}, "grammar", "line 1"),
        ({"grammar": "root ::= \"a\"", "guided_regex": "a"}, "grammar", "both"),
        ({"guided_json": {"$ref": "#/$defs/none"}}, "guided_json", "nothing"),
        ({"guided_regex": "(a{1000}){1000}"}, "guided_regex", "unfolds"),
    ):
        for path, ask in (("/v1/chat/completions", {"messages": ASK}), ("/v1/completions", {"prompt": "x"})):
            status, _, text = chain.request("POST", path, {**ask, **body})
            error = json.loads(text)["error"]
            assert status == 400 and error["param"] == field and words in error["message"], (path, body, status, error)


def after_a_kill(chain, body, whole):
    """Stage C is killed while the answer streams: the same text."""
    texts = []
    reader = threading.Thread(target=lambda: texts.append(streamed(chain, body)))
    reader.start()
    pid = chain.state()["stages"][2]["pid"]
    wait_until(lambda: chain.metric("commissure_num_requests_running") == 1, 10, "the answer streams")
    os.kill(pid, signal.SIGKILL)
    assert reader.is_alive(), "the answer had ended before the blow"
    wait_until(lambda: not process_alive(pid), 15, "the stage is gone")
    reader.join(120)
    assert texts == [whole], (texts, whole)


python = python_with("jsonschema", "jsonschema==4.23.0")
pairs, reference = [], None
for stages in (1, 2, 3) if ALL else (1, 3):
    with Chain(SMOL, stages=stages) as chain:
        seen = answers(chain)
        reference = reference or seen
        assert seen == reference, [(a, b) for a, b in zip(seen, reference) if a != b][:1]
        if stages == 1:
            for name, text, finish, _ in seen:
                check(name, text, finish, pairs)
            several = chain.post("/v1/chat/completions", {"messages": ASK, "max_tokens": 200, "n": 4, "temperature": 1.5, "seed": 11, **HELD[0][1]})
            for choice in several["choices"]:
                check("json_schema", choice["message"]["content"], choice["finish_reason"], pairs)
            refused(chain)
            assert len(pairs) > 3 and CHECKED == {name for name, _ in HELD}, (len(pairs), CHECKED)
            judge(python, pairs)
        if stages == 3:
            body = {"messages": ASK, "max_tokens": 200, "temperature": 1.1, "seed": 5, **HELD[0][1]}
            whole = chain.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]
            assert streamed(chain, body) == whole
            after_a_kill(chain, body, whole)
print("grammar: ok")
