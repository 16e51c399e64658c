#!/usr/bin/env bash
# Trains on a folder of photos, one folder a class: docs/results/minerals/run.sh /absolute/path/to/photos [-S more=parameters]
# Larger patches, longer training and other augmentation than the default, for photos that are whole specimens.
set -euo pipefail
photos=$1
shift
exec dvc exp run --temp --name real-minerals \
    -S minerals.data.source=path -S "minerals.data.path=$photos" \
    -S minerals.patches.patch_size=112 -S minerals.patches.val_fraction=0.12 -S minerals.patches.seed=2026 \
    -S 'minerals.patches.per_box={train: 1, val: 1, test: 1}' \
    -S minerals.train.crop_size=96 -S minerals.train.epochs=60 -S minerals.train.warmup_epochs=5 \
    -S minerals.train.lr=0.002 -S minerals.train.label_smoothing=0.1 -S minerals.train.ema_decay=0.995 \
    -S minerals.train.network.dropout=0.3 -S minerals.train.network.drop_path=0.05 \
    -S 'minerals.train.augment.crop_area=[0.5,1.0]' -S minerals.train.augment.aspect=1.33 \
    -S minerals.train.augment.rotate=10 -S minerals.train.augment.flip_vertical=0 \
    -S minerals.train.augment.brightness=0.15 -S minerals.train.augment.contrast=0.15 \
    -S minerals.train.augment.saturation=0.15 -S minerals.train.augment.hue=0.01 \
    -S minerals.train.augment.erase=0.1 \
    -S minerals.infer.max_error=0.3 "$@"
