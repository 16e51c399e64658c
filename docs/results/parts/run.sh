#!/usr/bin/env bash
# Real frames: docs/results/parts/run.sh /absolute/path/to/layout [-S more=parameters]
# The layout is what `python docs/results/parts/prepare.py SAMPLE OUT` makes of the challenge's sample.
set -euo pipefail
videos=$1
shift
exec dvc exp run --temp --name real-parts \
    -S parts.data.source=path -S "parts.data.path=$videos" -S parts.train.epochs=80 \
    "$@" parts-publish
