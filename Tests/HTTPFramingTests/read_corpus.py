"""Turns gunicorn's raw requests (tests/requests of its source distribution) into one JSON document on standard output.

Each stream is kept in a file with escapes, and beside it a Python file says what gunicorn should read. Those are run
with stand-ins for what they import from gunicorn, which need not be installed.
"""
import base64
import importlib.machinery
import json
import pathlib
import re
import sys
import types

HEX = re.compile(rb"\\x([0-9A-Fa-f]{2})")


def raw(path):
    """The stream in a file, as gunicorn's own tests read it."""
    data = path.read_bytes().replace(b"\n", b"")
    for escape, byte in ((rb"\r\n", b"\r\n"), (rb"\0", b"\0"), (rb"\n", b"\n"), (rb"\t", b"\t")):
        data = data.replace(escape, byte)
    data = HEX.sub(lambda match: bytes([int(match.group(1), 16)]), data)
    if b"\\" in data:
        raise ValueError(f"{path} has an escape that isn't known here")
    return data


class Config:
    def __init__(self, *arguments):
        self.settings = {}

    def set(self, name, value):
        self.settings[name] = value


def stand_ins():
    errors = types.ModuleType("gunicorn.http.errors")
    errors.__getattr__ = lambda name: type(name, (Exception,), {})
    config = types.ModuleType("gunicorn.config")
    config.Config = Config
    modules = {"gunicorn": types.ModuleType("gunicorn"), "gunicorn.http": types.ModuleType("gunicorn.http")}
    modules.update({"gunicorn.config": config, "gunicorn.http.errors": errors})
    sys.modules.update(modules)


def expectation(path):
    module = types.ModuleType("expectation")
    module.uri = lambda data: data
    module.cfg = Config()
    importlib.machinery.SourceFileLoader("expectation", str(path)).exec_module(module)
    return module.request


def encoded(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode("latin-1")).decode()


def valid(path):
    expected = expectation(path.with_suffix(".py"))
    requests = expected if isinstance(expected, list) else [expected]
    return {
        "name": path.stem,
        "stream": encoded(raw(path)),
        "requests": [
            {
                "method": request["method"],
                "target": encoded(request["uri"]),
                "minor": request["version"][1],
                "fields": [{"name": name, "value": encoded(value)} for name, value in request["headers"]],
                "body": encoded(request["body"]),
            }
            for request in requests
        ],
    }


def invalid(path):
    return {"name": path.stem, "stream": encoded(raw(path)), "error": expectation(path.with_suffix(".py")).__name__}


stand_ins()
folder = pathlib.Path(sys.argv[1])
json.dump(
    {
        "valid": [valid(path) for path in sorted((folder / "valid").glob("*.http"))],
        "invalid": [invalid(path) for path in sorted((folder / "invalid").glob("*.http"))],
    },
    sys.stdout,
    indent=1,
)
