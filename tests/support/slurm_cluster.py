"""A Slurm of this machine for tests: some nodes, each with fake GPUs, and accounting.

Everything lives in one folder and listens on the loopback device; needs root and the Debian
packages slurm-wlm, slurmdbd, munge and mariadb-server.
"""

import contextlib
import os
import pathlib
import random
import secrets
import shutil
import socket
import subprocess
import time

PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch")
CPUS, GPUS = 2, 2  # of each node
PATIENCE = 30.0  # seconds for each part to come up
SLURM = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
SwitchType=switch/none
MpiDefault=none
PropagateResourceLimits=NONE
ReturnToService=2
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,bf_interval=1,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
KillWait=30
MinJobAge=3600
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={database_port}
AccountingStoragePass={folder}/munge.socket
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port={first}-{last} \
CPUs={cpus} RealMemory=4000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
DATABASE = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={database_port}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=accounting
"""


def missing():
    """Return what keeps a cluster from starting here, or nothing."""
    if os.geteuid() != 0:
        return "not root"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def free_ports(count):
    """Return the first of so many ports in a row that nothing listens on."""
    while True:
        first = random.randrange(20000, 30000)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                one = stack.enter_context(socket.socket())
                one.bind(("127.0.0.1", port))
            return first


def wait_until(condition, what):
    """Return once a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come up in {PATIENCE:.0f} s")
        time.sleep(0.1)


@contextlib.contextmanager
def cluster(folder, nodes=4):
    """Start a cluster in a folder with a short path; SLURM_CONF names it while it is there.

    Args:
      folder: pathlib.Path, empty.
      nodes: how many, n1 …
    """
    port = free_ports(nodes + 2)
    values = {
        "host": socket.gethostname().partition(".")[0],
        "folder": folder,
        "port": port,
        "database_port": port + 1,
        "first": port + 2,
        "last": port + 1 + nodes,
        "nodes": nodes,
        "cpus": CPUS,
        "gpus": GPUS,
    }
    (folder / "state").mkdir()
    folder.chmod(0o755)
    for number in range(GPUS):  # Slurm takes devices only: these are /dev/null's
        os.mknod(folder / f"gpu{number}", 0o020666, os.makedev(1, 3))
    (folder / "slurm.conf").write_text(SLURM.format(**values))
    (folder / "slurmdbd.conf").write_text(DATABASE.format(**values))
    (folder / "slurmdbd.conf").chmod(0o600)
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-{GPUS - 1}]\n")
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    names = "".join(f"127.0.0.1 n{number}\n" for number in range(1, nodes + 1))
    (folder / "hosts").write_text(pathlib.Path("/etc/hosts").read_text() + names)
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge.key").chmod(0o600)
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        with contextlib.ExitStack() as stack:
            _start(stack, folder, nodes)
            yield
            subprocess.run(["scancel", "--user=root", "--quiet"], timeout=20)
    finally:
        del os.environ["SLURM_CONF"]
        if before is not None:
            os.environ["SLURM_CONF"] = before


def _start(stack, folder, nodes):
    """Start the daemons, in the foreground, as children that end with the stack."""

    def start(*command, **more):
        log = stack.enter_context((folder / f"{command[0]}.log").open("ab"))
        environment = os.environ | more
        child = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        stack.callback(_end, child)

    def answers(*command):
        return subprocess.run(command, capture_output=True).returncode == 0

    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log"}
    paths = [f"--{flag}={folder}/munge.{name}" for flag, name in files.items()]
    start("munged", "--foreground", "--force", *paths, f"--seed-file={folder}/munge.seed")
    wait_until((folder / "munge.socket").exists, "munged")

    data, database = folder / "mysql", folder / "mysql.socket"
    subprocess.run(
        [
            *("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}"),
            *("--auth-root-authentication-method=socket", "--skip-test-db"),
        ],
        check=True,
        capture_output=True,
    )
    start("mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={database}",
          "--skip-networking", "--innodb-lock-wait-timeout=900")  # fmt: skip
    ping = ("mariadb-admin", "--no-defaults", f"--socket={database}", "ping")
    wait_until(lambda: answers(*ping), "mariadbd")

    start("slurmdbd", "-D", MYSQL_UNIX_PORT=str(database))
    wait_until(lambda: answers("sacctmgr", "--noheader", "list", "cluster"), "slurmdbd")
    add = ["sacctmgr", "--immediate", "--quiet", "add", "cluster", "tests"]
    subprocess.run(add, capture_output=True)
    start("slurmctld", "-D", "-c")
    # Processes of several nodes find each other by the nodes' names: jobs see hosts of their own.
    mounted = 'mount --bind "$0/hosts" /etc/hosts && exec slurmd -D -N "$1"'
    for number in range(1, nodes + 1):
        start("unshare", "--mount", "--propagation=private",
              *("sh", "-c", mounted, str(folder), f"n{number}"))  # fmt: skip

    def idle():
        command = ["sinfo", "--noheader", "--Node", "--format=%t"]
        return subprocess.run(command, capture_output=True, text=True).stdout.split()

    wait_until(lambda: idle() == ["idle"] * nodes, "the nodes")


def _end(child):
    """End a daemon."""
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
