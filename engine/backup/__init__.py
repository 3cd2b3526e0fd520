"""A whole store in one file, and back.

A backup is a plain tar. Its first member is ``state.db``, its last ``manifest.json``, which tells the SHA-256 of all
the others; between them lie ``console.db`` and trees, each a tar.gz of its own:

    config                  the console's secret key and its own certificate
    layers/<hex>            of the images
    containers/<id>         writable layer, log, exit record
    volumes/<name>          data

Owners are those on disk; a container's range of user ids is told by state.db, and another one is given at the way back.
"""
