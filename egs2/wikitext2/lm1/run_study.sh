#!/usr/bin/env bash
# Does top-down training help here? One command runs the study on the slice of run_small.sh: for
# every seed a base, the cascade and the controls of conf/study/MODEL.yaml, their perplexities, and
# a small record in records/MODEL; then RESULTS.md. One training takes 6 to 18 minutes on one core
# of a shared machine, a seed eight of them.
#   WIKITEXT2=/path/to/wikitext-2 ./run_study.sh --seeds 1 2 3 --jobs 2
# The same command goes on after any interruption. RESULTS.md is rebuilt from the records alone,
# without the models:
#   python3 -m espnet_topdown.study table records/* --output RESULTS.md

set -euo pipefail

# shellcheck source=egs2/TEMPLATE/common.sh
. ../../TEMPLATE/common.sh
. ./path.sh

start_warm
[ -s data/token_list/word/tokens.txt ] || ./run_small.sh --stop_stage 6
for option in '"train_tokens": 200000' '"min_count": 5'; do
    grep -q "${option}" data/options.json ||
        die "data/ holds another text than the slice of run_small.sh" \
            "($(tr -d '\n' < data/options.json)); move it away and run again"
done
python3 -m espnet_topdown.study run awd_lstm_small "$@"
python3 -m espnet_topdown.study table records/* --output RESULTS.md
