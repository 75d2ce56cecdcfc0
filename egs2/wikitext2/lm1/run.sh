#!/usr/bin/env bash
# WikiText-2: an AWD-LSTM language model and its top-down cascade. See README.md for data, sizes and
# published numbers.
#   WIKITEXT2=/path/to/wikitext-2 ./run.sh --ngpu 1    the published recipe, 750 epochs (GPU, days)
#   WIKITEXT2=/path/to/wikitext-2 ./run_small.sh       200,000 tokens on a CPU (minutes a phase)

set -euo pipefail

exec ../../TEMPLATE/lm1/lm.sh \
    --lm_config conf/train_lm_awd_lstm.yaml \
    --topdown_plan conf/topdown/awd_lstm.yaml \
    "$@"
