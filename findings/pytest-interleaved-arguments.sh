#!/usr/bin/env bash
# pytest 9.1.1: where a file of another folder is named between two files of one folder, the second of
# them loses the fixtures of the folder's conftest.py. The same call passes in 9.0.2.
# Where it meets people: `git diff --name-only | xargs pytest` gives the files in any order.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir api
printf 'import pytest\n\n\n@pytest.fixture\ndef value():\n    return 1\n' > api/conftest.py
printf 'def test_one(value):\n    assert value == 1\n' > api/test_one.py
printf 'def test_two(value):\n    assert value == 1\n' > api/test_two.py
printf 'def test_other():\n    assert True\n' > test_other.py

# run VERSION FILES...: the last line that pytest prints
run() {
  local version=$1
  shift
  "$folder/$version/bin/python" -m pytest -q -p no:cacheprovider "$@" > out.txt 2>&1 || true
  tail -n 1 out.txt | sed 's/ in .*//'
}

for version in 9.0.2 9.1.1; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check \
    "pytest==$version" 2> /dev/null
done
before=$(run 9.0.2 api/test_one.py test_other.py api/test_two.py)
apart=$(run 9.1.1 api/test_one.py test_other.py api/test_two.py)
reason=$(grep -m 1 "fixture 'value' not found" out.txt || true)
together=$(run 9.1.1 api/test_one.py api/test_two.py test_other.py)
echo "pytest 9.0.2, files of api/ apart:    $before"
echo "pytest 9.1.1, files of api/ apart:    $apart ($reason)"
echo "pytest 9.1.1, files of api/ together: $together"
[[ $before == "3 passed" && $apart == "2 passed, 1 error" && -n $reason && $together == "3 passed" ]]
