#!/usr/bin/env python3
"""Makes tests/golden/template/cases.json and snippets.json: conversations, and the short templates of
template_snippets.py, rendered by Jinja2 as Hugging Face's apply_chat_template does.

usage: make_template_goldens.py [FOLDER]      FOLDER holds the *.jinja files (default tests/golden/template)

Each case: template, variables, and either text, in which DATE stands for the day's, or error (the message that the template raised).
"""
import datetime
import itertools
import json
import pathlib
import re
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

import template_snippets


class Generation(jinja2.ext.Extension):
    """{% generation %} marks the assistant's text for training; rendering ignores it."""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def environment() -> jinja2.Environment:
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: datetime.datetime.now().strftime(format)
    return env


TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a place — now.",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "e.g. \"Köln\""}, "days": {"type": "integer", "minimum": 1, "maximum": 7.5}},
        "required": ["place"], "additionalProperties": False}}},
    {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}}]

CALL = {"id": "call_abc123456", "type": "function",
        "function": {"name": "get_weather", "arguments": {"place": "Zürich <\"'&>", "days": 2, "x": [1.5, 1e-7, 1e22, True, None]}}}
CONVERSATIONS = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": "  Hi there!  \n"}],
    [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two "}, {"role": "user", "content": "Drei ✨ 世界"}],
    [{"role": "system", "content": "S"}, {"role": "user", "content": "q"},
     {"role": "assistant", "content": "<think>\nhm\n</think>\n\nyes"}, {"role": "user", "content": "again </think> ?"},
     {"role": "assistant", "reasoning_content": "why\n", "content": "because"}],
    [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "", "tool_calls": [CALL]},
     {"role": "tool", "tool_call_id": "call_abc123456", "content": "{\"t\": 21}"},
     {"role": "assistant", "content": "21 °C"}, {"role": "user", "content": "Thanks"}],
    [{"role": "user", "content": "Two"}, {"role": "assistant", "content": "ok", "tool_calls": [CALL, CALL]},
     {"role": "tool", "tool_call_id": "call_abc123456", "content": "1"},
     {"role": "tool", "tool_call_id": "call_abc123456", "content": "2"}],
    [{"role": "user", "content": [{"type": "text", "text": " look "}, {"type": "image"}, {"type": "text", "text": "there"}]}],
    [{"role": "assistant", "content": "I begin"}, {"role": "user", "content": "odd"}],
    [{"role": "user", "content": "<|im_end|>\n{{ 7*7 }} {% raw %}"}, {"role": "assistant", "content": "\ttab\r\n"}],
]
DATA = {"k": {"b": 1, "a": [1, 2, {"z": None}]}, "list": [], "empty": {}, "none": None, "t": "tab\t\"q\" \\ é \u0001 \u2028 \x7f",
        "f": [1.0, 0.1, 1e16, 123456789012345.6, 1e-5, -0.0, 12345678901234567890], "yes": True}


def cases(folder: pathlib.Path):
    env = environment()
    for path in sorted(folder.glob("*.jinja")):
        template = env.from_string(path.read_text())
        for messages, tools, prompt in itertools.product(CONVERSATIONS, (None, TOOLS), (True, False)):
            if path.stem == "features" and (tools or not isinstance(messages[-1]["content"], str)):
                continue
            variables = {"messages": messages, "add_generation_prompt": prompt, "bos_token": "<bos>", "eos_token": "</s>"}
            variables["tools" if path.stem != "features" else "data"] = tools if path.stem != "features" else DATA
            for thinking in (True, False) if "thinking" in path.read_text() else (None,):
                if thinking is not None:
                    variables = variables | {"enable_thinking": thinking}
                case = {"template": path.stem, "variables": variables}
                try:
                    case["text"] = re.sub(r"(Current date: )\d{4}-\d\d-\d\d", r"\1DATE", template.render(**variables))
                except jinja2.exceptions.UndefinedError:
                    continue  # in Python's own words, which ours need not repeat
                except jinja2.exceptions.TemplateError as error:
                    case["error"] = str(error)
                except TypeError:
                    continue  # Python's own error about this template's data: no promise to keep
                yield case


def snippets():
    """Each: source, and either text or failed, Python's own words, which ours need not repeat."""
    env = environment()
    for source in template_snippets.SNIPPETS:
        case = {"source": source}
        try:
            case["text"] = env.from_string(source).render(**template_snippets.VARIABLES)
        except Exception as error:  # whatever Python makes of it
            case["failed"] = f"{type(error).__name__}: {error}"
        assert " at 0x" not in case.get("text", ""), source
        yield case


def main() -> None:
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/template")
    rows = [json.dumps(case, ensure_ascii=False) for case in cases(folder)]
    header = json.dumps({"generator": "make_template_goldens.py", "source": f"jinja2 {jinja2.__version__}"})
    (folder / "cases.json").write_text("[" + header + ",\n" + ",\n".join(rows) + "]\n")
    rows_of_snippets = [json.dumps(case, ensure_ascii=False) for case in snippets()]
    header = json.dumps({"generator": "make_template_goldens.py", "source": f"jinja2 {jinja2.__version__}",
                         "variables": template_snippets.VARIABLES})
    (folder / "snippets.json").write_text("[" + header + ",\n" + ",\n".join(rows_of_snippets) + "]\n")
    print(len(rows), "cases,", len(rows_of_snippets), "snippets")


if __name__ == "__main__":
    main()
