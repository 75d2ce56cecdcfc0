# shellcheck shell=bash
# Sourced by asr.sh, topdown.sh and lm.sh: log lines, options, stages, the stages of a cascade (17
# to 20), and the process that imports ESPnet once for all stages.
# A script's options are the assignments between its lines "# == options" and "# == end of options".
# shellcheck disable=SC2154 # the options are assigned by the script that sources this

log() {
    echo "$(date '+%Y-%m-%dT%H:%M:%S') (${0##*/}) $*"
}

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Of scripts that call one another, the outermost tells of Ctrl-C, which ends them all.
is_inner=${ESPNET_TOPDOWN_SCRIPT:-}
export ESPNET_TOPDOWN_SCRIPT=yes

# What Ctrl-C has ended is told as that, and not as the failure of a stage.
interrupted() {
    trap - INT
    [ -n "${is_inner}" ] || echo "interrupted; the same command goes on" >&2
    exit 130
}
trap interrupted INT

has_word() {
    [[ " $1 " == *" $2 "* ]]
}

# ---- options ----

option_block() {
    sed -n '/^# == options/,/^# == end of options/p' "$1"
}

# show_help SCRIPT: the comment at its top, then the options with their defaults.
show_help() {
    local group='s/^# -- /\n/p'
    local option='s/^\([a-z0-9_]*\)=\([^#]*[^# ]\)\{0,1\} *# \(.*\)/  --\1 (\2)  \3/p'
    sed -n '2,/^$/{/^$/d; s/^# \{0,1\}//; p}' "$1"
    echo
    option_block "$1" | sed -n -e "${group}" -e "${option}"
}

# parse_options SCRIPT "$@": sets the options of SCRIPT's block.
# Any other option goes to unknown_option NAME VALUE KNOWN_NAMES, a function of the script.
parse_options() {
    local script=$1 name value known
    shift
    known=" $(option_block "${script}" | sed -n 's/^\([a-z0-9_]*\)=.*/\1/p' | tr '\n' ' ')"
    while [ $# -gt 0 ]; do
        case "$1" in
            -h | --help) show_help "${script}" && exit 0 ;;
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
            --*) ;;
            *)
                die "found the argument '$1' where an option was expected;" \
                    "quote values with spaces, and see --help"
                ;;
        esac
        [ $# -ge 2 ] || die "option $1 has no value; see --help"
        name=${1#--} name=${name//-/_} value=$2
        shift 2
        if [[ ${known} != *" ${name} "* ]]; then
            unknown_option "${name}" "${value}" "${known}"
            continue
        fi
        check_type "${name}" "${value}"
        # An option of several words may stand on several lines.
        printf -v "${name}" '%s' "${value//$'\n'/ }"
    done
}

# check_type NAME VALUE: true or false where the option's default is one, a number where it is one.
check_type() {
    local default=${!1} value=$2
    case "${default}" in
        true | false)
            [[ ${value} =~ ^(true|false)$ ]] || die "--$1 is true or false, not '${value}'"
            ;;
        *[!0-9]* | '') ;;
        *) [[ ${value} =~ ^[0-9]+(\.[0-9]+)?$ ]] || die "--$1 is a number, not '${value}'" ;;
    esac
}

# nearest WORD WORDS: up to three of the latter that are spelled like it.
nearest() {
    python3 - "$@" << 'END'
import difflib
import sys

# A word may stand there twice: an option of two scripts.
print(*difflib.get_close_matches(sys.argv[1], dict.fromkeys(sys.argv[2].split())))
END
}

# nearest_option NAME KNOWN_NAMES: "; near it: --A --B", or nothing where none is spelled like it.
nearest_option() {
    local near
    near=$(nearest "$1" "$2")
    [ -z "${near}" ] || echo "; near it: --${near// / --}"
}

# check_choice NAME "VALUES" [ELSE]: the option has one of the values; ELSE is what else can be
# done.
check_choice() {
    local value=${!1} near
    [[ ${value} != *[[:space:]]* ]] && has_word "$2" "${value}" && return
    near=$(nearest "${value}" "$2")
    die "--$1 is '${value}'; valid: ${2// /, }${near:+; near it: ${near// /, }}${3:+; $3}"
}

