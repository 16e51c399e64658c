#!/usr/bin/env bash
# Real memes: docs/results/memes/run.sh /absolute/path/to/pictures /absolute/path/to/mobilenetv2_100.safetensors [-S more=parameters]
# Two games in a folder each, unknown/, genshin_impact/ to be added later, sources.csv with a column 'note'.
set -euo pipefail
pictures=$1
weights=$2
shift 2
exec dvc exp run --temp --name real-memes \
    -S "+backbone.networks.mobilenetv2={source: path, architecture: mobilenetv2_100, arguments: {}, path: $weights, image_size: 320}" \
    -S memes.data.source=path -S "memes.data.path=$pictures" -S memes.data.later=genshin_impact \
    -S 'memes.data.kinds={table: sources.csv, column: note, near: [other game]}' \
    -S memes.samples.val_fraction=0.2 -S memes.samples.test_fraction=0.2 \
    -S memes.train.backbone=mobilenetv2 -S memes.train.epochs=12 -S memes.train.lr=0.0003 \
    -S memes.train.layer_decay=1.0 -S memes.train.frozen_stages=6 -S memes.train.head_factor=0.1 -S memes.train.blend=0.5 \
    -S memes.train.label_smoothing=0.1 -S memes.train.mixup_alpha=0.2 -S memes.train.ema_decay=0.98 \
    -S 'memes.train.augment.crop_area=[0.4,1.0]' -S memes.train.augment.rotate=3 \
    -S memes.train.augment.grayscale=0.05 -S memes.train.augment.blur=0.05 \
    -S 'memes.train.probe.c=[0.001,0.003,0.01,0.03,0.1]' \
    "$@" memes-report memes-notebook memes-publish
