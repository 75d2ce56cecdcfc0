#!/usr/bin/env bash
# ESPnet2's asr.sh, stages 1 to 13, over a pip-installed ESPnet: the same options, stage numbers and
# exp/ layout, without a checkout and without Kaldi. Run in a recipe directory (cmd.sh, path.sh,
# local/data.sh, conf/), as a run.sh does:
#   ../../TEMPLATE/asr1/asr.sh --train_set train --valid_set dev --test_sets "test" \
#       --asr_config conf/train_asr.yaml
#
#    1  local/data.sh -> data/SET
#    2  speed perturbation -> data/TRAIN_sp
#    3  data/SET -> dump/raw/[org/]SET
#    4  dump/raw/org/SET -> dump/raw/SET without long, short and empty utterances; those left out
#       are listed in dump/raw/SET/dropped
#    5  training text -> data/[LANG_]token_list
#    6  LM statistics -> exp/lm_stats_*
#    7  LM training -> exp/lm_*
#    8  LM perplexity
#    9  n-gram LM (not here)
#   10  ASR statistics -> exp/asr_stats_*
#   11  ASR training -> exp/asr_*
#   12  decoding -> exp/asr_*/decode_*
#   13  scoring -> exp/asr_*/RESULTS.md

set -euo pipefail

# == options
# -- General
stage=1                        # first stage
stop_stage=13                  # last stage
skip_stages=                   # stages to leave out, e.g. "3 5"
skip_data_prep=false           # leave out stages 1 to 5
skip_train=false               # leave out stages 2 and 4 to 11
skip_eval=false                # leave out stages 12 and 13
eval_valid_set=false           # decode and score the valid set too
ngpu=1                         # GPUs of a node for training; 0: CPU
num_nodes=1                    # nodes for training
nj=32                          # parallel jobs
inference_nj=32                # parallel jobs in decoding
gpu_inference=false            # decode on GPUs, one job on each at a time
dumpdir=dump                   # where formatted data goes
expdir=exp                     # where experiments go
python=python3                 # what runs ESPnet's commands; may be a wrapper of them
print_asr_exp=false            # only print the directory of the ASR experiment
# -- Data
local_data_opts=               # options for local/data.sh
speed_perturb_factors=         # e.g. "0.9 1.0 1.1"
feats_type=raw                 # only raw
audio_format=flac              # flac, wav, flac.ark or wav.ark
fs=16k                         # sampling rate; audio at another rate is resampled
min_wav_duration=0.1           # seconds; shorter training utterances are removed
max_wav_duration=20            # seconds; longer training utterances are removed
train_set=                     # name of the training set
valid_set=                     # name of the validation set
test_sets=                     # names of the test sets
lang=noinfo                    # language, for names only
# -- Tokens
token_type=bpe                 # bpe, char or word
nbpe=30                        # pieces of bpe
bpemode=unigram                # unigram or bpe
bpe_train_text=                # text files for bpe; default: the training set's
bpe_input_sentence_size=100000000 # sentences for bpe
bpe_nlsyms=                    # symbols kept whole by bpe: a file, or a list with commas
bpe_char_cover=1.0             # share of characters covered by bpe
oov="<unk>"                    # symbol for what is not in the token list
blank="<blank>"                # CTC's blank
sos_eos="<sos/eos>"            # start and end of a sentence
nlsyms_txt=none                # file of non-linguistic symbols
cleaner=none                   # text cleaner of ESPnet
hyp_cleaner=none               # text cleaner for hypotheses
g2p=none                       # passed to ESPnet
# -- Language model
use_lm=true                    # train one (stages 6 to 8) and decode with it
lm_config=                     # training config
lm_args=                       # options that override it
lm_tag=                        # name of the experiment: exp/lm_TAG
lm_exp=                        # directory of the experiment, instead of lm_tag
lm_stats_dir=                  # directory of its statistics
lm_train_text=                 # text files to train on; default: the training set's
lm_dev_text=                   # text file to validate on; default: the valid set's
lm_test_text=                  # text file for perplexity; default: the first test set's
lm_fold_length=150             # fold_length of text
# -- ASR model
asr_config=                    # training config
asr_args=                      # options that override it
asr_tag=                       # name of the experiment: exp/asr_TAG
asr_exp=                       # directory of the experiment, instead of asr_tag
asr_stats_dir=                 # directory of its statistics
pretrained_model=              # passed on as --init_param
ignore_init_mismatch=false     # passed on
feats_normalize=global_mvn     # normalisation layer
asr_speech_fold_length=800     # fold_length of speech, in units of 100 samples
asr_text_fold_length=150       # fold_length of text
# -- Decoding and scoring
inference_config=              # decoding config
inference_args=                # options that override it
inference_tag=                 # name of the directory in the experiment
inference_lm=valid.loss.ave.pth       # file of the LM
inference_asr_model=valid.acc.ave.pth # file of the ASR model
batch_size=1                   # utterances at a time in decoding
score_opts=                    # -s: case counts
local_score_opts=              # options for local/score.sh
# == end of options

