"""Runs inside a container, alone: prints what it finds of each row of the isolation list as a line of JSON.

With an argument it writes that line to this path; with a second one it stays for so many seconds.
"""

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import stat
import struct
import sys
import time

# mov eax, 20; int 0x80; ret: getpid(2) of the 32-bit table
INT_80 = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {
    "add_key": 248,
    "bpf": 321,
    "clone3": 435,
    "fanotify_init": 300,
    "fsconfig": 431,
    "fsmount": 432,
    "fsopen": 430,
    "fspick": 433,
    "get_mempolicy": 239,
    "init_module": 175,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "io_uring_setup": 425,
    "kcmp": 312,
    "kexec_file_load": 320,
    "kexec_load": 246,
    "keyctl": 250,
    "mbind": 237,
    "migrate_pages": 256,
    "mount": 165,
    "mount_setattr": 442,
    "move_mount": 429,
    "move_pages": 279,
    "open_by_handle_at": 304,
    "open_tree": 428,
    "perf_event_open": 298,
    "pidfd_getfd": 438,
    "pivot_root": 155,
    "process_madvise": 440,
    "quotactl": 179,
    "request_key": 249,
    "setns": 308,
    "swapoff": 168,
    "syslog": 103,
    "umount2": 166,
    "unshare": 272,
    "userfaultfd": 323,
    "x32_getpid": 0x40000000 | 39,
}
SYSCTLS = ("net/ipv4/ping_group_range", "net/ipv4/ip_unprivileged_port_start", "net/ipv4/conf/all/route_localnet")
CLONE_NEWUSER = 0x10000000


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read(65536).decode("utf-8", "replace")
    except OSError as error:
        return errno.errorcode[error.errno]


def in_children(acts):
    """By its name the errno name that each act met, "ok", or the signal that ended it.

    A child goes on until an act succeeds or ends it: what was refused has changed nothing, and a fork for each is long
    where a page that is touched costs more than a call.
    """
    found, left = {}, list(acts)
    while left:
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                for name in left:
                    said = str(acts[name]())
                    os.write(write_end, (said + "\n").encode())
                    if said == "ok":
                        break
            finally:
                os._exit(0)
        os.close(write_end)
        with open(read_end) as reader:
            said = reader.read().split("\n")[:-1]
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code < 0:
            said.append(signal.Signals(-code).name)
        found.update(zip(left, said, strict=False))
        assert said, f"{left[0]} said nothing"
        left = left[len(said) :]
    return found


def syscall(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    return "ok" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))


def cloned():
    """clone(2) with a user namespace; the child of a success ends at once."""
    parent = os.getpid()
    said = syscall(56, CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if int(os.readlink("/proc/self")) != parent:
        os._exit(0)
    return said


def thirty_two_bit():
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(INT_80)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return "ok" if ctypes.CFUNCTYPE(ctypes.c_int)(address)() > 0 else "failed"


def directory(path):
    try:
        os.mkdir(path)
        os.rmdir(path)
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]


def opened(path, flags=os.O_RDONLY):
    try:
        os.close(os.open(path, flags))
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]


def made(mode, device):
    try:
        os.mknod("/tmp/node", mode, device)
        os.unlink("/tmp/node")
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]


