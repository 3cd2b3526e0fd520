"""The measurements of acts on a running container, against the same acts of a peer's command."""

from __future__ import annotations

from benchmarks import dock, docker
from benchmarks.rows import Row, of_times, settle, timed
from engine import ContainerSpec, Engine

TURNS = 30
ACTS = ("pause", "unpause", "stop-t0", "rm")
# Of a peer, in turn with ours; each is one command, but a stop: kill, and ask until it has ended, as its callers must.
PEER = """
import json, subprocess, sys, time
def call(*words, **more):
    return subprocess.run([command, "--root", bundle + "/state", *words], check=True, **more)
def timed(act):
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
def stop():
    call("kill", name, "KILL")
    while json.loads(call("state", name, stdout=subprocess.PIPE).stdout)["status"] != "stopped":
        pass
nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
name = "wharfie-bench-acts"
for _ in sys.stdin:
    call("run", "--detach", "--bundle", bundle, name, **nowhere)
    acts = (lambda: call("pause", name), lambda: call("resume", name), stop, lambda: call("delete", name))
    print(json.dumps([timed(act) for act in acts]), flush=True)
"""


def acts() -> list[Row]:
    """pause, unpause, stop at once and remove, each from the call to its end."""
    ours: dict[str, list[float]] = {act: [] for act in ACTS}
    with dock.engine() as engine, docker.daemon() as daemon:
        found = {name: dock.Peer(name, ("sleep", "1000"), PEER) for name in dock.peer_names()}
        names = [*found, *(["docker"] if daemon else [])]
        theirs = {name: {act: list[float]() for act in ACTS} for name in names}
        try:
            for turn in range(TURNS + 3):
                mine = _ours(engine)
                took = {name: peer.turn() for name, peer in found.items()}
                if daemon:
                    took["docker"] = _dockers(daemon)
                if turn < 3:
                    continue
                for number, act in enumerate(ACTS):
                    ours[act].append(mine[number])
                    for name in names:
                        theirs[name][act].append(took[name][number])
        finally:
            for peer in found.values():
                peer.close()
    return [
        row
        for act in ACTS
        for row in [of_times(act, ours[act], name, theirs[name][act]) for name in names] or [of_times(act, ours[act])]
    ]


def _ours(engine: Engine) -> list[float]:
    ref = engine.start(engine.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id).id
    acts = (lambda: engine.pause(ref), lambda: engine.unpause(ref), lambda: engine.stop(ref, timeout_s=0),
            lambda: engine.remove(ref))  # fmt: skip
    settle()
    return [timed(act) for act in acts]


def _dockers(daemon: docker.Docker) -> list[float]:
    ref = daemon.create("sleep", "1000")
    daemon.start(ref)
    settle()
    paths = (("POST", "/pause"), ("POST", "/unpause"), ("POST", "/stop?t=0"), ("DELETE", ""))
    return [timed(lambda: daemon.call(method, f"/containers/{ref}{path}")) for method, path in paths]  # noqa: B023
