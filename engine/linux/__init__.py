"""The kernel's door: thin wrappers named like their man pages. The only ctypes in the project."""
