#!/usr/bin/env bash
# A fresh virtual environment with the base install alone: numpy, safetensors, tqdm; no torch. Then everything of the running half.
# PYTHON: an interpreter that has Tidegate with torch, to train the model that the other one loads.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(command -v "${PYTHON:-.venv/bin/python}")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

data=src/tidegate/bundled/seattle-weather.csv
"$python" -m tidegate fit forecast "$data" --target temp_max --time date --horizon 7 --steps 20 --hidden-size 16 -o "$place/model.safetensors"
"$python" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt .
env -u PYTHONPATH "$place/venv/bin/python" bench/no_torch.py "$place/model.safetensors" "$data"
