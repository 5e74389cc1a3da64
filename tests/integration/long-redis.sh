#!/bin/bash
# The session of prog-redis with many more requests.
# timeout: 900
export REDIS_REQUESTS=60000
exec "$(dirname "$0")/prog-redis.sh"
