#!/bin/bash
# A real Slurm on this one machine, without systemd: `engine_slurm.sh start FOLDER [NODES]`, `engine_slurm.sh stop FOLDER`.
# Needs Debian's slurm-wlm and munge, and root. Nodes are further slurmd processes of this machine (--enable-multiple-slurmd).
set -eu
action=$1; folder=$(realpath -m "$2"); nodes=${3:-2}
export SLURM_CONF=$folder/slurm.conf
daemons() { cat "$folder"/*.pid 2>/dev/null || true; }

start() {
  mkdir -p "$folder/state" "$folder"/spool; host=$(hostname -s)
  dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none; chmod 600 "$folder/munge.key"
  munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
  cat > "$SLURM_CONF" <<CONF
ClusterName=haymaker
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,batch_sched_delay=0
StateSaveLocation=$folder/state
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmctldPort=16817
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmdLogFile=$folder/slurmd.%n.log
SlurmdSpoolDir=$folder/spool/%n
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobRequeue=1
KillWait=5
MinJobAge=300
ReturnToService=2
CONF
  for i in $(seq 1 "$nodes"); do
    echo "NodeName=node$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((17000 + i)) CPUs=1 RealMemory=8000" >> "$SLURM_CONF"
  done
  echo "PartitionName=cells Nodes=node[1-$nodes] Default=YES MaxTime=INFINITE State=UP" >> "$SLURM_CONF"
  slurmctld
  for i in $(seq 1 "$nodes"); do slurmd -N "node$i"; done
  for _ in $(seq 1 30); do sinfo -h -o %T 2>/dev/null | grep -q idle && break; sleep 1; done
  sinfo; echo "export SLURM_CONF=$SLURM_CONF"
}

stop() { for pid in $(daemons); do kill "$pid" 2>/dev/null || true; done; }
"$action"
