"""Files of a container, running or not, read and written where they can do no harm: in a worker of
`engine.archives.sandbox` that sees nothing but them. The launcher's operation "files" (`engine.files.worker`).
"""
