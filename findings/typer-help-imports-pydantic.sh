#!/usr/bin/env bash
# typer 0.29.2 with pydantic 2.14.4 installed: the help of a program imports no pydantic, the help of
# one of its commands does, though no parameter needs it: about a hundred modules more.
# Where it meets people: `PROGRAM COMMAND --help` and shell completion wait for these imports.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check \
  typer==0.29.2 pydantic==2.14.4 2> /dev/null
cat > program.py <<'PROGRAM'
import sys

import typer

app = typer.Typer()


@app.command()
def first() -> None: ...


@app.command()
def second() -> None: ...


try:
    app(sys.argv[1:])
finally:
    print("modules:", len(sys.modules), "pydantic:", "pydantic" in sys.modules)
PROGRAM
whole=$(env/bin/python program.py --help | tail -n 1)
command=$(env/bin/python program.py first --help | tail -n 1)
echo "typer 0.29.2: program --help:       $whole"
echo "typer 0.29.2: program first --help: $command"
[[ $whole == *"pydantic: False" && $command == *"pydantic: True" ]]
