#!/usr/bin/env bash
# An ESPnet2 ASR recipe with a top-down cascade at its end. Run in a recipe directory by a run.sh:
#   ../../TEMPLATE/asr1/topdown.sh --train_set train --valid_set dev --test_sets test \
#       --asr_config conf/train_asr.yaml --topdown_plan conf/topdown/rnn.yaml "$@"
#
# Stages 1 to 16 are asr.sh: the one beside this script (1 to 13), or that of the checkout which
# ESPNET_ROOT names. Their options are passed on; asr.sh --help lists them. Then
#   17  EXP, plan -> the layers and phases, printed
#   18  EXP, plan -> EXP_topdown_PLAN: the cascade, phase by phase
#   19  EXP_topdown_PLAN -> its phases decoded and scored
#   20  EXP_topdown_PLAN -> its tables and plots

set -euo pipefail

# == options
stage=1                        # first stage
stop_stage=20                  # last stage
topdown_plan=                  # plan of the cascade (stages 17 to 20)
topdown_dir=                   # directory of the cascade; default: EXP_topdown_PLAN
phase=                         # stage 18 begins with this phase
decode=best                    # phases to decode in stage 19: best or all
jobs=1                         # independent phases at a time in stage 18
ngpu=1                         # GPUs of a node for one training; 0: CPU; passed on
num_nodes=1                    # nodes of one training; passed on
python=python3                 # what runs Python commands; passed on
# == end of options

here=$(realpath --relative-to=. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
# shellcheck source=egs2/TEMPLATE/common.sh
. "${here}/../common.sh"

unknown_option() {
    asr_options+=("--$1" "$2")
    # For the message where asr.sh does not know it either.
    export topdown_options=$3
}

# asr OPTION...: asr.sh with the options that are not ours and these.
asr() {
    if [ -n "${ESPNET_ROOT:-}" ]; then
        ./asr.sh "${asr_options[@]}" "$@"
    else
        "${here}/asr.sh" "${asr_options[@]}" "$@"
    fi
}

# A phase that was decoded by this model and these options is passed over.
measure_phases() {
    local script=${here}/topdown.sh
    topdown decode --decode "${decode}" --script "${script}" "${topdown_dir}" "${asr_options[@]}"
}

# link_checkout: ESPnet's asr.sh and what it calls, linked into the recipe directory.
link_checkout() {
    local name known at source=${ESPNET_ROOT}/egs2/TEMPLATE/asr1
    for name in egs2/TEMPLATE/asr1/{asr.sh,utils,scripts,pyscripts} tools/extra_path.sh; do
        [ -e "${ESPNET_ROOT}/${name}" ] ||
            die "ESPNET_ROOT is ${ESPNET_ROOT}, but it has no ${name};" \
                "set it to an ESPnet git checkout, or unset it"
    done
    for name in python ngpu num_nodes skip_train asr_exp inference_asr_model; do
        grep -q "^${name}=" "${source}/asr.sh" ||
            die "${source}/asr.sh has no option --${name};" \
                "set ESPNET_ROOT to ESPnet 202301 or later, or unset it"
    done
    # Every second word is a name; the others are values, which may begin with -- too.
    for ((at = 0; at < ${#asr_options[@]}; at += 2)); do
        name=${asr_options[at]}
        grep -q "^${name#--}=" "${source}/asr.sh" && continue
        known="${topdown_options} $(sed -n 's/^\([a-z0-9_]*\)=.*/\1/p' "${source}/asr.sh")"
        die "unknown option ${name}$(nearest_option "${name#--}" "${known}"):" \
            "neither of this script (see --help) nor of ${source}/asr.sh;" \
            "an option of the training itself is given as" \
            "--asr_args \"${name} ${asr_options[at + 1]}\""
    done
    for name in asr.sh utils scripts pyscripts steps; do
        [ ! -e "${name}" ] || [ -L "${name}" ] ||
            die "${PWD}/${name} is in the way of a link to ${source}/${name}; move it"
        ln -sfn "${source}/${name}" "${name}"
    done
}

# asr_option NAME: what asr.sh's option was given, nothing where it was not.
asr_option() {
    local at value=
    for ((at = 0; at < ${#asr_options[@]}; at += 2)); do
        [ "${asr_options[at]}" != "--$1" ] || value=${asr_options[at + 1]}
    done
    echo "${value}"
}

# check_checkout_gpus: as our asr.sh does of its own stages, before the checkout's begins.
check_checkout_gpus() {
    local skip_stages
    skip_stages=$(asr_option skip_stages)
    [ "$(asr_option use_lm)" != false ] || skip_stages+=" 7 8"
    [ "$(asr_option skip_train)" != true ] || skip_stages+=" 7 8 11"
    check_gpus "${ngpu}" "--ngpu 0" 7 8 11 18
    [ "$(asr_option gpu_inference)" != true ] || check_gpus 1 "--gpu_inference false" 12
}

asr_options=()
parse_options "${BASH_SOURCE[0]}" "$@"
asr_options+=(--python "${python}" --ngpu "${ngpu}" --num_nodes "${num_nodes}")
read -r -a python_cmd <<< "${python}"

# ---- checks ----
check_stages
check_whole num_nodes
for file in path.sh cmd.sh; do
    [ -f "${file}" ] || die "found no ${file} in ${PWD}; run in a recipe directory"
done
asr_end=13
if [ -n "${ESPNET_ROOT:-}" ]; then
    ESPNET_ROOT=$(readlink -m "${ESPNET_ROOT}")
    export ESPNET_ROOT
    link_checkout
    asr_end=16
elif [ "${stage}" -ge 14 ] && [ "${stage}" -le 16 ]; then
    die "--stage ${stage}: stages 14 to 16 (packing, upload) are ESPnet's;" \
        "set ESPNET_ROOT to a checkout"
fi
check_cascade 13
exp=$("${here}/asr.sh" "${asr_options[@]}" --print_asr_exp true)
. ./path.sh
. ./cmd.sh
need_package
[ "${stop_stage}" -lt 17 ] || check_configs topdown_plan
[ -z "${ESPNET_ROOT:-}" ] || check_checkout_gpus
launch_options=(--ngpu "${ngpu}" --num_nodes "${num_nodes}" --python "${python}")
if is_warm "${cuda_cmd}" && [ "${python}" = python3 ] && [ "${stop_stage}" -ge 6 ]; then
    start_warm
fi

# ---- stages ----
if [ "${stage}" -le "${asr_end}" ]; then
    asr --stage "${stage}" --stop_stage "$((stop_stage < asr_end ? stop_stage : asr_end))"
fi
cascade_stages "${exp}" 11 "decoded and scored"
log "Stages ${stage} to ${stop_stage}: done in ${SECONDS} s"