# ---- stages ----

# do_stage N: whether stage N is to be run. Messages of need name the stage asked for last.
do_stage() {
    at=$1
    [ "${stage}" -le "${at}" ] || return 1
    [ "${stop_stage}" -ge "${at}" ] || return 1
    ! has_word "${skip_stages:-}" "${at}"
}

# need STAGE FILE...: refuses to go on without what an earlier stage writes.
need() {
    local file
    for file in "${@:2}"; do
        [ -s "${file}" ] ||
            die "stage ${at} needs ${file}, but it is missing or empty; run stage $1 first"
    done
}

# need_package: refuses to go on where path.sh leaves a python3 without this package.
need_package() {
    local cure="install it there (pip install), since path.sh chose that Python"
    python3 -c "import espnet_topdown" 2> /dev/null && return
    [ -n "${ESPNET_ROOT:-}" ] ||
        cure="activate an environment that has it (that of make: source .venv-3.X/bin/activate)"
    die "$(command -v python3) has no espnet_topdown; ${cure}"
}

# check_gpus COUNT OPTION STAGE...: refuses to begin where one of the stages is to compute on COUNT
# GPUs of this machine and they are not there; OPTION would do without.
check_gpus() {
    local number
    [ "$1" -gt 0 ] || return 0
    # run.pl is Kaldi's for this machine.
    is_warm "${cuda_cmd}" || [ "$(basename "${cuda_cmd%% *}")" = run.pl ] || return 0
    for number in "${@:3}"; do
        do_stage "${number}" || continue
        python3 -m espnet_topdown.recipe gpus --ngpu "$1" --cure="$2" || exit 1
        return 0
    done
}

# check_configs OPTION...: refuses to begin where the file of an option is of another kind.
check_configs() {
    local name words=()
    for name in "$@"; do
        [ -z "${!name}" ] || words+=("--${name}" "${!name}")
    done
    [ "${#words[@]}" = 0 ] || python3 -m espnet_topdown.recipe configs "${words[@]}" || exit 1
}

# The descriptors of the locks that this script and what it starts have, by directory.
declare -A locks=()

# hold DIR...: keeps the directories for this script until its end. Whoever uses one, be it what a
# killed script left running, is waited for, since two writers would spoil both.
hold() {
    lock --exclusive "$@"
}

# share DIR...: keeps writers out of directories that this script only reads from now on, beside
# other readers. Nobody is kept from reading where there is no lock and none can be made, nor out of
# anything where the file system knows no locks.
share() {
    lock --shared "$@"
}

# open_lock FILE: sets `descriptor`. Another user's can only be read, which is enough for flock.
open_lock() {
    { exec {descriptor}>> "$1" || exec {descriptor}< "$1"; } 2> /dev/null
}

lock() {
    local mode=$1 directory descriptor status
    command -v flock > /dev/null || return 0
    for directory in "${@:2}"; do
        [ "${mode}" = --shared ] || mkdir -p "${directory}"
        descriptor=${locks["${directory}"]:-}
        if [ -z "${descriptor}" ]; then
            if ! open_lock "${directory}/.lock"; then
                [ "${mode}" = --shared ] ||
                    die "cannot write to ${directory}: its .lock can neither be written nor read;" \
                        "have it made readable (chmod a+r), or take another directory"
                continue
            fi
            locks["${directory}"]=${descriptor}
        fi
        status=0
        flock "${mode}" --nonblock "${descriptor}" 2> /dev/null || status=$?
        # 1: another has it. Others are of a file system without locks (ENOLCK, ENOSYS).
        [ "${status}" = 1 ] || continue
        log "${directory} is in use by another run; waiting for it"
        flock "${mode}" "${descriptor}"
    done
}