def lowered():
    """Whether the out-of-memory score can be set below what the host gave."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-500")
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]


def family(number):
    """What a socket of it meets; of the families that want it, raw."""
    kinds = {15: (3, 2), 16: (3, 0), 17: (3, 0), 33: (2, 2), 38: (5, 0)}  # PF_KEY_V2, PF_INET
    return syscall(41, number, *kinds.get(number, (1, 0)))


def xfrm():
    """The best that a NETLINK_XFRM socket can do: listen, or list the keys (XFRM_MSG_GETSA, a request and a dump)."""
    found = set()
    for group in (0, 1):
        try:
            with socket.socket(16, socket.SOCK_RAW, 6) as door:
                door.bind((0, group))
                found.add("ok" if group else "")
                door.settimeout(5)
                door.send(struct.pack("=IHHII", 40, 18, 0x301, 1, 0) + bytes(24))
                answer = door.recv(4096)
                code = struct.unpack_from("=i", answer, 16)[0] if answer[4] == 2 else 0
                found.add(errno.errorcode[-code] if code else "ok")
        except OSError as error:
            found.add(errno.errorcode[error.errno])
    return "ok" if "ok" in found else " ".join(sorted(found - {""}))


def throttles():
    """Whether any CPU tells how warm the host is; kernel cpufreq and thermal counters."""
    cpus = "/sys/devices/system/cpu"
    paths = [f"{cpus}/{name}/thermal_throttle" for name in os.listdir(cpus) if name[3:].isdigit()]
    found = {bool(os.listdir(path)) for path in paths if os.path.lexists(path)}
    return "shown" if True in found else "empty" if found else "absent"


status = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines() if ":\t" in line)
mounts = {}
for line in read("/proc/self/mountinfo").splitlines():
    fields = line.split()
    dash = fields.index("-")
    mounts[fields[4]] = {
        "options": fields[5].split(","),
        "tags": fields[6:dash],
        "type": fields[dash + 1],
        "super": fields[-1],
        "root": fields[3],
    }
masked = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
]
paths = [f"/proc/{name}" for name in masked] + ["/sys/firmware", "/sys/devices/virtual/powercap"]
facts = {
    "status": {
        key: status[key].strip() for key in status if key.startswith(("Cap", "Sig", "Secc", "NoNew", "PPid", "Groups"))
    },
    "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")},
    "uid_map": read("/proc/self/uid_map").split(),
    "gid_map": read("/proc/self/gid_map").split(),
    "setgroups": read("/proc/self/setgroups").strip(),
    "syscalls": in_children(
        {
            name: lambda n=number, k=name: syscall(n, CLONE_NEWUSER if k == "unshare" else 0, 0, 0, 0, 0)
            for name, number in NUMBERS.items()
        }
    ),
    "personality": in_children({hex(kind): lambda k=kind: syscall(135, k) for kind in (0, 0x40000)}),
    "sockets": in_children({str(number): lambda n=number: family(n) for number in (2, 15, 17, 33, 38, 40)}),
    "max_user_namespaces": read("/proc/sys/user/max_user_namespaces").strip(),
    "masked": {
        path: (
            "absent"
            if not os.path.lexists(path)
            else "empty"
            if (os.path.isdir(path) and not os.listdir(path)) or read(path) == ""
            else "shown"
        )
        for path in paths
    }
    | {"/sys/devices/system/cpu/cpu*/thermal_throttle": throttles()},
    "mask_device": "{}:{}".format(*(f(os.stat("/proc/keys").st_rdev) for f in (os.major, os.minor))),
    "read_only": {
        path: opened(path, os.O_WRONLY)
        for path in ("/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger")
    },
    "sysctls": {name: read(f"/proc/sys/{name}").split() for name in SYSCTLS},
    "cgroup_made": {
        name: directory(f"/sys/fs/cgroup/{name}/made-inside")
        for name in os.listdir("/sys/fs/cgroup")
        if os.path.isdir(f"/sys/fs/cgroup/{name}")
    },
    "mounts": mounts,
    "dev": {
        name: oct(stat.S_IMODE(os.stat(f"/dev/{name}").st_mode))
        + ":"
        + str(os.major(os.stat(f"/dev/{name}").st_rdev))
        + ":"
        + str(os.minor(os.stat(f"/dev/{name}").st_rdev))
        for name in os.listdir("/dev")
        if stat.S_ISCHR(os.lstat(f"/dev/{name}").st_mode)
    },
    "dev_links": {name: os.readlink(f"/dev/{name}") for name in os.listdir("/dev") if os.path.islink(f"/dev/{name}")},
    "dev_names": sorted(os.listdir("/dev")),
    "mknod": {
        "null": made(stat.S_IFCHR | 0o666, os.makedev(1, 3)),
        "disk": made(stat.S_IFBLK | 0o600, os.makedev(254, 0)),
    },
    "fds": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:3]
    + ["more"] * (len(os.listdir("/proc/self/fd")) > 4),
    "cwd": os.getcwd(),
    "cgroup": sorted({line.split(":", 2)[2] for line in read("/proc/self/cgroup").splitlines()}),
    "keys": read("/proc/keys"),
    "oom_score_adj": read("/proc/self/oom_score_adj").strip(),
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
    "memlock": resource.getrlimit(resource.RLIMIT_MEMLOCK),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "groups": os.getgroups(),
    "environment": sorted(os.environ),
    "umask": oct(os.umask(0o022)),
    "cmdline": read("/proc/1/cmdline").split("\0")[0],
    "pid": os.getpid(),
    "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    "terminal": opened("/dev/tty", os.O_RDWR | os.O_NOCTTY),
    "stdin": os.readlink("/proc/self/fd/0"),
    "session": os.getsid(0) == os.getpid(),
    "interfaces": sorted(os.listdir("/sys/class/net")),
}
facts |= in_children(
    {
        "i386": thirty_two_bit,
        "ptrace": lambda: syscall(101, 0, 0, 0, 0),
        "clone": cloned,
        "xfrm": xfrm,
        "oom_lower": lowered,
        "umount_mask": lambda: syscall(166, ctypes.cast(ctypes.c_char_p(b"/proc/keys"), ctypes.c_void_p).value, 0),
    }
)
found = json.dumps(facts)
if sys.argv[1:] and sys.argv[1]:
    with open(f"{sys.argv[1]}.new", "w") as file:
        file.write(found)
    os.rename(f"{sys.argv[1]}.new", sys.argv[1])
else:
    print(found, flush=True)
if sys.argv[2:]:
    time.sleep(float(sys.argv[2]))
