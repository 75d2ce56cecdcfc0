#!/usr/bin/env bash
# NAME: data preparation to the tables of a cascade.
#   ./run.sh                       everything
#   ./run.sh --stage 11            from the training of the base on
#   ./run.sh --stage 18 --phase 2  the cascade, from its phase 2 on

set -euo pipefail

train_set=train
valid_set=dev
test_sets="test"      # CHANGE: one or more, with blanks between
fs=16k                # CHANGE: sampling rate of training; audio at another rate is resampled
token_type=char       # CHANGE: char, word, or bpe with its number of pieces
nbpe=500
ngpu=1                # CHANGE: 0 for the CPU
nj=8                  # CHANGE: jobs at a time of this machine, or of the cluster that cmd.sh names
# CHANGE: the average that decodes, of best_model_criterion in conf/train_asr.yaml:
# valid.acc.ave.pth for [valid, acc, max], valid.loss.ave.pth for [valid, loss, min]
inference_asr_model=valid.acc.ave.pth
decode=all            # CHANGE: best leaves out the controls, and all phases but the chosen one

exec ../../TEMPLATE/asr1/topdown.sh \
    --ngpu "${ngpu}" \
    --nj "${nj}" \
    --inference_nj "${nj}" \
    --fs "${fs}" \
    --train_set "${train_set}" \
    --valid_set "${valid_set}" \
    --test_sets "${test_sets}" \
    --token_type "${token_type}" \
    --nbpe "${nbpe}" \
    --bpe_train_text "data/${train_set}/text" \
    --use_lm false \
    --lm_train_text "data/${train_set}/text" \
    --asr_config conf/train_asr.yaml \
    --inference_config conf/decode_asr.yaml \
    --inference_asr_model "${inference_asr_model}" \
    --topdown_plan conf/topdown/transformer.yaml \
    --decode "${decode}" \
    "$@"
