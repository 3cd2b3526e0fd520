"""The launcher: a warm, single-threaded fork server. A threaded Python (the web process) can neither fork nor enter a
user namespace, and a fresh interpreter costs 20 ms and 5 MB; a fork of this one costs 1 ms and under 1 MB.
"""
