#!/usr/bin/env bash
# fsdd_clean: connected digits of six speakers without noise, real recordings; minutes on two CPU
# cores. FSDD=clone|archive names the data; else it is fetched.
#   FSDD=free-spoken-digit-dataset.tar.xz ./run.sh    data preparation to the tables of a cascade
#   ./run.sh --stage 11                               from the training of the base on

set -euo pipefail

exec ../../TEMPLATE/asr1/topdown.sh \
    --lang en \
    --ngpu 0 \
    --nj 2 \
    --inference_nj 2 \
    --jobs 2 \
    --fs 8k \
    --audio_format wav \
    --local_data_opts "--snr_db none --train_strings 700 --dev_strings 120 --test_strings 300" \
    --train_set train \
    --valid_set dev \
    --test_sets test \
    --token_type word \
    --use_lm false \
    --lm_train_text data/train/text \
    --asr_config conf/train_asr_ctc.yaml \
    --inference_config conf/decode_asr.yaml \
    --inference_asr_model valid.cer_ctc.ave.pth \
    --topdown_plan conf/topdown/ctc.yaml \
    --decode all \
    "$@"
