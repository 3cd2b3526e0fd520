"""The verbs that act on containers that are there, as Docker has them."""

from __future__ import annotations

import json

import pytest

from console import limits as flags
from console.commandline import main, parser
from engine import Config, ContainerSpec, Engine, HugePages, IoLimit, Limits, State
from engine.errors import InvalidRequest
from tests.images import small_starter

MIB = 1 << 20


@pytest.fixture
def web(config: Config, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> str:
    """A container ``web`` that runs, in the instance that the command line works on."""
    monkeypatch.setenv("WHARFIE_ROOT", str(config.root))
    monkeypatch.setenv("WHARFIE_RUN", str(config.run))
    small_starter(engine)
    limits = Limits(memory_bytes=64 * MIB)
    engine.create(ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000"), limits=limits))
    engine.start("web")
    return "web"


def test_pause_unpause_restart_and_rename(web: str, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pause", web]) == 0
    assert engine.inspect(web).state is State.PAUSED
    assert main(["ps"]) == 0
    assert "(paused)" in capsys.readouterr().out
    assert main(["pause", web]) == 125
    assert "it is paused" in capsys.readouterr().err
    assert main(["unpause", web]) == 0
    pid = engine.inspect(web).pid
    assert main(["restart", "-t", "0", web]) == 0
    assert engine.inspect(web).pid not in (None, pid)
    assert main(["rename", web, "site"]) == 0
    assert engine.inspect("site").name == "site"
    assert main(["stop", "-t", "0", "site"]) == 0


def test_update_says_what_it_changed_and_refuses_nothing(
    web: str, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["update", "-m", "96m", "--cpus", "0.5", "--pids-limit", "77", "-c", "512", web]) == 0
    assert capsys.readouterr().out == "web\n"
    assert engine.inspect(web).spec.limits == Limits(96 * MIB, 96 * MIB, 0.5, 77, 512)
    assert main(["update", web]) == 125
    assert "no change is given" in capsys.readouterr().err
    assert main(["update", "-m", "1m", web]) == 125


def test_wait_prints_the_code(web: str, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.stop(web, 0)
    assert main(["wait", web, web]) == 0
    assert capsys.readouterr().out == "137\n137\n"
    assert main(["wait", "nosuch"]) == 125


def test_inspect_is_a_json_list(web: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", web, "nosuch"]) == 125
    shown = capsys.readouterr()
    (found,) = json.loads(shown.out)
    assert (found["name"], found["state"], found["spec"]["limits"]["memory_bytes"]) == ("web", "running", 64 * MIB)
    assert "nosuch" in shown.err


def test_stats_are_a_table_or_every_counter(web: str, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--no-stream"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["CONTAINER", "ID"]
    assert "web" in row
    assert "/ 64 MiB" in row
    assert main(["stats", "--no-stream", "--json", web]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["pids"], found["oom_kills"]) == ("web", 1, 0)
    assert found["memory"]["anon_bytes"] > 0
    assert found["cpu"]["time_ns"] > 0
    engine.stop(web, 0)
    assert main(["stats", "--no-stream"]) == 0
    assert capsys.readouterr().out.split() == head.split()


def test_flags_of_limits_are_dockers() -> None:
    words = "--memory-swap -1 --cpuset-cpus 0-1 --cpuset-mems 0 --blkio-weight 300 --device-read-bps /dev/sda:10m"
    words += " --device-write-iops 8:0:500 --hugetlb 2m=64m x"
    assert flags.limits(parser().parse_args(["update", *words.split()])) == Limits(
        memory_swap_bytes=-1,
        cpuset_cpus="0-1",
        cpuset_mems="0",
        io_weight=300,
        io=(IoLimit("/dev/sda", read_bytes_per_s=10 * MIB), IoLimit("8:0", writes_per_s=500)),
        huge_pages=(HugePages(2 * MIB, 64 * MIB),),
    )


@pytest.mark.parametrize("words", ["--device-read-bps 10m", "--device-read-iops /dev/sda:x", "--hugetlb 2m"])
def test_what_is_no_rate_is_refused(words: str) -> None:
    with pytest.raises(InvalidRequest):
        flags.limits(parser().parse_args(["update", *words.split(), "x"]))
