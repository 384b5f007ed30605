#!/usr/bin/env bash
# pg8000 1.31.6: where the other side ends the connection before the login is sent, the constructor
# raises and leaves the socket open. The half-made connection refers to itself, so only the cyclic
# collector closes it: a program that tries again and again holds one more descriptor each time.
# Where it meets people: a proxy that takes connections for a database that is away.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "pg8000==1.31.6" 2> /dev/null
cat > away.py <<'END'
import gc
import os
import socket
import threading
from importlib.metadata import version

from pg8000.native import Connection


def end_each(proxy: socket.socket) -> None:
    for _ in range(6):
        proxy.accept()[0].close()


def attempt(port: int) -> str:
    try:
        Connection("someone", host="127.0.0.1", port=port, timeout=10)
    except Exception as error:
        return type(error).__name__
    return "connected"


def opened() -> int:
    return len(os.listdir("/proc/self/fd"))


with socket.create_server(("127.0.0.1", 0)) as proxy:
    threading.Thread(target=end_each, args=(proxy,), daemon=True).start()
    port = proxy.getsockname()[1]
    attempt(port)  # imports what is imported lately
    gc.collect()
    gc.disable()
    before = opened()
    errors = {attempt(port) for _ in range(5)}
    left = opened() - before
    gc.collect()
    print(f"pg8000 {version('pg8000')}: {sorted(errors)}; 5 attempts: left open {left}, "
          f"after gc.collect() {opened() - before}")
END
said=$(venv/bin/python -W ignore away.py)
echo "$said"
[[ $said =~ "left open "([1-9]) && $said == *"after gc.collect() 0" ]]