# ---- the cascade ----
# Reads the options topdown_plan, topdown_dir, phase, decode and jobs, and from the script
#   python_cmd       what runs Python
#   launch_options   how the training of a phase is launched, besides cuda_cmd of cmd.sh
#   measure_phases   decodes and scores the phases in topdown_dir, or takes their perplexities

# check_whole NAME...: these options are whole numbers, without a 0 before them, which would make
# arithmetic take 08 for an octal number.
check_whole() {
    local name
    for name in "$@"; do
        [[ ${!name} =~ ^(0|[1-9][0-9]{0,8})$ ]] ||
            die "--${name} is a whole number, not '${!name}'"
    done
}

# check_stages: whether there is a stage to run.
check_stages() {
    check_whole stage stop_stage ngpu jobs
    if [ "${stage}" -gt "${stop_stage}" ] || [ "${stage}" -gt 20 ]; then
        die "nothing to do: --stage ${stage} --stop_stage ${stop_stage}; stages are 1 to 20"
    fi
    [ "${jobs}" -ge 1 ] || die "--jobs is the number of phases at a time, at least 1, not '${jobs}'"
}

# check_cascade LAST: refuses bad options; without a plan the script can run to its stage LAST.
check_cascade() {
    check_choice decode "best all"
    [ "${stop_stage}" -ge 17 ] || return 0
    [ -f "${topdown_plan}" ] ||
        die "stages 17 to 20 need a plan: --topdown_plan is '${topdown_plan}', which is no file;" \
            "found: $(echo conf/topdown/*.yaml); or give --stop_stage $1"
}

topdown() {
    "${python_cmd[@]}" -m espnet_topdown "$@"
}

# cascade_stages EXP TRAINED MEASURED: stages 17 to 20 on the base EXP, which stage TRAINED makes;
# MEASURED is what stage 19 logs.
cascade_stages() {
    local exp=$1 trained=$2 measured=$3 plan_name
    plan_name=$(basename "${topdown_plan:-none}" .yaml)
    topdown_dir=${topdown_dir:-${exp}_topdown_${plan_name}}

    if do_stage 17; then
        log "Stage 17: ${exp}, ${topdown_plan} -> layers and phases"
        need "${trained}" "${exp}/config.yaml"
        topdown plan "${exp}" --plan "${topdown_plan}" --jobs "${jobs}"
    fi

    if do_stage 18; then
        log "Stage 18: ${exp}, ${topdown_plan} -> ${topdown_dir}"
        need "${trained}" "${exp}/config.yaml"
        is_warm "${cuda_cmd}" || launch_options+=(--cmd "${cuda_cmd}")
        launch_options+=(--jobs "${jobs}" ${phase:+--phase "${phase}"})
        topdown run "${exp}" --plan "${topdown_plan}" --dir "${topdown_dir}" "${launch_options[@]}"
    fi

    if do_stage 19; then
        log "Stage 19: ${topdown_dir} -> its phases ${measured} (${decode})"
        need 18 "${topdown_dir}/cascade.json"
        measure_phases
    fi

    if do_stage 20; then
        log "Stage 20: ${topdown_dir} -> tables and plots"
        need 18 "${topdown_dir}/cascade.json"
        topdown results "${topdown_dir}"
    fi
}

# ---- one process for all stages ----

is_warm() {
    [[ $1 == *espnet_topdown.warm* ]]
}

# start_warm: the process ends with this script; espnet_topdown/warm/client.py sends commands to the
# socket that ESPNET_TOPDOWN_WARM names.
start_warm() {
    [ -z "${ESPNET_TOPDOWN_WARM:-}" ] || return 0
    local script=${BASHPID}
    warm_dir=$(mktemp -d)
    export ESPNET_TOPDOWN_WARM=${warm_dir}/socket
    python3 -m espnet_topdown.warm.server "${ESPNET_TOPDOWN_WARM}" "${script}" &
    warm_pid=$!
    # An exit that waits: its children, which may hold directories, end before it does.
    trap 'kill "${warm_pid}" 2>/dev/null || true; wait; rm -rf "${warm_dir}"' EXIT
}
