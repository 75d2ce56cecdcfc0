# shellcheck shell=bash
# Sourced by the scripts of this directory: log lines, options, and the process that imports ESPnet once for all stages.
# A script's options are the assignments between its lines "# == options" and "# == end of options"; --help prints them.

log() {
    echo "$(date '+%Y-%m-%dT%H:%M:%S') (${0##*/}) $*"
}

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

option_block() {
    sed -n '/^# == options/,/^# == end of options/p' "$1"
}

show_help() {
    sed -n '2,/^$/{/^$/d; s/^# \{0,1\}//; p}' "$1"
    echo
    option_block "$1" | sed -n -e 's/^# -- /\n/p' -e 's/^\([a-z0-9_]*\)=\([^#]*[^# ]\)\{0,1\} *# \(.*\)/  --\1 (\2)  \3/p'
}

# parse_options SCRIPT "$@": sets the options of SCRIPT's block; others go to unknown_option NAME VALUE.
parse_options() {
    local script=$1 name value known
    shift
    known=" $(option_block "${script}" | sed -n 's/^\([a-z0-9_]*\)=.*/\1/p' | tr '\n' ' ')"
    while [ $# -gt 0 ]; do
        case "$1" in
            -h | --help) show_help "${script}" && exit 0 ;;
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
            --*) ;;
            *) die "found the argument '$1' where an option was expected; quote values with spaces, and see --help" ;;
        esac
        [ $# -ge 2 ] || die "option $1 has no value; see --help"
        name=${1#--} name=${name//-/_} value=$2
        shift 2
        if [[ ${known} != *" ${name} "* ]]; then
            unknown_option "${name}" "${value}" "${known}"
            continue
        fi
        case "${!name}" in
            true | false) [[ ${value} =~ ^(true|false)$ ]] || die "--${name} is true or false, not '${value}'" ;;
            *[!0-9]* | '') ;;
            *) [[ ${value} =~ ^[0-9]+(\.[0-9]+)?$ ]] || die "--${name} is a number, not '${value}'" ;;
        esac
        printf -v "${name}" '%s' "${value}"
    done
}

nearest_option() {
    python3 -c 'import difflib, sys; print(*("--" + n for n in difflib.get_close_matches(sys.argv[1], sys.argv[2].split())))' "$@"
}

# The warm process ends with this script; ESPNET_TOPDOWN_WARM names its socket (see espnet_topdown/warm.py).
start_warm() {
    [ -z "${ESPNET_TOPDOWN_WARM:-}" ] || return 0
    warm_dir=$(mktemp -d)
    export ESPNET_TOPDOWN_WARM=${warm_dir}/socket
    python3 -m espnet_topdown.warm_server "${ESPNET_TOPDOWN_WARM}" &
    warm_pid=$!
    trap 'kill "${warm_pid}" 2>/dev/null || true; rm -rf "${warm_dir}"' EXIT
}
