#!/usr/bin/env bash
# mini_an4: seven real recordings, of which four train. It proves the plumbing, not accuracy.
#   ./run.sh               data preparation to the tables of a cascade
#   ./run.sh --stage 11    from the training of the base on
#   ./run.sh --asr_config conf/train_asr_transformer.yaml \
#       --topdown_plan conf/topdown/transformer.yaml

set -euo pipefail

exec ../../TEMPLATE/asr1/topdown.sh \
    --lang en \
    --ngpu 0 \
    --nj 2 \
    --inference_nj 2 \
    --train_set train_nodev \
    --valid_set train_dev \
    --test_sets "train_dev test test_seg" \
    --token_type char \
    --use_lm false \
    --lm_train_text data/train_nodev/text \
    --asr_config conf/train_asr_rnn.yaml \
    --inference_config conf/decode_asr.yaml \
    --inference_asr_model valid.loss.ave.pth \
    --topdown_plan conf/topdown/rnn.yaml \
    --decode all \
    "$@"
