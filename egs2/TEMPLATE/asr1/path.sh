# shellcheck shell=bash
# Sourced in a recipe directory by its scripts. ESPNET_ROOT, where set, is an ESPnet checkout whose
# asr.sh is to be used.

export LC_ALL=C
export PYTHONIOENCODING=UTF-8
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

if [ -n "${ESPNET_ROOT:-}" ]; then
    MAIN_ROOT=${ESPNET_ROOT}
    export PATH=${PWD}/utils:${PATH}
    if [ -f "${MAIN_ROOT}/tools/activate_python.sh" ]; then
        # shellcheck source=/dev/null
        . "${MAIN_ROOT}/tools/activate_python.sh"
    fi
    # shellcheck source=/dev/null
    . "${MAIN_ROOT}/tools/extra_path.sh"
fi
# The Debian package sctk keeps sclite here; only a checkout's asr.sh calls it.
if [ -d /usr/lib/sctk/bin ]; then
    export PATH=${PATH}:/usr/lib/sctk/bin
fi
