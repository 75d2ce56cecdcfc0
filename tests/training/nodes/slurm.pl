#!/bin/sh
# Kaldi's slurm.pl as far as ESPnet's launcher calls it: runs the command here.
# slurm.pl --gpu N --num_threads N --num_nodes N LOG COMMAND...
while [ "${1#--}" != "$1" ]; do
    shift 2
done
log=$1
shift
exec "$@" > "${log}" 2>&1
