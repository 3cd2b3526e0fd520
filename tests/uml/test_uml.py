"""The same tests on an older kernel with cgroup v2 alone, some with v1 as systemd mounts it; see `tests.uml.guest`."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests import grounds
from tests.soak import HOURS, amount
from tests.uml import guest
from tests.uml.guest import TOP

TIMEOUT_S = amount(1500, 6000)  # many times what the longest takes on a host that does nothing else: no measure
SUMMARY = re.compile(r"^=+ .*\b(\d+) passed.* =+$", re.MULTILINE)
STARTS = (
    "both_streams", "ignores_its_stop", "heeds_its_stop", "left_running", "out_of_memory", "fork_bomb", "cannot_run",
    "undone", "every_state", "starts_again", "volume", "hosts_network", "host_can_do", "starts_starts",
    "keepers_are_killed", "starter_was_killed", "who_holds_its_lock", "start_was_lost", "takes_longer_than",
)  # fmt: skip
LIVES = (
    "stands_still", "signal_to_a_paused", "stop_ends_a_paused", "shim_was_killed", "leaves_nobody_frozen",
    "change_at_once", "go_up_and_down", "less_memory", "fewer_processes", "cut_short", "lacks", "by_disk",
    "not_the_last_one", "restart_keeps", "minus_1", "who_ended_it_is_known",
)  # fmt: skip
RESTARTS = (
    "as_its_policy_says", "after_a_reboot", "check_that_hangs", "everything_works", "as_fast_as_it_can",
    "both_are_killed_at_once", "all_of_them_die", "across_the_death", "brings_back", "before_the_new_shim",
    "before_it_could_tell",
)  # fmt: skip
COMMANDS = (
    "exit_code_is_the", "signal_is_128", "kept_apart", "user_directory_and", "terminal_is_one",
    "come_back_to_and_shared", "size_follows", "many_people", "outlives_who_serves", "init_reaps",
    "outlives_its_shim", "has_the_hosts_processes", "traces_a_command",
)  # fmt: skip
FILES = (
    "file_goes_in_and", "owners_inside", "lead_nowhere_but", "told_as_docker", "same_files_and_runs",
    "keeps_owner_and_mode", "no_link_leads_out", "default_is_to_redirect",
)  # fmt: skip
FAULTS = (
    "exit_record", "directory_that_is_lost", "database_is_refused", "fork_bomb", "orphans_are_reaped",
    "memory_is_short", "hardly_gets_a_cpu",
)  # fmt: skip
ATTACKS = ("leaked_descriptor", "kernel_file_systems", "null_device", "release_agent", "declared_volume", "is_no_path")
OPTIONS = (
    "opens_what_it_says", "root_inside_root", "device_is_there", "seen_and_signalled", "memory_is_shared",
    "is_shared_and_cannot", "same_ids_and_who", "end_and_nothing_is_left", "every_capability", "keep_their_ids",
)  # fmt: skip
# What of these waits for `make soak`: more of what another test shows of this kernel, and what is Wharfie's alone.
LATER = (
    "every_state", "repaired[break_log", "repaired[break_upper", "repaired[break_shims", "repaired[break_layer",
    "repaired[break_volume", "are_killed[launcher", "are_killed[web", "as_fast_as_it_can", "container[stopped",
    "leads_out[stopped", "leads_out[running-/proc", "leads_out[running-..", "on_a_link[/etc", "exit_record[empty",
    "exit_record[missing", "exit_record[huge", "exit_record[of", "exit_record[zeros", "exit_record[a", "again[empty",
    "again[missing", "again[no", "again[cut", "again[without", "is_lost[log", "is_lost[work", "commands[1",
    "commands[25", "commands[3", "commands[4", "says_why[True", "says_why[False", "says_and_nothing_else[--ulimit",
    "says_and_nothing_else[--group-add", "says_and_nothing_else[--oom", "says_and_nothing_else[--shm",
    "says_and_nothing_else[--uts", "says_and_nothing_else[--read-only", "says_and_nothing_else[--cap-drop",
    "of_the_host[--cap-drop", "of_the_host[--ulimit", "of_the_host[--read-only", "of_the_host[--shm-size",
    "of_the_host[--oom", "of_the_host[--group-add", "leaked_descriptor[4", "leaked_descriptor[5",
    "leaked_descriptor[7", "leaked_descriptor[8", "leaked_descriptor[11", "leaked_descriptor[16",
    "leaked_descriptor[64", "leaves_nothing[/bin/nope", "leaves_nothing[/opt-", "leaves_nothing[/opt/orphan",
    "leaves_nothing[/opt/runtime", "is_undone[options1", "is_undone[options2", "is_undone[options3",
    "comes_out[stopped", "are_the_containers[stopped", "never_half[stopped", "names_its_field", "before_it_could_tell",
    "into_the_container[run", "that_is_on_its_way", "brings_back", "who_ended_it", "counted_twice", "exit_code[before",
    "its_end_and_its_exit_record", "who_holds_its_lock", "policy_says[no", "policy_says[on-failure-exit",
    "leaves_nothing[/proc", "two_seconds[while", "says_and_nothing_else[--network", "says_and_nothing_else[--ipc",
    "says_and_nothing_else[--cap-add", "of_the_host[--network", "of_the_host[--ipc", "never_half[running",
    "init_reaps", "kept_apart_and_input", "directory_and_environment", "size_follows", "policy_says[on-failure:2",
    "leaked_descriptor[33", "by_disk", "paused_container[0", "paused_container[5", "lets_it_go_on[9",
    "exit_record[cut", "refused_and_a_copy", "hardly_gets", "is_lost[upper", "as_docker_tells", "tree_that_is_swapped",
)  # fmt: skip
# Words of groups all of whose tests are among those.
WAITING = {
    "every_state", "who_holds_its_lock", "by_disk", "who_ended_it_is_known", "as_fast_as_it_can", "brings_back",
    "before_the_new_shim", "before_it_could_tell", "user_directory_and", "size_follows", "init_reaps",
    "lead_nowhere_but", "told_as_docker", "keeps_owner_and_mode", "exit_record", "database_is_refused",
    "hardly_gets_a_cpu",
}  # fmt: skip
NOT_THERE = "not peer"  # the peers are this host's
# A guest each: it takes eight seconds to be ready.
GROUPS = {
    "kernel, isolation and many lives": (
        "tests/engine/cgroups", "tests/engine/linux", "tests/engine/isolation/test_isolation.py",
        "tests/engine/containers/test_layers.py::test_a_container_sees_every_layer_and_keeps_its_own",
        "tests/engine/faults/test_churn.py", "tests/engine/faults/test_model.py",
        "tests/engine/isolation/test_races.py", "-k", NOT_THERE,
    ),
    "containers": ("tests/engine/isolation/test_options.py", "tests/engine/isolation/test_attacks.py",
                   "tests/engine/containers/test_lifecycle.py", "tests/engine/containers/test_crash.py",
                   "tests/engine/containers/test_pausing.py", "tests/engine/containers/test_limits.py",
                   "tests/engine/containers/test_waiting.py", "tests/engine/containers/test_restarts.py",
                   "tests/engine/containers/test_health.py",
                   "tests/engine/containers/test_adoption.py", "tests/engine/containers/test_execution.py",
                   "tests/engine/containers/test_first_process.py", "tests/engine/files/test_copies.py",
                   "tests/engine/files/test_commit.py", "tests/engine/files/test_browsing.py",
                   "-k", " or ".join(OPTIONS + ATTACKS + STARTS + LIVES + RESTARTS + COMMANDS + FILES)),
    "faults": ("tests/engine/faults/test_damage.py", "tests/engine/faults/test_hosts.py",
               "-k", " or ".join(FAULTS)),
}  # fmt: skip
# v1 as systemd mounts it: this host may have a hierarchy for each controller.
JOINED = ("tests/engine/cgroups/test_group.py", "tests/engine/cgroups/test_freezing.py",
          "tests/engine/isolation/test_isolation.py", "tests/engine/containers/test_lifecycle.py",
          "tests/engine/containers/test_limits.py", "tests/engine/containers/test_pausing.py",
          "-k", "test_group or test_freezing or of_it[started] or both_streams or out_of_memory"
                " or limits_change or stands_still")  # fmt: skip
# Three hundredths of what is done a number of times; `make soak` does all of it there.
LITTLE = {"kernel, isolation and many lives": {"SOAK_SHARE": "0.03"}}

# Many kernels' worth of slowness finds what a fast host does not; one of these takes more than a minute.
SEEDS = {
    f"kills under load, {seed}": {"SOAK_SEED": str(seed), "SOAK_LEAST_RUNS": "9"}
    for seed in amount(range(0), range(1, 21))
}
GROUPS |= dict.fromkeys(SEEDS, ("tests/console/test_kills.py",))

ALONE = ("faults",)  # what they do to an engine is not undone


NAMED = {group: words for group, (*_, words) in GROUPS.items() if " or " in words}


@functools.cache
def collected() -> list[str]:
    """The ids of all tests in the files and directories of groups."""
    paths = {path.partition("::")[0] for group in GROUPS.values() for path in group if path.startswith("tests/")}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *sorted(paths)]
    done = subprocess.run(command, cwd=TOP, env=os.environ | {"PYTEST_ADDOPTS": ""}, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


def picked(group: str) -> list[str]:
    """The ids of what a group does in `make soak`."""
    paths = tuple(path for path in GROUPS[group] if path.startswith("tests/"))
    words = NAMED[group].split(" or ") if group in NAMED else [""]
    return [name for name in collected() if name.startswith(paths) and any(word in name for word in words)]


def test_each_word_for_later_is_of_a_test_that_a_group_does() -> None:
    ids = [name for group in GROUPS for name in picked(group)]
    assert not [word for word in LATER if not any(word in name for name in ids)]


@pytest.mark.parametrize("group", NAMED)
def test_each_word_of_a_group_is_of_a_test_and_of_which_that_waits_is_known(group: str) -> None:
    words, ids = NAMED[group].split(" or "), picked(group)
    now = [name for name in ids if not any(word in name for word in LATER)]
    assert not [word for word in words if not any(word in name for name in ids)]
    assert {word for word in words if not any(word in name for name in now)} == WAITING & {*words}


@pytest.mark.parametrize("group", GROUPS)
def test_it_holds_on_linux_6_1_with_cgroup_v2(group: str, record_property: Callable[[str, object], None]) -> None:
    shared = () if group in ALONE or group in SEEDS else ("--one-engine",)
    chosen = GROUPS[group]
    if group not in SEEDS and not HOURS:
        chosen = (*chosen[:-1], f"({chosen[-1]}) and not ({' or '.join(LATER)})")
    environment = SEEDS.get(group, {}) if HOURS else LITTLE.get(group, {})
    _told(guest.run((*shared, *chosen), TIMEOUT_S, **environment), "cgroup v2", record_property)


def test_it_holds_where_two_controllers_are_one_hierarchy(record_property: Callable[[str, object], None]) -> None:
    _told(guest.run(("--one-engine", *JOINED), TIMEOUT_S, CGROUPS="v1"), "cgroup v1", record_property)


def _told(result: guest.Result, groups: str, record_property: Callable[[str, object], None]) -> None:
    """All of it ran in the guest and held; it goes into the table of what ran where."""
    assert result.code == 0, result.report
    summary = SUMMARY.search(result.report)
    assert summary, result.report
    assert "skipped" not in summary[0], result.report
    told = grounds.read(result.report)
    assert all(where.startswith("Linux 6.1.") and where.endswith(groups) for row in told.values() for where in row)
    record_property(grounds.PROPERTY, told)


def test_a_failure_in_the_guest_is_a_failure_here() -> None:
    result = guest.run(("--noconftest", "-p", "no:django", "-c", os.devnull, "tests/no_such_test.py"), TIMEOUT_S)
    assert result.code == pytest.ExitCode.USAGE_ERROR
    assert "no_such_test.py" in result.report


def test_a_guest_that_hangs_is_stopped_and_says_so() -> None:
    result = guest.run(("--help",), 0.5)
    assert result.code is None
    assert result.report.endswith("the guest was stopped after 0.5 s")
