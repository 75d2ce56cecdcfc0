#!/usr/bin/env bash
# Wall Street Journal: a VGG-BLSTMP encoder with an attention decoder and CTC, characters, a
# character LM. See README.md.
#   ./run.sh                       data preparation to the tables of a cascade; WSJ0, WSJ1 in db.sh
#   ./run.sh --stage 11            from the training of the base on
#   ./run.sh --stage 18 --phase 3  the cascade, from its phase 3 on

set -euo pipefail

exec ../../TEMPLATE/asr1/topdown.sh \
    --lang en \
    --ngpu 1 \
    --nj 16 \
    --inference_nj 16 \
    --train_set train_si284 \
    --valid_set test_dev93 \
    --test_sets "test_dev93 test_eval92" \
    --token_type char \
    --nlsyms_txt data/nlsyms.txt \
    --lm_train_text "data/train_si284/text data/local/other_text/text" \
    --lm_config conf/train_lm.yaml \
    --asr_config conf/train_asr.yaml \
    --inference_config conf/decode_asr.yaml \
    --topdown_plan conf/topdown/rnn.yaml \
    "$@"
