#!/usr/bin/env bash
# An ESPnet2 language-model recipe with a top-down cascade at its end: the numbers of ESPnet's own lm1. Run in a recipe
# directory (cmd.sh, path.sh, local/data.sh, conf/), as a run.sh does:
#   ../../TEMPLATE/lm1/lm.sh --lm_config conf/train_lm_awd_lstm.yaml --topdown_plan conf/topdown/awd_lstm.yaml "$@"
#
#  1 local/data.sh -> data/{train,valid,test}/text   |  5 data/train/text -> data/token_list/word/tokens.txt
#  6 statistics, which only per-line models need     |  7 LM training -> exp/lm_*
#  8 perplexity of valid and test, as a stream and line by line -> exp/lm_*/perplexity.json
# 17 plan -> the layers and phases, printed          | 18 plan -> exp/lm_*_topdown_PLAN: the cascade, phase by phase
# 19 its phases -> their perplexities                | 20 -> tables and plots in exp/lm_*_topdown_PLAN

set -euo pipefail

# == options
stage=1                        # first stage
stop_stage=20                  # last stage
ngpu=1                         # GPUs for training, 0 or 1 for a stream; 0: CPU
local_data_opts=               # options for local/data.sh
use_stream=true                # false: a model that reads lines, with ESPnet's own iterator
lm_config=                     # training config
lm_args=                       # options that override it
lm_tag=                        # name of the experiment: exp/lm_TAG
lm_exp=                        # directory of the experiment, instead of lm_tag
inference_lm=valid.loss.ave.pth # file of the LM
per_line=true                  # ESPnet's per-line perplexity beside the stream's (stages 8 and 19)
expdir=exp                     # where experiments go
topdown_plan=                  # plan of the cascade (stages 17 to 20)
topdown_dir=                   # directory of the cascade; default: the experiment's name, _topdown_ and the plan's name
phase=                         # stage 18 begins with this phase
decode=all                     # phases of stage 19: best or all
jobs=1                         # independent phases at a time in stage 18
# == end of options

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=egs2/TEMPLATE/asr1/common.sh
. "${here}/../asr1/common.sh"

unknown_option() {
    die "unknown option --$1; near it: $(nearest_option "$1" "$3"); see --help"
}

topdown() {
    python3 -m espnet_topdown "$@"
}

# do_stage N: whether stage N is to be run.
do_stage() {
    [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ]
}

# need STAGE FILE...: refuses to go on without what an earlier stage writes.
need() {
    local file
    for file in "${@:2}"; do
        [ -s "${file}" ] || die "stage ${at} needs ${file}, but it is missing or empty; run stage $1 first"
    done
}

# perplexity DIR: perplexities of valid and test -> DIR/perplexity.json
perplexity() {
    local log=$1/perplexity.log
    local gpus=$((ngpu > 0))
    ${cuda_cmd} --gpu "${gpus}" "${log}" python3 -m espnet_topdown.bin.perplexity --model_file "$1/${inference_lm}" \
        --text data/valid/text data/test/text --token_list "${token_list}" --ngpu "${gpus}" \
        --output "$1/perplexity.json" --kind "${kind}" ||
        die "perplexity failed; see ${log}"
    log "$1"
    grep ' perplexity ' "${log}"
}

parse_options "${BASH_SOURCE[0]}" "$@"

# ---- names and checks ----
if [ -z "${lm_tag}" ]; then
    lm_tag=train
    [ -z "${lm_config}" ] || lm_tag=$(basename "${lm_config}" .yaml)
    lm_tag+=_word$(sed -e 's/--/_/g' -e 's/[ |=/]//g' <<< "${lm_args}")
fi
lm_exp=${lm_exp:-${expdir}/lm_${lm_tag}}
lm_stats_dir=${expdir}/lm_stats_word
token_list=data/token_list/word/tokens.txt
topdown_dir=${topdown_dir:-${lm_exp}_topdown_$(basename "${topdown_plan:-none}" .yaml)}
read -r -a lm_words <<< "${lm_args}"
read -r -a data_words <<< "${local_data_opts}"
kind=both
"${use_stream}" || kind=line
"${per_line}" || kind=stream
"${use_stream}" || "${per_line}" || die "--use_stream false --per_line false leaves no perplexity to measure; leave one out"
if "${use_stream}" && [ "${ngpu}" -gt 1 ]; then
    die "--ngpu ${ngpu}: the state of a stream cannot be split over GPUs; give --ngpu 0 or 1"
fi
[[ ${decode} =~ ^(best|all)$ ]] || die "--decode is best or all, not '${decode}'"
for file in "${lm_config}" path.sh cmd.sh local/data.sh; do
    [ -z "${file}" ] || [ -f "${file}" ] || die "found no ${file} in ${PWD}; run in a recipe directory"
