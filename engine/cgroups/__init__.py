"""Control groups, the same to callers on cgroup v1 (hybrid) and v2 (unified)."""
