#!/usr/bin/env python3
"""The table of commissure.yaml's keys (src/deployment/file_keys.cc) and all that follows from it name the same keys: the schema, the page of all keys, the Terraform module; and every
example is valid under the schema. The unit tests FileKeys.* compare the whole text of schema and page.
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLES = {"kDeploymentKeys": "deployment", "kStageKeys": "stage", "kNetworkKeys": "network"}


def table_keys():
    """Rows of the tables, by the part of the schema: name of the key to the name of its Terraform variable, None where it has none."""
    source = (ROOT / "src/deployment/file_keys.cc").read_text()
    keys = {}
    for table, part in TABLES.items():
        body = re.search(rf"^const FileKey {table}\[\] = {{\n.*?^}};", source, re.M | re.S)[0]
        rows = re.findall(r'\.name = "(\w+)"(.*?)(?=\.name = |\Z)', body, re.S)
        assert len(rows) == body.count(".about ="), table
        keys[part] = {}
        for name, rest in rows:
            other = re.search(r'\.terraform = (?:(kNotInTerraform)|"(\w+)")', rest)
            keys[part][name] = name if other is None else other[2]
    return keys


def check_page(keys):
    page = (ROOT / "docs/commissure-yaml.md").read_text()
    found = dict(re.findall(r"^## (?:A )?`?(\w+)`?\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    for part, names in keys.items():
        rows = re.findall(r"^\| `(\w+)` \|", found[part], re.M)
        assert rows == list(names), ("docs/commissure-yaml.md", part, set(rows) ^ set(names))


def check_terraform(keys):
    """Keys of a deployment are variables of chain.tf, those of a stage attributes of `stages` in services.tf, and each is used."""
    chain, services = ((ROOT / "deploy/terraform" / name).read_text() for name in ("chain.tf", "services.tf"))
    stages = re.search(r'^variable "stages" \{\n.*?^\}\n', services, re.M | re.S)[0]
    for name in {**keys["deployment"], **keys["network"]}.values():
        if name not in (None, "stages"):
            assert f'\nvariable "{name}" {{' in chain, f"deploy/terraform/chain.tf has no variable {name}"
    for name in keys["stage"].values():
        if name is not None:
            assert re.search(rf"^    {name} +=", stages, re.M), f"stages in deploy/terraform/services.tf have no {name}"
            assert re.search(rf"\beach\.value\.{name}\b|\bstage\.{name}\b", services.replace(stages, "") + chain), f"deploy/terraform: nothing becomes of {name} of a stage"
    declared = set(re.findall(r'^variable "(\w+)"', chain, re.M))
    extra = declared - set(keys["deployment"].values()) - set(keys["network"].values())
    assert extra == {"precision"}, ("deploy/terraform/chain.tf", extra)  # a model's, which `up` takes from its catalogue


def main():
    schema = json.loads((ROOT / "docs/commissure.schema.json").read_text())
    parts = schema["$defs"]
    keys = table_keys()
    for part, names in keys.items():
        assert set(names) == set(parts[part]["properties"]), (part, set(names) ^ set(parts[part]["properties"]))
    assert set(schema["properties"]) == set(parts["deployment"]["properties"]) | {"deployments"}
    assert set(parts["common"]["properties"]) == set(parts["stage"]["properties"]) | {"count"}
    check_page(keys)
    check_terraform(keys)
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
