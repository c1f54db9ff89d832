"""What the checks of Python SDKs share: the list of checks, and a command line that runs them against a live server."""
import argparse
import sys
import traceback

CHECKS = []


def check(function):
    """A check is called with the Live of its script; what it returns, if anything, stands beside its line."""
    CHECKS.append(function)
    return function


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def run(live_type, description, sdk):
    """Prints one line per check; exits 1 if any failed. `live_type` takes the server's root, the key and the model's name; `sdk` is the module that is tried."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("base_url")
    parser.add_argument("--key", default="")
    parser.add_argument("--model", default="")
    arguments = parser.parse_args()
    live = live_type(arguments.base_url, arguments.key, arguments.model)
    failed = 0
    for function in CHECKS:
        name = function.__name__.replace("_", " ")
        try:
            print(f"ok    {name}" + (f" ({note})" if (note := function(live)) else ""))
        except Exception:
            failed += 1
            print(f"FAIL  {name}\n{traceback.format_exc()}")
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed with {sdk.__name__} {sdk.__version__}")
    sys.exit(1 if failed else 0)
