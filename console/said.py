"""What the engine says, in the reader's language. The engine speaks English, as command lines and logs do; here is what
people meet in the browser, recognised by its words. `tests/console/test_said.py` holds each to the engine's own.
"""

from __future__ import annotations

import re

from django.utils.translation import get_language, gettext, pgettext_lazy
from django.utils.translation import gettext_noop as _

from console import text

# What stands in a place of a sentence and is a word itself.
WORDS = {
    "start": pgettext_lazy("in a sentence", "start"),
    "stop": pgettext_lazy("in a sentence", "stop"),
    "restart": pgettext_lazy("in a sentence", "restart"),
    "kill": pgettext_lazy("in a sentence", "kill"),
    "signal": pgettext_lazy("in a sentence", "signal"),
    "pause": pgettext_lazy("in a sentence", "pause"),
    "unpause": pgettext_lazy("in a sentence", "unpause"),
    "rename": pgettext_lazy("in a sentence", "rename"),
    "update": pgettext_lazy("in a sentence", "update"),
    "exec": pgettext_lazy("in a sentence", "exec"),
    "copy": pgettext_lazy("in a sentence", "copy"),
    "remove": pgettext_lazy("in a sentence", "remove"),
    "created": pgettext_lazy("in a sentence", "created"),
    "running": pgettext_lazy("in a sentence", "running"),
    "paused": pgettext_lazy("in a sentence", "paused"),
    "restarting": pgettext_lazy("in a sentence", "restarting"),
    "exited": pgettext_lazy("in a sentence", "exited"),
    "broken": pgettext_lazy("in a sentence", "broken"),
    "memory": pgettext_lazy("in a sentence", "memory"),
    "memory and swap": pgettext_lazy("in a sentence", "memory and swap"),
    "CPUs": pgettext_lazy("in a sentence", "CPUs"),
    "memory nodes": pgettext_lazy("in a sentence", "memory nodes"),
    "a variable": pgettext_lazy("in a sentence", "a variable"),
    "a label": pgettext_lazy("in a sentence", "a label"),
    "a device": pgettext_lazy("in a sentence", "a device"),
    "a limit": pgettext_lazy("in a sentence", "a limit"),
    "a limit of processes": pgettext_lazy("in a sentence", "a limit of processes"),
    "a share of the CPUs": pgettext_lazy("in a sentence", "a share of the CPUs"),
    "a weight of I/O": pgettext_lazy("in a sentence", "a weight of I/O"),
    "a group": pgettext_lazy("in a sentence", "a group"),
    "a network": pgettext_lazy("in a sentence", "a network"),
    "a restart policy": pgettext_lazy("in a sentence", "a restart policy"),
    "a number of retries": pgettext_lazy("in a sentence", "a number of retries"),
    "a disk and a rate": pgettext_lazy("in a sentence", "a disk and a rate"),
    "a rate of I/O": pgettext_lazy("in a sentence", "a rate of I/O"),
    "a disk": pgettext_lazy("in a sentence", "a disk"),
}
WORDY = {"act", "state", "kind", "what"}  # places that hold one; with another word in it, it is another sentence

