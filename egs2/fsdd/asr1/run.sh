#!/usr/bin/env bash
# fsdd: connected digits of six speakers in babble, real recordings. FSDD=clone|archive names the
# data; else it is cloned.
#   FSDD=free-spoken-digit-dataset.tar.xz ./run.sh    data preparation to the tables of a cascade
#   ./run.sh --stage 11                               from the training of the base on
#   ./run.sh --asr_config conf/train_asr_rnn.yaml --topdown_plan conf/topdown/rnn.yaml
#   ./run.sh --stop_stage 5 --local_data_opts "--snr_db 0 --rotation theo"

set -euo pipefail

exec ../../TEMPLATE/asr1/topdown.sh \
    --lang en \
    --ngpu 0 \
    --nj 2 \
    --inference_nj 1 \
    --fs 8k \
    --audio_format wav \
    --train_set train \
    --valid_set dev \
    --test_sets "dev test" \
    --token_type word \
    --use_lm false \
    --lm_train_text data/train/text \
    --asr_config conf/train_asr_transformer.yaml \
    --inference_config conf/decode_asr.yaml \
    --inference_asr_model valid.acc.ave.pth \
    --topdown_plan conf/topdown/transformer.yaml \
    "$@"
