#!/usr/bin/env bash
# Does top-down training help here? One command runs a study: for every seed a base, the cascade and
# the controls of conf/study/MODEL.yaml, their perplexities, and a small record in records/MODEL;
# then RESULTS.md.
#   WIKITEXT2=/path/to/wikitext-2 ./run_study.sh awd_lstm_tiny             STUDY.md, all its seeds
#   WIKITEXT2=/path/to/wikitext-2 ./run_study.sh awd_lstm_small --seeds 1 2 3 --jobs 2
# A study has its own slice of the text. One training of awd_lstm_small takes 6 to 18 minutes on one
# core of a shared machine, a seed eight of them.
# The same command goes on after any interruption. RESULTS.md is rebuilt from the records alone,
# without the models:
#   python3 -m espnet_topdown.study table records/* --output RESULTS.md

set -euo pipefail

# shellcheck source=egs2/TEMPLATE/common.sh
. ../../TEMPLATE/common.sh
. ./path.sh

declare -A slices=(
    [awd_lstm_small]="--train_tokens 200000 --min_count 5"
    [awd_lstm_tiny]="--train_tokens 100000 --valid_tokens 60000 --min_count 8"
)
[[ ${1:--} != -* ]] ||
    die "the first argument is the model: ${!slices[*]}; then options such as --seeds 1 2 3"
model=$1
shift
slice=${slices[${model}]:-}
[ -n "${slice}" ] || die "there is no study of '${model}'; models with one: ${!slices[*]}"
start_warm
[ -s data/token_list/word/tokens.txt ] ||
    ./run.sh --ngpu 0 --stop_stage 5 --local_data_opts "${slice}"
read -r -a words <<< "${slice}"
for ((word = 0; word < ${#words[@]}; word += 2)); do
    grep -q "\"${words[word]#--}\": ${words[word + 1]}\b" data/options.json ||
        die "data/ holds another slice of the text than ${model}'s: ${slice}" \
            "($(tr -d '\n' < data/options.json)); move data/ and exp/ away and run again"
done
python3 -m espnet_topdown.study run "${model}" "$@"
python3 -m espnet_topdown.study table records/* --output RESULTS.md