SENTENCES = (
    _("cannot %(act)s container %(name)s: it is %(state)s"),
    _("there is no container %(name)s"),
    _("see the list of containers"),
    _("%(name)s matches several containers"),
    _("give more digits of the id"),
    _("the name %(name)s is taken"),
    _("choose another"),
    _("choose another name"),
    _("choose another, or remove that container"),
    _("choose another, or rename or remove that one"),
    _("container %(name)s is just ending"),
    _("try again in a moment"),
    _("container %(name)s has no health check"),
    _("create one with a check"),
    _("container %(name)s was never started"),
    _("container %(name)s has no version %(number)s"),
    _("see its history"),
    _("container %(name)s has no open terminal %(session)s"),
    _("open a new one"),
    _("the container has just ended"),
    _("start it again"),
    _("container %(name)s uses more %(kind)s than that"),
    _("let it free some, or give a higher limit"),
    _("container %(name)s has more processes than that"),
    _("end some of them, or give a higher limit"),
    _("process %(pid)s has ended, or is not the container's"),
    _("look at the list"),
    _("files of container %(name)s are being copied"),
    _("try again when that is done"),
    _("there is no command to run"),
    _("name a program"),
    _("the image %(name)s has just been removed"),
    _("there is no image %(name)s"),
    _("load it first, or look at the list of images"),
    _("the image is used by %(users)s"),
    _("remove these containers first"),
    _("there is no volume %(name)s"),
    _("create it first"),
    _("see the list of volumes"),
    _("there is a volume %(name)s already"),
    _("volume %(name)s is used by %(users)s"),
    _("stop it first"),
    _("unpause it"),
    _("unpause it first"),
    _("start it"),
    _("start it first"),
    _("stop it"),
    _("it can only be removed"),
    _("it has just ended"),
    _("try again when it runs"),
    _("unpause lets it go on"),
    _("only a paused one can be unpaused"),
    _("it starts by itself; restart it to do so now"),
    _("it waits to be started again by itself"),
    _("stop it first, or remove it by force"),
    _("%(option)s is for admins only"),
    _("%(object)s is for admins only, because of %(option)s"),
    _("leave it out, or ask an admin"),
    _("ask an admin"),
    _("%(text)s is not a container name"),
    _("use 2 to 64 letters, digits, '_', '.' and '-', beginning with a letter or digit"),
    _("%(text)s is not a volume name"),
    _("use 1 to 64 letters, digits, '_', '.' and '-', beginning with a letter or digit"),
    _("%(text)s is not a hostname"),
    _("use letters, digits, '-' and '.'; at most 64 characters"),
    _("%(text)s is not an image name"),
    _("write it like debian, debian:12 or host:5000/team/app:1.0"),
    _("%(text)s is not a size"),
    _("write it like 512m or 2g"),
    _("%(text)s is too large"),
    _("%(text)s is not a signal"),
    _("write it like TERM, SIGKILL or 15"),
    _("%(text)s is not a list of %(what)s"),
    _("%(text)s is not %(what)s"),
    _("write NAME=value"),
    _("quotes do not match: %(why)s"),
    _("close the quote, or write \\' for a plain one"),
    _("use %(least)s to %(most)s"),
    _("%(n)s cores cannot be given"),
    _("the memory limit is too low to start anything"),
    _("use at least 6m"),
    _("the memory limit is more than this host has"),
    _("use at most %(most)sm"),
    _("memory and swap together are less than memory"),
    _("give both, swap the larger"),
    _("this host has no %(what)s %(which)s"),
    _("it has %(have)s"),
    _("write it like 0-2,4"),
    _("a number of restarts goes with on-failure only"),
    _("leave it out, or use on-failure:N"),
    _("the stop timeout is not a number of seconds"),
    _("use 0 or more, or -1 to wait for ever"),
    _("%(path)s is not an absolute path"),
    _("begin it with /"),
    _("begin it with /, without .."),
    _("nothing can be mounted on %(path)s"),
    _("choose another directory"),
    _("two are mounted on %(path)s"),
    _("give each its own directory"),
    _("%(size)s is no size of a tmpfs"),
    _("use 4k or more"),
    _("%(word)s is no option of a tmpfs"),
    _("there are size=, mode=, exec, ro"),
    _("%(text)s is not a volume and a path"),
    _("write NAME:/path, NAME being a volume's, or /directory:/path; with :ro to forbid writing"),
    _("write it like /dev/fuse or /dev/fuse:/dev/fuse:rw"),
    _("%(path)s is not a device below /dev"),
    _("write it like /dev/fuse"),
    _("write it like nofile=1024 or nofile=1024:4096"),
    _("a kernel setting is NAME=VALUE: %(lines)s"),
    _("%(name)s is not a setting of one container"),
    _("there is no capability %(name)s"),
    _("write it like NET_ADMIN; see capabilities(7)"),
    _("%(text)s is no length of time"),
    _("write it like 500ms, 30s or 1m30s"),
    _("a health check needs a command"),
    _("log rotation is out of range"),
    _("segments of 64 KiB or more, at least 2"),
    _("%(name)s is not in the image"),
    _("check the spelling, or give its full path"),
    _("user %(name)s is not in the image's /etc/passwd"),
    _("group %(name)s is not in the image's /etc/group"),
    _("use a number or another name"),
    _("there is no %(path)s"),
    _("check the path"),
    _("%(path)s is not a directory"),
    _("%(path)s is on a read-only file system"),
    _("copy elsewhere"),
    _("%(path)s is there already"),
    _("%(path)s was changed meanwhile"),
    _("look at it as it is now, and change that"),
    _("say that it may be replaced, or remove it first"),
    _("the file is too large to be changed here"),
    _("the file's lines end in two ways, which a browser cannot keep apart"),
    _("the file is no text"),
    _("download it, and upload it again"),
    _("this line is not in the log any more"),
    _("it was rotated away"),
    _("no process was chosen"),
    _("choose one in the table"),
    _("this signal is not offered"),
    _("choose one from the list"),
    _("not a regular expression: %(why)s"),
    _("%(text)s is no date and time"),
    _("this is no tar archive"),
    _("give the output of `docker save`, an OCI layout, or a root file system, as tar or compressed tar"),
    _("the archive is empty"),
    _("the launcher does not answer"),
    _("the command cannot be split into words: %(why)s"),
    _("close the quotes"),
    _("%(n)s terminals of yours are open"),
    _("hang up one of them: they are in %(names)s"),
    _("%(n)s terminals are open on this host"),
    _("hang up one that nobody needs"),
    # How far an act is, which a job shows while it works.
    _("Receiving the archive"),
    _("Collecting files of this host"),
    _("Reading the root file system"),
    _("Layer %(number)s of %(total)s"),
    _("Reading what it changed"),
    _("Measuring the layer"),
    _("Unpacking the layer"),
    _("Writing the image"),
    _("Copying volume %(name)s"),
    _("Creating the container"),
)
PLACE = re.compile(r"%\((\w+)\)s")


def _pattern(sentence: str) -> re.Pattern[str]:
    parts = PLACE.split(sentence)
    return re.compile(
        "".join(f"(?P<{part}>.+?)" if at % 2 else re.escape(part) for at, part in enumerate(parts)), re.DOTALL
    )


# Of two that fit, the one with more words of its own is meant.
PATTERNS = sorted(((_pattern(each), each) for each in SENTENCES), key=lambda pair: -len(PLACE.sub("", pair[1])))


def said(words: str) -> str:
    """A message or hint in the reader's language; what nobody translated stays as it is."""
    if (get_language() or "en").startswith("en"):
        return words
    for pattern, sentence in PATTERNS:
        places = match.groupdict() if (match := pattern.fullmatch(words)) else None
        if places is not None and all(places[name] in WORDS for name in places.keys() & WORDY):
            return gettext(sentence) % {name: WORDS.get(value, value) for name, value in places.items()}
    return words


def sentence(words: str) -> str:
    """The same, as a sentence."""
    words = said(words)
    if get_language() == "zh-hans" and words and words[-1] not in "。.!?…":
        return f"{words}。"
    return text.sentence(words)
