"""The shim: one process per container. It starts it, owns its output and exit code, and outlives the rest of Wharfie.

Forked from the launcher, so nothing here imports more than the launcher already holds.

    launcher ──fork──▶ shim (host root) ──clone3──▶ init (root of its own user namespace)
                        │  maps, cgroups ──────────▶  becomes uid 0 of the namespace
                        │  overlay, volumes as fds ▶  builds its file system, pivots, hardens itself
                        │  ◀── end of file ─────────  execve worked; or one JSON error, then exit
                        │  supervise: log, control socket, exit record
"""
