#!/usr/bin/env bash
# An ESPnet2 language-model recipe with a top-down cascade at its end; stages have the numbers of
# ESPnet's own lm1. Run in a recipe directory (cmd.sh, path.sh, local/data.sh, conf/) by a run.sh:
#   ../../TEMPLATE/lm1/lm.sh --lm_config conf/train_lm_awd_lstm.yaml \
#       --topdown_plan conf/topdown/awd_lstm.yaml "$@"
#
#    1  local/data.sh -> data/{train,valid,test}/text
#    5  data/train/text -> data/token_list/word/tokens.txt
#    7  LM training -> exp/lm_*
#    8  perplexity of valid and test, as a stream and line by line -> exp/lm_*/perplexity.json
#   17  EXP, plan -> the layers and phases, printed
#   18  EXP, plan -> EXP_topdown_PLAN: the cascade, phase by phase
#   19  EXP_topdown_PLAN -> perplexities of its phases
#   20  EXP_topdown_PLAN -> its tables and plots

set -euo pipefail

# == options
stage=1                        # first stage
stop_stage=20                  # last stage
ngpu=1                         # GPUs for training, 0 or 1; 0: CPU
local_data_opts=               # options for local/data.sh
lm_config=                     # training config
lm_args=                       # options that override it
lm_tag=                        # name of the experiment: exp/lm_TAG
lm_exp=                        # directory of the experiment, instead of lm_tag
inference_lm=valid.loss.ave.pth # file of the LM
per_line=true                  # ESPnet's per-line perplexity beside the stream's (stages 8 and 19)
expdir=exp                     # where experiments go
topdown_plan=                  # plan of the cascade (stages 17 to 20)
topdown_dir=                   # directory of the cascade; default: EXP_topdown_PLAN
phase=                         # stage 18 begins with this phase
decode=all                     # phases of stage 19: best or all
jobs=1                         # independent phases at a time in stage 18
# == end of options

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=egs2/TEMPLATE/common.sh
. "${here}/../common.sh"

unknown_option() {
    die "unknown option --$1$(nearest_option "$1" "$3"); see --help;" \
        "an option of the training itself is given as --lm_args \"--$1 $2\"," \
        "of the data in --local_data_opts"
}

# measure DIR: perplexities of valid and test -> DIR/perplexity.json
measure() {
    local log=$1/perplexity.log gpus=$((ngpu > 0)) options
    options=(
        --model_file "$1/${inference_lm}"
        --text data/valid/text data/test/text
        --token_list "${token_list}"
        --kind "${perplexity_kind}"
        --ngpu "${gpus}"
        --output "$1/perplexity.json"
    )
    ${cuda_cmd} --gpu "${gpus}" "${log}" \
        "${python_cmd[@]}" -m espnet_topdown.bin.perplexity "${options[@]}" ||
        die "perplexity failed; see ${log}"
    log "$1"
    grep ' perplexity ' "${log}"
}

measure_phases() {
    local phases directory
    phases=$(topdown phases "${topdown_dir}" --decode "${decode}")
    while read -r directory; do
        [ -n "${directory}" ] || continue
        measure "${directory}" < /dev/null
    done <<< "${phases}"
}

parse_options "${BASH_SOURCE[0]}" "$@"
check_stages

# ---- names and checks ----
if [ -z "${lm_tag}" ]; then
    lm_tag=train
    [ -z "${lm_config}" ] || lm_tag=$(basename "${lm_config}" .yaml)
    lm_tag+=_word$(sed -e 's/--/_/g' -e 's/[ |=/]//g' <<< "${lm_args}")
fi
lm_exp=${lm_exp:-${expdir}/lm_${lm_tag}}
token_list=data/token_list/word/tokens.txt
read -r -a lm_words <<< "${lm_args}"
read -r -a data_words <<< "${local_data_opts}"
python_cmd=(python3)
launch_options=(--ngpu "${ngpu}")
perplexity_kind=both
"${per_line}" || perplexity_kind=stream
[ "${ngpu}" -le 1 ] ||
    die "--ngpu ${ngpu}: the state of a stream cannot be split over GPUs; give --ngpu 0 or 1"
for file in "${lm_config}" path.sh cmd.sh local/data.sh; do
    [ -z "${file}" ] || [ -f "${file}" ] ||
        die "found no ${file} in ${PWD}; run in a recipe directory"
done
check_cascade 8
. ./path.sh
. ./cmd.sh
need_package
check_configs lm_config
[ "${stop_stage}" -lt 17 ] || check_configs topdown_plan
check_gpus "${ngpu}" "--ngpu 0" 7 8 18 19

# ---- stages ----
if do_stage 1; then
    log "Stage 1: local/data.sh -> data/train, data/valid, data/test"
    hold data
    local/data.sh "${data_words[@]}"
fi

if do_stage 5; then
    log "Stage 5: data/train/text -> ${token_list}"
    need 1 data/train/text
    hold data "${token_list%/*}"
    python3 -m espnet_topdown.lm.data tokens --text data/train/text --output "${token_list}"
fi

# From here on they are only read.
share data "${token_list%/*}"

if do_stage 7; then
    log "Stage 7: LM training -> ${lm_exp}; log: ${lm_exp}/train.log"
    need 1 data/train/text data/valid/text
    need 5 "${token_list}"
    options=(
        --token_type word
        --token_list "${token_list}"
        --train_data_path_and_name_and_type "data/train/text,text,text"
        --valid_data_path_and_name_and_type "data/valid/text,text,text"
        ${lm_config:+--config "${lm_config}"}
        --resume true
        --ngpu "${ngpu}"
        --output_dir "${lm_exp}"
        "${lm_words[@]}"
    )
    ${cuda_cmd} --gpu "${ngpu}" "${lm_exp}/train.log" \
        "${python_cmd[@]}" -m espnet_topdown.bin.train lm "${options[@]}" ||
        die "training failed; see ${lm_exp}/train.log"
fi

if do_stage 8; then
    log "Stage 8: perplexity of data/valid and data/test -> ${lm_exp}/perplexity.json"
    need 1 data/valid/text data/test/text
    need 5 "${token_list}"
    need 7 "${lm_exp}/${inference_lm}"
    measure "${lm_exp}"
fi

cascade_stages "${lm_exp}" 7 "measured"
log "Stages ${stage} to ${stop_stage}: done in ${SECONDS} s"
