#!/bin/sh
# `serve` (also without arguments) and `migrate` are moodline's; anything else runs as it is: `moodline keys create me`.
set -eu

case "${1-}" in
    "") set -- moodline serve ;;
    serve | migrate) set -- moodline "$@" ;;
esac

exec "$@"
