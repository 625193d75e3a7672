#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Sourced by benches that have targets: prints what was asked for, what came out, and whether that is it. MISSED counts.
MISSED=0

targets_begin() {
    printf '\n%-58s %12s %12s\n' "target" "figure" "reached"
}

# at_most WHAT LIMIT FIGURE UNIT, at_least the same
at_most() { target "$1, at most $2 $4" "$3" "$4" "$(awk -v f="$3" -v l="$2" 'BEGIN { print (f <= l ? "yes" : "no") }')"; }
at_least() { target "$1, at least $2 $4" "$3" "$4" "$(awk -v f="$3" -v l="$2" 'BEGIN { print (f >= l ? "yes" : "no") }')"; }
target() {
    printf '%-58s %12s %12s\n' "$1" "$2 $3" "$4"
    [[ $4 == yes ]] || MISSED=$((MISSED + 1))
}
