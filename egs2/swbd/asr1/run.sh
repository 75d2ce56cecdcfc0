#!/usr/bin/env bash
# Switchboard: a Transformer of 12 and 6 layers with CTC, BPE 2000, speed perturbation, SpecAugment.
# See README.md.
#   ./run.sh                       data preparation to the tables of a cascade; set SWBD in db.sh
#   ./run.sh --stage 11            from the training of the base on
#   ./run.sh --stage 18 --phase 3  the cascade, from its phase 3 on

set -euo pipefail

exec ../../TEMPLATE/asr1/topdown.sh \
    --lang en \
    --ngpu 2 \
    --nj 32 \
    --inference_nj 32 \
    --train_set train_nodup \
    --valid_set train_dev \
    --test_sets eval2000 \
    --fs 16k \
    --audio_format flac.ark \
    --speed_perturb_factors "0.9 1.0 1.1" \
    --token_type bpe \
    --nbpe 2000 \
    --bpe_train_text data/train_nodup/text \
    --use_lm false \
    --lm_train_text data/lm_train.txt \
    --lm_config conf/train_lm.yaml \
    --asr_config conf/train_asr.yaml \
    --inference_config conf/decode_asr.yaml \
    --topdown_plan conf/topdown/transformer.yaml \
    "$@"
