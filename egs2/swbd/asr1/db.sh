# shellcheck shell=bash
# Where the corpora are: the parent directory of LDC97S62, LDC2002S09, LDC2002T43 and, if you have
# them, LDC2004T19 and LDC2005T19 (Fisher). Sourced by local/data.sh.
SWBD=${SWBD:-}
