#!/usr/bin/env bash
# A slice of WikiText-2 for a CPU: the first lines of the training text up to 200,000 tokens, words
# seen fewer than 5 times as <unk>; all of valid and test with the slice's vocabulary. Its
# perplexities compare with each other and nothing else.

set -euo pipefail

exec ./run.sh \
    --ngpu 0 \
    --local_data_opts "--train_tokens 200000 --min_count 5" \
    --lm_config conf/train_lm_awd_lstm_small.yaml \
    "$@"
