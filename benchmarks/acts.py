"""The measurements of acts on a running container, against the same acts of a peer's command."""

from __future__ import annotations

import time

from benchmarks import dock
from benchmarks.rows import Row, of_times
from engine import ContainerSpec

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
    with dock.engine() as engine:
        found = {name: dock.Peer(name, ("sleep", "1000"), PEER) for name in dock.peer_names()}
        theirs = {name: {act: list[float]() for act in ACTS} for name in found}
        try:
            for turn in range(TURNS + 3):
                container = engine.start(engine.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id).id
                moments = [time.perf_counter()]
                for act in (
                    lambda ref: engine.pause(ref),
                    lambda ref: engine.unpause(ref),
                    lambda ref: engine.stop(ref, timeout_s=0),
                    lambda ref: engine.remove(ref),
                ):
                    act(container)
                    moments.append(time.perf_counter())
                took = {name: peer.turn() for name, peer in found.items()}
                if turn < 3:
                    continue
                for number, act_name in enumerate(ACTS):
                    ours[act_name].append(moments[number + 1] - moments[number])
                    for name in found:
                        theirs[name][act_name].append(took[name][number])
        finally:
            for peer in found.values():
                peer.close()
    return [
        row
        for act in ACTS
        for row in [of_times(act, ours[act], name, theirs[name][act]) for name in found] or [of_times(act, ours[act])]
    ]
