#!/usr/bin/env bash
# logs.sh : follows the log of the cloud that "make run" left running.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ -f "$RUN/kumo.log" ] || die "no cloud was started here: $RUN/kumo.log does not exist; start one by make run"
exec tail -n 100 -F "$RUN/kumo.log"