done
if [ "${stop_stage}" -ge 17 ]; then
    [ -f "${topdown_plan}" ] || die "stages 17 to 20 need a plan, and --topdown_plan '${topdown_plan}' is no file;" \
        "found: $(echo conf/topdown/*.yaml); or give --stop_stage 8"
fi
. ./path.sh
. ./cmd.sh
data_options=(--token_type word --token_list "${token_list}")
for name in train valid; do
    if "${use_stream}"; then
        data_options+=("--${name}_data_path_and_name_and_type" "data/${name}/text,text,text")
    else
        data_options+=("--${name}_data_path_and_name_and_type" "dump/raw/lm_${name}.txt,text,text")
    fi
done

# ---- stages ----
if do_stage 1; then
    log "Stage 1: local/data.sh -> data/train, data/valid, data/test"
    local/data.sh "${data_words[@]}"
fi

at=5
if do_stage 5; then
    log "Stage 5: data/train/text -> ${token_list}"
    need 1 data/train/text
    python3 -m espnet_topdown.lm.data tokens --text data/train/text --output "${token_list}"
fi

at=6
if do_stage 6 && "${use_stream}"; then
    log "Stage 6: nothing to do, a stream needs no statistics"
elif do_stage 6; then
    log "Stage 6: data/*/text -> dump/raw/lm_*.txt (without blank lines), ${lm_stats_dir}"
    need 5 "${token_list}" data/valid/text
    mkdir -p "${lm_stats_dir}/logdir"
    shape_options=()
    for name in train valid; do
        python3 -m espnet_topdown.lm.data lines --text "data/${name}/text" --output "dump/raw/lm_${name}.txt"
        cut -d' ' -f1 "dump/raw/lm_${name}.txt" > "${lm_stats_dir}/logdir/${name}.scp"
        shape_options+=("--${name}_shape_file" "${lm_stats_dir}/logdir/${name}.scp")
    done
    ${train_cmd} "${lm_stats_dir}/logdir/stats.log" python3 -m espnet_topdown.bin.train lm --collect_stats true --ngpu 0 \
        "${data_options[@]}" "${shape_options[@]}" ${lm_config:+--config "${lm_config}"} "${lm_words[@]}" \
        --output_dir "${lm_stats_dir}" || die "statistics failed; see ${lm_stats_dir}/logdir/stats.log"
fi

at=7
if do_stage 7; then
    log "Stage 7: LM training -> ${lm_exp}; log: ${lm_exp}/train.log"
    need 1 data/train/text data/valid/text
    need 5 "${token_list}"
    shape_options=()
    if ! "${use_stream}"; then
        need 6 "${lm_stats_dir}"/{train,valid}/text_shape
        for name in train valid; do
            shape_options+=("--${name}_shape_file" "${lm_stats_dir}/${name}/text_shape")
        done
    fi
    ${cuda_cmd} --gpu "${ngpu}" "${lm_exp}/train.log" python3 -m espnet_topdown.bin.train lm "${data_options[@]}" \
        "${shape_options[@]}" --resume true --ngpu "${ngpu}" --output_dir "${lm_exp}" \
        ${lm_config:+--config "${lm_config}"} "${lm_words[@]}" || die "training failed; see ${lm_exp}/train.log"
fi

at=8
if do_stage 8; then
    log "Stage 8: perplexity of data/valid and data/test -> ${lm_exp}/perplexity.json"
    need 1 data/valid/text data/test/text
    need 5 "${token_list}"
    need 7 "${lm_exp}/${inference_lm}"
    perplexity "${lm_exp}"
fi

if do_stage 17; then
    log "Stage 17: ${lm_exp}, ${topdown_plan} -> layers and phases"
    topdown plan "${lm_exp}" --plan "${topdown_plan}"
fi

if do_stage 18; then
    log "Stage 18: ${lm_exp}, ${topdown_plan} -> ${topdown_dir}"
    topdown run "${lm_exp}" --plan "${topdown_plan}" --dir "${topdown_dir}" --jobs "${jobs}" --ngpu "${ngpu}" \
        ${phase:+--phase "${phase}"}
fi

if do_stage 19; then
    log "Stage 19: ${topdown_dir} -> perplexities of its phases (${decode})"
    phases=$(topdown phases "${topdown_dir}" --decode "${decode}")
    while read -r directory; do
        [ -n "${directory}" ] || continue
        perplexity "${directory}" < /dev/null
    done <<< "${phases}"
fi

if do_stage 20; then
    log "Stage 20: ${topdown_dir} -> tables and plots"
    topdown results "${topdown_dir}"
fi
log "Stages ${stage} to ${stop_stage}: done in ${SECONDS} s"
