#!/bin/bash
# More of CPython's own tests than prog-cpython-tests, those that mostly wait included.
# timeout: 1800
CPYTHON_TESTS=all exec "$(dirname "$0")/prog-cpython-tests.sh"
