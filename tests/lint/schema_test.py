#!/usr/bin/env python3
"""docs/commissure.schema.json and the parser know the same keys, and every example is valid under the schema."""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECTIONS = {"read_stage": ["stage"], "read_network": ["network"], "read_model": ["deployment"], "read_deployment": ["deployment"]}


def parser_keys():
    """The keys that src/deployment/cloud_file.cc asks for, by part of the schema."""
    source = (ROOT / "src/deployment/cloud_file.cc").read_text()
    keys = {}
    for function, parts in SECTIONS.items():
        body = re.search(rf"^\S[^\n]* {function}\([^\n]*{{\n.*?^}}", source, re.M | re.S)[0]
        for part in parts:
            keys.setdefault(part, set()).update(re.findall(r'section\.(?:take|choose|child|text)\("(\w+)"', body))
    keys["deployment"].discard("deployments")
    return keys


def main():
    schema = json.loads((ROOT / "docs/commissure.schema.json").read_text())
    parts = schema["$defs"]
    for part, keys in parser_keys().items():
        assert keys == set(parts[part]["properties"]), (part, keys ^ set(parts[part]["properties"]))
    assert set(schema["properties"]) == set(parts["deployment"]["properties"]) | {"deployments"}
    assert set(parts["common"]["properties"]) == set(parts["stage"]["properties"]) | {"count"}
    try:
        import jsonschema
        import yaml
    except ImportError as missing:
        print(f"schema: keys agree; {missing.name} is not installed, so no example was validated")
        return
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in sorted((ROOT / "examples/deploy").glob("*.yaml")):
        problems = [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))]
        assert not problems, (path.name, problems)
        assert path.read_text().startswith("# yaml-language-server: $schema="), path.name
    for wrong in ({"stagse": 3}, {"stages": {"gpus": "x"}}, {"access": "nobody"}, {"stages": 0}):
        assert not validator.is_valid(wrong), wrong
    print("schema: ok")


if __name__ == "__main__":
    sys.exit(main())
