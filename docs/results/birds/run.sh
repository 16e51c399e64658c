#!/usr/bin/env bash
# Real birds: docs/results/birds/run.sh /absolute/path/to/CUB_200_2011 /absolute/path/to/weights [-S more=parameters]
# The second folder holds state dicts of timm networks: imagenet/*.safetensors, inat_birds/*.safetensors.
set -euo pipefail
photos=$1
weights=$2
shift 2
centred='mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]'
network() { # name, architecture, its arguments, file, what else
    printf '+backbone.networks.%s={source: path, architecture: %s, arguments: {%s}, path: %s, image_size: 224%s}' \
        "$1" "$2" "$3" "$weights/$4" "${5:+, $5}"
}
exec dvc exp run --temp --name real-birds \
    -S birds.data.source=path -S "birds.data.path=$photos" -S birds.split.last_train_class=100 \
    -S "$(network mobilenetv2 mobilenetv2_100 '' imagenet/mobilenetv2_100.safetensors)" \
    -S "$(network mobilenetv2_tf mobilenetv2_100 'pad_type: same' imagenet/mobilenetv2_100.tf2_int8.safetensors "$centred")" \
    -S "$(network mobilenetv1 mobilenetv1_100 'pad_type: same' imagenet/mobilenetv1_100.safetensors "$centred")" \
    -S "$(network inat mobilenetv2_100 'pad_type: same' inat_birds/mobilenetv2_100.inat_birds.safetensors "$centred")" \
    -S 'birds.embed.backbones=[mobilenetv2,mobilenetv2_tf,mobilenetv1,procedural,random,inat]' \
    -S 'birds.embed.crops=[box]' \
    -S birds.evaluate.primary=mobilenetv2-box -S 'birds.evaluate.baselines=[pixels-box,random-box]' \
    "$@" birds-report birds-publish
