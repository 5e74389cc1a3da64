#!/bin/bash
# The session of prog-git on a longer history.
# timeout: 900
export GIT_COMMITS=4000
exec "$(dirname "$0")/prog-git.sh"
