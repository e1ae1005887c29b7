"""How `longtake run` ends when a part of its Ray cluster is killed, and that the same command resumes.

    .venv/bin/python tests/bench/cluster_faults.py [local|raylet|head|node|terminal ...]

Starts the processes of a small cluster with `ray start`, runs a sweep of the pocket world on it, kills one process by
its id while samplers work, starts the cluster again, as a supervisor would, and runs the same command.

local      the raylet of a Ray that the run started itself
raylet     the raylet of the head's node, after which `ray start` takes the whole node down
head       the head's server (GCS)
node       the raylet of a second node, without which the run goes on
terminal   none: the terminal of a run on its own Ray closes, and the takes at work are completed before it ends

Prints the exit codes and the seconds from the kill to the end; ends with 1 if a code is another one.
"""

from __future__ import annotations

import os
import pty
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from longtake.platform.store.sweep import SweepStore

SWEEP = """
name: faults
backbones: [pocket]
methods: [native]
lengths_s: [30]
prompts: {file: prompts/pocket.txt, limit: 3}
seeds: [0, 1]
output: OUTPUT
tracking: {uri: disabled}
workers: {cluster: "ADDRESS", samplers: 2, evaluators: 1, batch: 1}
"""
EXPECTED = {"local": 75, "raylet": 75, "head": 75, "node": 0, "terminal": 75}
LIMIT_SECONDS = 240.0


class Started:
    """A node of a cluster: `ray start --block` and all processes that it starts."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *options]
        environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_DASHBOARD_LOG_INFO": "1"}
        self.log = folder / f"ray-{time.monotonic_ns()}.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        self.processes = [psutil.Process(self.process.pid)]

    def pids(self, name: str) -> list[int]:
        self.processes += [p for p in self.processes[0].children(recursive=True) if p not in self.processes]
        return [p.pid for p in self.processes if p.is_running() and p.name() == name]

    def wait_for(self, name: str) -> int:
        deadline = time.monotonic() + 60
        while not self.pids(name):
            assert time.monotonic() < deadline, f"no {name} after 60 s: {self.log.read_text()[-2000:]}"
            time.sleep(0.2)
        return self.pids(name)[0]

    def stop(self) -> None:
        self.pids("")
        for process in reversed(self.processes):
            if process.is_running():
                process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_cluster(folder: Path, port: int, nodes: int) -> list[Started]:
    cpus = f"--num-cpus={2 // nodes}"
    head = Started(folder, cpus, "--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false")
    head.wait_for("raylet")
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < deadline, "the head does not listen"
            time.sleep(0.2)
    others = [Started(folder, cpus, f"--address=127.0.0.1:{port}") for _ in range(nodes - 1)]
    for other in others:
        other.wait_for("raylet")
    time.sleep(5)  # until the nodes have registered
    return [head, *others]


def start_run(folder: Path, sweep: Path) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("longtake")), "run", str(sweep)]
    with (folder / "run.log").open("a") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True)


def wait_until_sampling(store: SweepStore, run: subprocess.Popen[str]) -> None:
    """Until a take is done and two more are being generated."""
    while run.poll() is None:
        progress = store.progress() or {}
        if progress.get("made", 0) >= 1 and len(at_work(progress)) == 2:
            return
        time.sleep(0.2)


def at_work(progress: dict[str, Any]) -> list[str]:
    """The samplers that have finished a block of their take."""
    running = progress.get("running", [])
    return [one["worker"] for one in running if one["group"] == "samplers" and one["report"].get("done")]


def close_terminal() -> bool:
    """The terminal of a run on a Ray of its own closes: both takes at work are completed before it ends."""
    folder = Path(tempfile.mkdtemp(prefix="lt"))
    sweep = folder / "faults.yaml"
    text = SWEEP.replace("OUTPUT", str(folder / "runs")).replace('"ADDRESS"', "local, drain_seconds: 120")
    sweep.write_text(text)
    store = SweepStore(folder / "runs", "faults")
    try:
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(Path(sys.executable).with_name("longtake"), ["longtake", "run", str(sweep)])
        progress: dict[str, Any] = {}
        while progress.get("made", 0) < 1 or len(at_work(progress)) < 2:
            if select.select([terminal], [], [], 0.2)[0]:
                os.read(terminal, 65536)
            progress = store.progress() or {}
        made, expected = progress["made"], progress["made"] + len(at_work(progress))
        os.close(terminal)
        closed = time.monotonic()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        seconds, done = time.monotonic() - closed, len(store.done_ids())
        print(f"terminal: exit {code} after {seconds:.1f} s, {made} of 6 takes made before, {done} after")
        return code == EXPECTED["terminal"] and done >= expected
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def victim(fault: str, run: subprocess.Popen[str], cluster: list[Started]) -> int:
    """The id of the process to kill."""
    if fault == "local":
        return next(p.pid for p in psutil.Process(run.pid).children(recursive=True) if p.name() == "raylet")
    return cluster[fault == "node"].wait_for("gcs_server" if fault == "head" else "raylet")


def measure(fault: str) -> bool:
    if fault == "terminal":
        return close_terminal()
    nodes = {"local": 0, "node": 2}.get(fault, 1)
    folder, port = Path(tempfile.mkdtemp(prefix="lt")), free_port()
    sweep = folder / "faults.yaml"
    address = "local" if fault == "local" else f"127.0.0.1:{port}"
    sweep.write_text(SWEEP.replace("OUTPUT", str(folder / "runs")).replace("ADDRESS", address))
    store = SweepStore(folder / "runs", "faults")
    cluster: list[Started] = []
    try:
        cluster = start_cluster(folder, port, nodes) if nodes else []
        run = start_run(folder, sweep)
        wait_until_sampling(store, run)
        os.kill(victim(fault, run, cluster), signal.SIGKILL)
        killed = time.monotonic()
        _, errors = run.communicate(timeout=LIMIT_SECONDS)
        seconds, made = time.monotonic() - killed, len(store.done_ids())
        print(f"{fault}: exit {run.returncode} after {seconds:.1f} s, {made} of 6 takes made: {errors.strip()[-300:]}")
        for one in cluster:
            one.stop()
        cluster = start_cluster(folder, port, nodes) if nodes else []
        again = start_run(folder, sweep)
        _, errors = again.communicate(timeout=LIMIT_SECONDS)
        takes, failures = len(store.done_ids()), sum(map(len, store.failures().values()))
        aside = sum(one.set_aside for rows in store.failures().values() for one in rows)
        print(f"{fault}: again exit {again.returncode}, {takes} takes made, {failures} deaths noted, {aside} set aside")
        return (run.returncode, again.returncode, takes, aside) == (EXPECTED[fault], 0, 6, 0)
    finally:
        for one in cluster:
            one.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    os.environ.update(OMP_NUM_THREADS="1", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    as_expected = [measure(fault) for fault in sys.argv[1:] or EXPECTED]
    sys.exit(0 if all(as_expected) else 1)
