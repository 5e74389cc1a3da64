#!/bin/bash
# fork, fflush(NULL) and getline in several threads: no lock of ours is held while stdio's are taken.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

limit_s=20
under_each "$(program fork_stdio)"
finish
