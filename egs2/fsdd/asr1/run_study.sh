#!/usr/bin/env bash
# Does top-down training help here? One command runs the study of a model: for every seed a base,
# the cascade and the controls of conf/study/MODEL.yaml, all decoded, and a small record in
# records/MODEL; then RESULTS.md.
#   FSDD=free-spoken-digit-dataset.tar.xz ./run_study.sh transformer --seeds 1 2 3 --jobs 2
#   FSDD=free-spoken-digit-dataset.tar.xz ./run_study.sh transformer_fixed    STUDY.md, all seeds
# The same command goes on after any interruption. RESULTS.md is rebuilt from the records alone,
# without the models:
#   python3 -m espnet_topdown.study table records/* --output RESULTS.md

set -euo pipefail

# shellcheck source=egs2/TEMPLATE/common.sh
. ../../TEMPLATE/common.sh
. ./path.sh

[[ ${1:--} != -* ]] ||
    die "the first argument is the model ($(cd conf/study && echo *.yaml)," \
        "without .yaml); then options such as --seeds 1 2 3"
model=$1
shift
for file in "conf/train_asr_${model}.yaml" "conf/study/${model}.yaml"; do
    [ -f "${file}" ] ||
        die "found no ${file}; models with a study: $(cd conf/study && echo *.yaml)"
done
# Studies with a plan of analysis have a larger dev set, so that it tells phases apart.
dev_strings=180
[ ! -f "conf/analysis/${model}.yaml" ] || dev_strings=1000
recipe=./run.sh dev=dev
[ ! -f "run_${model}.sh" ] || recipe=./run_${model}.sh dev=dev_clean
start_warm
stats=exp/asr_stats_${model}
if [ ! -s "${stats}/valid/text_shape.word" ]; then
    if [ "${recipe}" != ./run.sh ]; then
        # It makes what data dump/raw lacks.
        STRINGS="--dev_strings ${dev_strings}" "${recipe}" --stop_stage 5
    elif [ ! -s dump/raw/test/wav.scp ]; then
        ./run.sh --stop_stage 5 --local_data_opts "--dev_strings ${dev_strings}"
    fi
    "${recipe}" --stage 10 --stop_stage 10 --asr_stats_dir "${stats}" \
        --asr_config "conf/train_asr_${model}.yaml"
fi
grep -qs "\"dev_strings\": ${dev_strings}\b" "data/${dev}/options.json" ||
    die "data/${dev} is not the dev set of ${dev_strings} strings of this study" \
        "(data/${dev}/options.json); move data/, dump/ and exp/ away and run again"
python3 -m espnet_topdown.study run "${model}" "$@"
python3 -m espnet_topdown.study table records/* --output RESULTS.md