# What needs a checkout's asr.sh, with the one value that asks for nothing.
checkout_only=(
    skip_upload=true skip_upload_hf=true skip_packing=true hf_repo= download_model=
    use_ngram=false ngram_exp= ngram_num=3 inference_ngram=
    use_word_lm=false word_vocab_size=10000 num_splits_lm=1 num_splits_asr=1
    asr_task=asr num_ref=1 num_inf= sot_asr=false use_prompt=false
    use_k2=false k2_ctc_decoding=true k2_config= use_nbest_rescoring=true num_paths=1000
    nll_batch_size=100 use_streaming=false use_maskctc=false use_lightning=false
    hugging_face_model_name_or_path= post_process_local_data_opts= auxiliary_data_tags=
)

here=$(realpath --relative-to=. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
# shellcheck source=egs2/TEMPLATE/common.sh
. "${here}/../common.sh"

# With ESPNET_ROOT this script is only asked for names, and options that the checkout's asr.sh alone
# knows are passed over.
unknown_option() {
    local pair
    [ -z "${ESPNET_ROOT:-}" ] || return 0
    for pair in "${checkout_only[@]}"; do
        [ "${pair%%=*}" = "$1" ] || continue
        [ "${pair#*=}" = "$2" ] ||
            die "--$1 $2 needs ESPnet's own asr.sh:" \
                "set ESPNET_ROOT to an ESPnet checkout and run again, or leave the option out"
        return 0
    done
    die "unknown option --$1$(nearest_option "$1" "$3 ${topdown_options:-}"); see --help;" \
        "an option of the training itself is given as --asr_args \"--$1 $2\""
}

# save_command DIR STAGE: DIR/run.sh resumes from STAGE.
save_command() {
    mkdir -p "$1"
    echo "${run_args}--stage $2 \"\$@\"; exit \$?" > "$1/run.sh"
    chmod +x "$1/run.sh"
}

recipe() {
    python3 -m espnet_topdown.recipe "$@"
}

# trains_here: whether the warm process can train: on this machine, on one GPU at most, by plain
# python3.
trains_here() {
    is_warm "${cuda_cmd}" && [ "${python}" = python3 ] &&
        [ "${ngpu}" -le 1 ] && [ "${num_nodes}" = 1 ]
}

# train DIR TASK ARGS...: one training, logged to DIR/train.log; it goes on where an earlier one
# stopped, and waits for one that still runs in DIR. As espnet2.bin.TASK_train, with that lock.
train() {
    local dir=$1 task=$2 launch_cmd="${cuda_cmd}" launch command
    shift 2
    command=(-m espnet_topdown.bin.train "${task}" "$@")
    if trains_here; then
        ${cuda_cmd} --gpu "${ngpu}" --keep_logs "${dir}/train.log" \
            python3 "${command[@]}" --ngpu "${ngpu}"
        return
    fi
    is_warm "${cuda_cmd}" || launch_cmd+=" --name $(basename "${dir}").train"
    launch=(
        --cmd "${launch_cmd}"
        --log "${dir}/train.log"
        --ngpu "${ngpu}"
        --num_nodes "${num_nodes}"
        --init_file_prefix "${dir}/.dist_init_"
        --multiprocessing_distributed true
    )
    "${python_cmd[@]}" -m espnet2.bin.launch "${launch[@]}" -- "${python_cmd[@]}" "${command[@]}"
}

# collect DIR JOBS MODULE ARGS...: statistics of JOBS parts, put together in DIR.
collect() {
    local dir=$1 jobs=$2 module=$3 log_dir=$1/logdir part options
    shift 3
    options=(--collect_stats true "$@" --output_dir "${log_dir}/stats.JOB")
    ${train_cmd} "JOB=1:${jobs}" "${log_dir}/stats.JOB.log" \
        "${python_cmd[@]}" -m "${module}" "${options[@]}" ||
        die "statistics failed; see ${log_dir}/stats.*.log"
    options=(--output_dir "${dir}")
    for part in $(seq "${jobs}"); do
        options+=(--input_dir "${log_dir}/stats.${part}")
    done
    if [ "${module}" = espnet2.bin.asr_train ] && [ "${feats_normalize}" != global_mvn ]; then
        options+=(--skip_sum_stats)
    fi
    "${python_cmd[@]}" -m espnet2.bin.aggregate_stats_dirs "${options[@]}" \
        > "${log_dir}/aggregate.log" 2>&1 ||
        die "statistics failed; see ${log_dir}/aggregate.log"
    recipe shapes "${dir}"/{train,valid}/text_shape \
        --token_list "${token_list}" --token_type "${token_type}"
}

# need_model EXP FILE OPTION STAGE: refuses a model that is not there, and says which are.
need_model() {
    local exp=$1 file=$2 option=$3 path models=()
    [ ! -s "${exp}/${file}" ] || return 0
    for path in "${exp}"/*.ave*.pth "${exp}"/*.best.pth "${exp}"/latest.pth; do
        [ ! -s "${path}" ] || models+=("${path##*/}")
    done
    [ "${#models[@]}" -gt 0 ] || need "$4" "${exp}/${file}"
    die "stage ${at} needs ${exp}/${file}, but it is missing or empty;" \
        "give --${option} one of those that are there: ${models[*]}"
}

