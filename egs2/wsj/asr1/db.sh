# shellcheck shell=bash
# Where the corpora are: each directory holds the discs, such as 11-13.1 and 13-34.1. Sourced by
# local/data.sh.
WSJ0=${WSJ0:-}    # LDC93S6B (or LDC93S6A)
WSJ1=${WSJ1:-}    # LDC94S13B (or LDC94S13A)
