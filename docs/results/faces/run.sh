#!/usr/bin/env bash
# Real faces: docs/results/faces/run.sh /absolute/path/to/photos /absolute/path/to/embedding /absolute/path/to/emotion [-S more=parameters]
# Photos in the layout of docs/faces.md; embedding and emotion are folders with one and with several networks and a JSON for each.
set -euo pipefail
photos=$1
embedding=$2
emotion=$3
shift 3
exec dvc exp run --temp --name real-faces \
    -S faces.data.source=path -S "faces.data.path=$photos" \
    -S "faces.embedding.weights=$embedding" -S "faces.emotion.weights=$emotion" \
    -S 'faces.identity.enrolled=[ben_afflek,elton_john,jerry_seinfeld,lionel_messi,mindy_kaling]' \
    -S faces.identity.false_accepts=0.01 -S +faces.emotion.trust.ferplus=2 \
    "$@" faces-publish
