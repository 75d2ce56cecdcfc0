# shellcheck shell=bash
# How jobs are submitted: each command is called as  CMD [--gpu N] [JOB=1:N] LOG COMMAND...
# local: this machine. For a cluster, set cmd_backend and have Kaldi's slurm.pl, queue.pl or pbs.pl
# on PATH (an ESPnet checkout has them in egs2/TEMPLATE/asr1/utils). They take partitions, queues
# and limits from conf/slurm.conf, conf/queue.conf or conf/pbs.conf, which is yours to edit.
cmd_backend=${cmd_backend:-local}

case "${cmd_backend}" in
    local)
        train_cmd="python3 -m espnet_topdown.warm"
        if [ -n "${ESPNET_ROOT:-}" ]; then
            train_cmd="run.pl"
        fi
        ;;
    slurm) train_cmd="slurm.pl" ;;
    sge) train_cmd="queue.pl" ;;
    pbs) train_cmd="pbs.pl" ;;
    *)
        echo "cmd.sh: cmd_backend is '${cmd_backend}'; valid: local, slurm, sge, pbs" >&2
        exit 1
        ;;
esac
export train_cmd              # data preparation and statistics
export cuda_cmd=${train_cmd}  # training, and decoding with --gpu_inference true
export decode_cmd=${train_cmd}
