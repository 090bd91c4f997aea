#!/bin/sh
# Starts the event store: alone, or below Litestream where BIFROST_EVENTS_REPLICA names the place
# of a copy. The same variable tells the store to leave its journal to Litestream.
set -eu

if [ -z "${BIFROST_EVENTS_REPLICA:-}" ]; then
  exec /usr/local/bin/bifrost-events "$@"
fi
if [ "$#" -gt 0 ]; then
  # Litestream takes the store's command line as one text, so there must be nothing in it to take apart.
  echo "with BIFROST_EVENTS_REPLICA say everything in the environment; arguments are not handed on: $*" >&2
  exit 64
fi
exec /usr/local/bin/litestream replicate -config /etc/litestream.yml
