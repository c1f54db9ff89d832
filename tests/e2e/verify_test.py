#!/usr/bin/env python3
"""`commissure verify`: passes on a true chain, and names the layer and stage where a damaged model leaves it."""
import json
import pathlib
import shutil
import struct
import tempfile

from harness import QUICK, SMOL, Chain, need

N_REPEATS, N_TOKENS = (8, 4) if QUICK else (30, 16)
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
Q4_1 = 3
BLOCK_BYTES = 20  # two float16, then 16 bytes of weights


def tensor_place(path, wanted):
    """(type, file offset) of a tensor in a GGUF file."""
    with open(path, "rb") as file:
        def read(kind):
            return struct.unpack("<" + kind, file.read(struct.calcsize("<" + kind)))[0]

        def text():
            return file.read(read("Q")).decode()

        def value(kind):
            if kind == 8:
                return text()
            if kind == 9:
                kind, n = read("I"), read("Q")
                return [value(kind) for _ in range(n)]
            return read(SCALARS[kind])

        assert file.read(4) == b"GGUF"
        read("I")
        n_tensors, n_values = read("Q"), read("Q")
        fields = {}
        for _ in range(n_values):
            name = text()
            fields[name] = value(read("I"))
        found = None
        for _ in range(n_tensors):
            name = text()
            [read("Q") for _ in range(read("I"))]
            kind, offset = read("I"), read("Q")
            if name == wanted:
                found = kind, offset
        align = fields.get("general.alignment", 32)
        begin = -(-file.tell() // align) * align
    assert found, f"no tensor {wanted}"
    return found[0], begin + found[1]


def damage(path, tensor):
    """Turns a few weights of a tensor over."""
    kind, offset = tensor_place(path, tensor)
    assert kind == Q4_1, kind
    with open(path, "r+b") as file:
        for block in range(1000, 1040):
            file.seek(offset + block * BLOCK_BYTES + 4)
            weights = file.read(16)
            file.seek(-16, 1)
            file.write(bytes(byte ^ 0xFF for byte in weights))


def main():
    need(SMOL)
    with Chain(SMOL, cuts="10,20") as chain, tempfile.TemporaryDirectory() as folder:
        prompts = pathlib.Path(folder) / "prompts.txt"
        prompts.write_text("The sea was calm and\n\nfor i in range(10): # " + "count and add " * N_REPEATS + "\n")
        flags = ["--prompts", str(prompts), "--max-tokens", str(N_TOKENS)]
        done = chain.run("verify", *flags)
        rows = [line.split()[-4:] for line in done.stdout.splitlines() if f" + {N_TOKENS} " in line]
        assert rows == [["same"] * 4] * 4, done.stdout
        assert "bit for bit" in done.stdout and "\033" not in done.stdout + done.stderr, done

        damaged = pathlib.Path(folder) / "damaged.gguf"
        shutil.copy(SMOL, damaged)
        damage(damaged, "blk.14.ffn_up.weight")
        done = chain.run("verify", *flags, "--reference", str(damaged), "--no-replay", "--json", check=False)
        assert done.returncode == 1, done
        report = json.loads(done.stdout)
        assert not report["same"] and report["cases"][0]["alone"] != "same", report
        assert "layer 14, on stage b (layers 10-19), in the rows from position 0" in report["diagnosis"], report

        nothing = chain.run("verify", "--prompts", folder + "/none.txt", check=False)
        assert nothing.returncode == 1 and "one prompt a line" in nothing.stderr, nothing
    # The reference computes as the chain does.
    with Chain(SMOL, cuts="10,20", flags=["--precision", "exact", "--kv-dtype", "int8"]) as chain, tempfile.TemporaryDirectory() as folder:
        prompts = pathlib.Path(folder) / "prompts.txt"
        prompts.write_text("for i in range(10): # " + "count and add " * N_REPEATS + "\n")
        done = chain.run("verify", "--prompts", str(prompts), "--max-tokens", str(N_TOKENS))
        rows = [line.split()[-4:] for line in done.stdout.splitlines() if f" + {N_TOKENS} " in line]
        assert rows == [["same"] * 4] * 2 and "bit for bit" in done.stdout, done.stdout
    print("verify: same where it is, and names layer 14 of stage b where it is not")


if __name__ == "__main__":
    main()
