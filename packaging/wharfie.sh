#!/bin/sh
# The command line of the installed Wharfie, with the settings of its service.
set -eu
if [ -r @ETC@/wharfie/wharfie.env ]; then
    while IFS= read -r line; do
        case $line in WHARFIE_*=*) [ -n "$(printenv "${line%%=*}")" ] || export "$line" ;; esac
    done <@ETC@/wharfie/wharfie.env
fi
case ${1-} in serve | setup_link | password) ;; *) set -- wharfie "$@" ;; esac
exec @LIB@/.venv/bin/python @LIB@/manage.py "$@"