# quoted WORD...: as sh reads them back, in any locale; printf %q has bash's own $'...'.
quoted() {
    local word escaped="'\\''"
    for word in "$@"; do printf "'%s' " "${word//\'/"${escaped}"}"; done
}

run_args=$(quoted "$0" "$@")
has_word "$*" "--print_asr_exp true" || log "$0 $*"
parse_options "${BASH_SOURCE[0]}" "$@"

# ---- names: ESPnet2's ----
tokens=${token_type}
[ "${token_type}" = bpe ] && tokens=bpe${nbpe}
language=${lang}_
[ "${lang}" = noinfo ] && language=
_sp=${speed_perturb_factors:+_sp}

# tag_of ARGS MORE: the part of a name that options add, without blanks, |, = and what MORE names.
tag_of() {
    sed -e 's/--/_/g' -e "s/[ |=$2]//g" <<< "$1"
}

# stem_of FILE: the part of a name that a file adds.
stem_of() {
    local stem=${1//\//_}
    echo "${stem%.*}"
}
if [ -z "${asr_tag}" ]; then
    asr_tag=train
    [ -z "${asr_config}" ] || asr_tag=$(basename "${asr_config}" .yaml)
    asr_tag+=_${feats_type}_${language}${tokens}$(tag_of "${asr_args}" /)${_sp}
fi
if [ -z "${lm_tag}" ]; then
    lm_tag=train
    [ -z "${lm_config}" ] || lm_tag=$(basename "${lm_config}" .yaml)
    lm_tag+=_${language}${tokens}$(tag_of "${lm_args}" /)
fi
asr_stats_dir=${asr_stats_dir:-${expdir}/asr_stats_${feats_type}_${language}${tokens}${_sp}}
lm_stats_dir=${lm_stats_dir:-${expdir}/lm_stats_${language}${tokens}}
asr_exp=${asr_exp:-${expdir}/asr_${asr_tag}}
lm_exp=${lm_exp:-${expdir}/lm_${lm_tag}}
if [ -z "${inference_tag}" ]; then
    inference_tag=inference
    [ -z "${inference_config}" ] || inference_tag=$(basename "${inference_config}" .yaml)
    inference_tag+=$(tag_of "${inference_args}" /)
    "${use_lm}" && inference_tag+=_lm_$(basename "${lm_exp}")_$(stem_of "${inference_lm}")
    inference_tag+=_asr_model_$(stem_of "${inference_asr_model}")
fi
if "${print_asr_exp}"; then
    echo "${asr_exp}"
    exit 0
fi

# ---- checks ----
check_whole stage stop_stage ngpu num_nodes nj inference_nj nbpe batch_size \
    asr_speech_fold_length asr_text_fold_length lm_fold_length
for name in num_nodes nj inference_nj batch_size; do
    [ "${!name}" -ge 1 ] || die "--${name} is at least 1, not '${!name}'"
done
[[ ${skip_stages} =~ ^[0-9\ ]*$ ]] ||
    die "--skip_stages is numbers with blanks between, not '${skip_stages}'"
for name in dumpdir asr_exp lm_exp asr_stats_dir lm_stats_dir inference_tag train_set valid_set; do
    [[ ! ${!name} =~ [[:space:]] ]] ||
        die "${name} is '${!name}': blanks part the names in a list; give one without"
    [[ ${!name} != *JOB* ]] ||
        die "${name} is '${!name}': JOB stands for a job's number in commands; give one without"
done
[[ ${inference_tag} != */* ]] ||
    die "--inference_tag '${inference_tag}' names one directory of the experiment;" \
        "give one without /"
[[ "${dumpdir}${train_set}${valid_set}${test_sets}" != *,* ]] ||
    die "--dumpdir '${dumpdir}' and the names of sets become parts of ESPnet's FILE,NAME,TYPE;" \
        "give ones without commas"
for name in ${train_set} ${valid_set} ${test_sets}; do
    [[ ${name} != *JOB* ]] ||
        die "the set '${name}' has JOB in its name, which stands for a job's number in commands;" \
            "give it another"
    [[ ${name} != */* ]] ||
        die "the set '${name}' has a / in its name: a set is a directory of data/ itself;" \
            "move it there, or link it under a name without"
done
more="ESPnet's own asr.sh has more (set ESPNET_ROOT)"
check_choice feats_type "raw" "${more}"
check_choice token_type "bpe char word" "${more}"
check_choice audio_format "flac wav flac.ark wav.ark"
check_choice bpemode "unigram bpe"
# All but the first, as in ESPnet's recipes, leave it to the training config.
check_choice feats_normalize "global_mvn utterance_mvn utt_mvn uttmvn none null"
[ "${stage}" -le 13 ] ||
    die "--stage ${stage}: this asr.sh ends with stage 13;" \
        "packing and upload need ESPnet's own (set ESPNET_ROOT)"
if ! "${skip_train}"; then
    { [ -n "${train_set}" ] && [ -n "${valid_set}" ]; } ||
        die "--train_set and --valid_set are required unless --skip_train true"
fi
[ -n "${test_sets}" ] || "${eval_valid_set}" ||
    die "--test_sets is required unless --eval_valid_set true"
if [ -n "${train_set}" ]; then
    [ "${train_set}" != "${valid_set}" ] ||
        die "--train_set and --valid_set are both '${train_set}'"
    ! has_word "${test_sets}" "${train_set}" ||
        die "--test_sets names the training set '${train_set}'"
fi
for file in "${asr_config}" "${lm_config}" "${inference_config}" path.sh cmd.sh local/data.sh; do
    [ -z "${file}" ] || [ -f "${file}" ] ||
        die "found no ${file} in ${PWD}; run in a recipe directory, with its config files"
done
. ./path.sh
. ./cmd.sh
need_package
command -v "${python%% *}" > /dev/null ||
    die "--python names '${python}', which is not on PATH"
for command in "${train_cmd}" "${cuda_cmd}" "${decode_cmd}"; do
    command -v "${command%% *}" > /dev/null || die "cmd.sh names '${command}', which is not on PATH"
done
check_configs asr_config lm_config inference_config
# ESPnet tells a name that it lacks at the first text alone, which is cleaned by stage 5.
[[ ${cleaner}${hyp_cleaner} =~ ^(none)*$ ]] || recipe cleaners "${cleaner}" "${hyp_cleaner}"

# ---- what follows from the options ----
dump=${dumpdir}/${feats_type}
sets=
for name in ${test_sets}; do
    if [ "${name}" = "${valid_set}" ]; then
        # As in ESPnet, it is decoded from dump/raw/org, under org/ of the results.
        eval_valid_set=true
    elif ! has_word "${sets}" "${name}"; then
        sets+="${name} "
    fi
done
test_sets=${sets}
decoded_sets="${test_sets}"
"${eval_valid_set}" && decoded_sets="org/${valid_set} ${test_sets}"
if "${skip_data_prep}"; then skip_stages+=" 1 2 3 4 5"; fi
if "${skip_train}"; then skip_stages+=" 2 4 5 6 7 8 9 10 11"; fi
if ! "${use_lm}"; then skip_stages+=" 6 7 8"; fi
if "${skip_eval}"; then skip_stages+=" 12 13"; fi

check_gpus "${ngpu}" "--ngpu 0" 7 8 11
if "${gpu_inference}"; then check_gpus 1 "--gpu_inference false" 12; fi

original_train_set=${train_set}
train_set=${train_set}${_sp}
token_list=data/${language}token_list/${tokens}/tokens.txt
bpemodel=none
if [ "${token_type}" = bpe ]; then
    token_list=data/${language}token_list/bpe_${bpemode}${nbpe}/tokens.txt
    bpemodel=${token_list%/*}/bpe.model
fi
bpe_train_text=${bpe_train_text:-${dump}/org/${train_set}/text}
lm_train_text=${lm_train_text:-${dump}/org/${train_set}/text}
lm_dev_text=${lm_dev_text:-${dump}/org/${valid_set}/text}
first_test=${test_sets%% *}
first_test=${first_test:-org/${valid_set}}
lm_test_text=${lm_test_text:-${dump}/${first_test}/text}
audio_type=sound
[[ ${audio_format} = *ark ]] && audio_type=kaldi_ark
read -r -a python_cmd <<< "${python}"
read -r -a asr_words <<< "${asr_args}"
read -r -a lm_words <<< "${lm_args}"
read -r -a inference_words <<< "${inference_args}"
read -r -a data_words <<< "${local_data_opts}"
read -r -a score_words <<< "${local_score_opts}"
train_dir=${dump}/${train_set} valid_dir=${dump}/${valid_set}

# Options of ESPnet's commands. Data, shape files and fold lengths are lists: speech, then text.
text_options=(
    --use_preprocessor true
    --bpemodel "${bpemodel}"
    --token_type "${token_type}"
    --token_list "${token_list}"
    --non_linguistic_symbols "${nlsyms_txt}"
    --cleaner "${cleaner}"
    --g2p "${g2p}"
)
lm_options=(
    "${text_options[@]}"
    --train_data_path_and_name_and_type "${dump}/lm_train.txt,text,text"
    --valid_data_path_and_name_and_type "${lm_dev_text},text,text"
    ${lm_config:+--config "${lm_config}"}
)
asr_options=(
    "${text_options[@]}"
    --train_data_path_and_name_and_type "${train_dir}/wav.scp,speech,${audio_type}"
    --train_data_path_and_name_and_type "${train_dir}/text,text,text"
    --valid_data_path_and_name_and_type "${valid_dir}/wav.scp,speech,${audio_type}"
    --valid_data_path_and_name_and_type "${valid_dir}/text,text,text"
    --frontend_conf "fs=${fs}"
    ${asr_config:+--config "${asr_config}"}
)

# Stages 6 to 12 import ESPnet.
if [ "${stop_stage}" -ge 6 ] && [ "${stage}" -le 12 ]; then
    if is_warm "${train_cmd}" && [ "${python}" = python3 ]; then
        start_warm
    fi
fi

# ---- stages ----
if do_stage 1; then
    log "Stage 1: local/data.sh -> data/${original_train_set}, data/${valid_set}, ..."
    hold data
    local/data.sh "${data_words[@]}"
fi

if do_stage 2 && [ -n "${speed_perturb_factors}" ]; then
    source=data/${original_train_set}
    log "Stage 2: ${source} at speeds ${speed_perturb_factors} -> data/${train_set}"
    need 1 "${source}/wav.scp"
    hold data
    recipe perturb "${source}" --factors "${speed_perturb_factors}"
fi

# Stages 3 to 5 read it.
if [ "${stage}" -le 5 ] && [ "${stop_stage}" -ge 3 ]; then
    share data
fi

if do_stage 3; then
    log "Stage 3: data/ -> ${dump}: ${audio_format} at ${fs}"
    sources=() targets=()
    if ! "${skip_train}" || "${eval_valid_set}"; then
        training="${train_set} ${valid_set}"
        "${skip_train}" && training=${valid_set}
        for name in ${training}; do
            sources+=("data/${name}") targets+=("${dump}/org/${name}")
        done
    fi
    for name in ${test_sets}; do
        sources+=("data/${name}") targets+=("${dump}/${name}")
    done
    hold "${dump}"
    recipe format --sources "${sources[*]}" --targets "${targets[*]}" \
        --audio_format "${audio_format}" --fs "${fs}" --nj "${nj}" --text_optional "${test_sets}"
fi

if do_stage 4; then
    seconds="${min_wav_duration} to ${max_wav_duration} s"
    log "Stage 4: ${dump}/org -> ${dump}: utterances of ${seconds} with text"
    options=(
        --sets "${train_set} ${valid_set}"
        --fs "${fs}"
        --min_wav_duration "${min_wav_duration}"
        --max_wav_duration "${max_wav_duration}"
        --lm_train_text "${lm_train_text}"
        ${asr_config:+--asr_config "${asr_config}"}
    )
    hold "${dump}"
    recipe filter "${dump}" "${options[@]}"
fi

if do_stage 5; then
    log "Stage 5: -> ${token_list}"
    texts=${bpe_train_text}
    [ "${token_type}" = bpe ] || texts=${dump}/lm_train.txt
    options=(
        --texts "${texts}"
        --token_type "${token_type}"
        --nlsyms_txt "${nlsyms_txt}"
        --cleaner "${cleaner}"
        --nbpe "${nbpe}"
        --bpemode "${bpemode}"
        --bpe_nlsyms "${bpe_nlsyms}"
        --bpe_input_sentence_size "${bpe_input_sentence_size}"
        --bpe_char_cover "${bpe_char_cover}"
        --blank "${blank}"
        --oov "${oov}"
        --sos_eos "${sos_eos}"
    )
    hold "${token_list%/*}"
    recipe tokens "${token_list}" "${options[@]}"
fi

# From here on they are only read.
share "${dump}" "${token_list%/*}"

if do_stage 6; then
    log "Stage 6: ${dump}/lm_train.txt, ${lm_dev_text} -> ${lm_stats_dir}"
    need 4 "${dump}/lm_train.txt"
    need 5 "${token_list}"
    save_command "${lm_stats_dir}" 6
    hold "${lm_stats_dir}"
    log_dir=${lm_stats_dir}/logdir
    jobs=$(recipe split "${log_dir}" --nj "${nj}" \
        "train=${dump}/lm_train.txt" "dev=${lm_dev_text}")
    options=(
        "${lm_options[@]}"
        --train_shape_file "${log_dir}/train.JOB.scp"
        --valid_shape_file "${log_dir}/dev.JOB.scp"
        "${lm_words[@]}"
    )
    collect "${lm_stats_dir}" "${jobs}" espnet2.bin.lm_train "${options[@]}"
fi

if do_stage 7; then
    log "Stage 7: LM training -> ${lm_exp}; log: ${lm_exp}/train.log"
    need 4 "${dump}/lm_train.txt"
    need 5 "${token_list}"
    need 6 "${lm_stats_dir}"/{train,valid}/"text_shape.${token_type}"
    share "${lm_stats_dir}"
    save_command "${lm_exp}" 7
    options=(
        "${lm_options[@]}"
        --train_shape_file "${lm_stats_dir}/train/text_shape.${token_type}"
        --valid_shape_file "${lm_stats_dir}/valid/text_shape.${token_type}"
        --fold_length "${lm_fold_length}"
        --resume true
        --output_dir "${lm_exp}"
        "${lm_words[@]}"
    )
    train "${lm_exp}" lm "${options[@]}"
fi

if do_stage 8; then
    log "Stage 8: perplexity of ${lm_test_text} -> ${lm_exp}/perplexity_test"
    need 7 "${lm_exp}/${inference_lm}"
    [ -s "${lm_test_text}" ] ||
        die "stage 8 needs ${lm_test_text}, but it is missing or empty; run stage 3 first," \
            "or give --lm_test_text, or --skip_stages 8 where no test set has transcripts"
    options=(
        --ngpu "${ngpu}"
        --data_path_and_name_and_type "${lm_test_text},text,text"
        --train_config "${lm_exp}/config.yaml"
        --model_file "${lm_exp}/${inference_lm}"
        --output_dir "${lm_exp}/perplexity_test"
    )
    ${cuda_cmd} --gpu "${ngpu}" "${lm_exp}/perplexity_test/lm_calc_perplexity.log" \
        "${python_cmd[@]}" -m espnet2.bin.lm_calc_perplexity "${options[@]}"
    log "perplexity: $(< "${lm_exp}/perplexity_test/ppl")"
fi

if do_stage 10; then
    log "Stage 10: ${train_dir}, ${valid_dir} -> ${asr_stats_dir}"
    need 4 "${train_dir}/wav.scp" "${valid_dir}/wav.scp"
    need 5 "${token_list}"
    save_command "${asr_stats_dir}" 10
    hold "${asr_stats_dir}"
    log_dir=${asr_stats_dir}/logdir
    jobs=$(recipe split "${log_dir}" --nj "${nj}" \
        "train=${train_dir}/wav.scp" "valid=${valid_dir}/wav.scp")
    options=(
        "${asr_options[@]}"
        --train_shape_file "${log_dir}/train.JOB.scp"
        --valid_shape_file "${log_dir}/valid.JOB.scp"
        "${asr_words[@]}"
    )
    collect "${asr_stats_dir}" "${jobs}" espnet2.bin.asr_train "${options[@]}"
fi

if do_stage 11; then
    log "Stage 11: ASR training -> ${asr_exp}; log: ${asr_exp}/train.log"
    need 4 {"${train_dir}","${valid_dir}"}/{wav.scp,text}
    need 5 "${token_list}"
    need 10 "${asr_stats_dir}"/{train,valid}/{speech_shape,"text_shape.${token_type}"}
    share "${asr_stats_dir}"
    save_command "${asr_exp}" 11
    options=(
        "${asr_options[@]}"
        --train_shape_file "${asr_stats_dir}/train/speech_shape"
        --train_shape_file "${asr_stats_dir}/train/text_shape.${token_type}"
        --valid_shape_file "${asr_stats_dir}/valid/speech_shape"
        --valid_shape_file "${asr_stats_dir}/valid/text_shape.${token_type}"
        --fold_length "$((asr_speech_fold_length * 100))"
        --fold_length "${asr_text_fold_length}"
        --ignore_init_mismatch "${ignore_init_mismatch}"
        ${pretrained_model:+--init_param "${pretrained_model}"}
        --resume true
        --output_dir "${asr_exp}"
    )
    if [ "${feats_normalize}" = global_mvn ]; then
        options+=(
            --normalize global_mvn
            --normalize_conf "stats_file=${asr_stats_dir}/train/feats_stats.npz"
        )
    fi
    train "${asr_exp}" asr "${options[@]}" "${asr_words[@]}"
fi

results=${asr_exp}/${inference_tag}
if do_stage 12; then
    log "Stage 12: decoding ${decoded_sets}-> ${results}"
    need 11 "${asr_exp}/config.yaml"
    need_model "${asr_exp}" "${inference_asr_model}" inference_asr_model 11
    save_command "${results}" 12
    decode_gpus=0
    if "${gpu_inference}"; then decode_cmd=${cuda_cmd} decode_gpus=1; fi
    model_options=(
        --ngpu "${decode_gpus}"
        --batch_size "${batch_size}"
        --asr_train_config "${asr_exp}/config.yaml"
        --asr_model_file "${asr_exp}/${inference_asr_model}"
        ${inference_config:+--config "${inference_config}"}
    )
    if "${use_lm}"; then
        need 7 "${lm_exp}/config.yaml"
        need_model "${lm_exp}" "${inference_lm}" inference_lm 7
        model_options+=(
            --lm_train_config "${lm_exp}/config.yaml"
            --lm_file "${lm_exp}/${inference_lm}"
        )
    fi
    data=()
    for name in ${decoded_sets}; do
        need 3 "${dump}/${name}/wav.scp"
        data+=("${dump}/${name}")
    done
    recipe lengths "${asr_exp}/config.yaml" --data "${data[*]}"
    for name in ${decoded_sets}; do
        hold "${results}/${name}"
        log_dir=${results}/${name}/logdir
        used_config=${results}/${name}/inference_config.yaml
        rm -rf "${log_dir}" "${used_config}"
        jobs=$(recipe split "${log_dir}" "keys=${dump}/${name}/wav.scp" --nj "${inference_nj}")
        options=(
            "${model_options[@]}"
            --data_path_and_name_and_type "${dump}/${name}/wav.scp,speech,${audio_type}"
            --key_file "${log_dir}/keys.JOB.scp"
            --output_dir "${log_dir}/output.JOB"
            "${inference_words[@]}"
        )
        ${decode_cmd} --gpu "${decode_gpus}" "JOB=1:${jobs}" "${log_dir}/asr_inference.JOB.log" \
            "${python_cmd[@]}" -m espnet2.bin.asr_inference "${options[@]}" ||
            die "decoding failed; see ${log_dir}/asr_inference.*.log"
        recipe join "${results}/${name}"
        # Results tell by it whether all were decoded alike.
        [ -z "${inference_config}" ] || cp "${inference_config}" "${used_config}"
    done
fi

if do_stage 13; then
    log "Stage 13: scoring ${decoded_sets}-> ${asr_exp}/RESULTS.md"
    data=() decoded=()
    for name in ${decoded_sets}; do
        need 12 "${results}/${name}/text"
        data+=("${dump}/${name}") decoded+=("${results}/${name}")
    done
    options=(
        --data "${data[*]}"
        --decoded "${decoded[*]}"
        --nlsyms_txt "${nlsyms_txt}"
        --cleaner "${cleaner}"
        --hyp_cleaner "${hyp_cleaner}"
        --bpemodel "${bpemodel}"
        "--score_opts=${score_opts}"
    )
    hold "${decoded[@]}"
    scores=$(recipe score "${options[@]}")
fi

# Without transcripts there is no table either.
if do_stage 13 && [ "${scores}" -gt 0 ]; then
    if [ -f local/score.sh ]; then
        local/score.sh "${score_words[@]}" "${asr_exp}"
    fi
    case_words=()
    [[ "${score_opts}" != *-s* ]] || case_words+=(--case_sensitive)
    table=${asr_exp}/RESULTS.md
    # Under one name in what is held: a script that is killed here leaves it to the next.
    python3 -m espnet_topdown results "${asr_exp}" "${case_words[@]}" > "${results}/RESULTS.md.tmp"
    mv "${results}/RESULTS.md.tmp" "${table}"
    cat "${table}"
fi

log "Stages ${stage} to ${stop_stage}: done in ${SECONDS} s"
