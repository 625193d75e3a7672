#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# lint.sh [CHECK...]: what can be said about the tree without running it, a line a check; exits with 1 if any fails.
# Checks: format tidy sparse shell man first-line leftovers. Without an argument: all.
# shellcheck disable=SC2317

set -u -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export LC_ALL=C

CHECKS=(format tidy sparse shell man first-line leftovers)
JOBS=$(nproc)
BUILD=build
FAILED=0
OUT=$(mktemp /tmp/dfw-lint.XXXXXX)
trap 'rm -f "$OUT"' EXIT

# What people have written: everything but what is built, data for tests, and the licence's own text.
mapfile -t FILES < <(find . \( -path ./$BUILD -o -path ./.git -o -name __pycache__ -o -path '*/corpus' \) -prune \
    -o -type f ! -name LICENSE -print | sed 's|^\./||' | sort)

# named PATTERN...: those whose name matches one of the shell patterns
named() {
    local file pattern
    for file in "${FILES[@]}"; do
        for pattern in "$@"; do
            # shellcheck disable=SC2053
            [[ $file == $pattern ]] && echo "$file" && break
        done
    done
    return 0
}

# Compiled as the Makefile does. Headers that tools have written are a system's: their warnings are nobody's.
INCLUDES=(-Iinclude -I. -Ilib -Ipolicy -Iselftests/unit -Iselftests/lib -Iselftests/host -isystem "$BUILD" -isystem "$BUILD/bpf")
DEFINES=(-D_GNU_SOURCE '-DDFW_VERSION="lint"')

check_format() {
    # shellcheck disable=SC2016
    named '*.c' '*.h' | xargs -P "$JOBS" -n 16 bash -c '
        status=0
        for file; do
            clang-format-19 --dry-run -Werror "$file" 2>/dev/null && continue
            echo "$file: clang-format-19 -i $file"
            status=1
        done
        exit $status' format
}

# Which checks, and why not the others, stands in .clang-tidy.
check_tidy() {
    local status=0
    # What runs the datapath on the host sees it as the host does, see selftests/host/host_context.h.
    named 'lib/*.c' 'ctl/*.c' 'loader/*.c' 'policy/*.c' 'sync/*.c' 'selftests/unit/*.c' 'selftests/lib/*.c' \
        'selftests/sim/*.c' 'selftests/bench/*.c' 'selftests/host/*.c' | grep -v '\.bpf\.c$' |
        tidy -std=gnu17 -DDFW_HOST "${INCLUDES[@]}" "${DEFINES[@]}" || status=1
    named 'bpf/*.bpf.c' 'selftests/*.bpf.c' |
        tidy -O2 -target bpf -mcpu=v3 -Iinclude "-I/usr/include/$(gcc -print-multiarch)" || status=1
    return $status
}
tidy() {
    local found
    # The compiler's flags come behind the files, where xargs puts nothing.
    # shellcheck disable=SC2016
    found=$(xargs -P "$JOBS" -n 6 bash -c '
        while [[ $1 != -- ]]; do flags+=("$1"); shift; done
        clang-tidy-19 --quiet "${@:2}" -- "${flags[@]}" 2>/dev/null' tidy "$@" -- | grep .)
    [[ -z $found ]] || { echo "$found"; return 1; }
}

# Byte order (__be16, __be32) and address spaces, which the compiler does not tell apart.
check_sparse() {
    local found
    found=$(named 'lib/*.c' 'loader/*.c' 'ctl/*.c' |
        xargs -P "$JOBS" -n 8 sparse -D__CHECK_ENDIAN__ -Wno-decl "${INCLUDES[@]/-isystem/-I}" "${DEFINES[@]}" 2>&1 |
        grep -v -e "^$BUILD/" -e ': note: in included file')
    [[ -z $found ]] || { echo "$found"; return 1; }
}

check_shell() {
    {
        named '*.sh'
        grep -lE '^#!.*\b(ba)?sh$' "${FILES[@]}"
    } | sort -u | xargs -P "$JOBS" -n 8 shellcheck -x
}

# dfwctl.8 is written by dfwctl: it has to be what the program of this tree says.
check_man() {
    local status=0
    named 'docs/man/*' | xargs mandoc -Tlint -W warning || status=1
    diff -u docs/man/dfwctl.8 <($BUILD/dfwctl --man) || {
        echo "docs/man/dfwctl.8 is old: $BUILD/dfwctl --man > docs/man/dfwctl.8"
        status=1
    }
    return $status
}

# Line 1, or 2 behind the line that names an interpreter.
check_first_line() {
    local files
    mapfile -t files < <(named '*.c' '*.h' '*.y' '*.l' '*.sh' '*.py' '*.in' '*.5' '*.8' '*.dfw' '*Makefile' '*/run' '*.guest')
    # shellcheck disable=SC2016
    awk -v licence='SPDX-License-Identifier: GPL-2.0' '
        FNR == 1 { judged = index($0, licence); if (judged || /^#!/) next; bad(1) }
        FNR == 2 && !judged && !index($0, licence) { bad(2) }
        FNR >= 2 { nextfile }
        function bad(line) {
            print FILENAME ":" line ": no " licence
            failed = judged = 1
        }
        END { exit failed }' "${files[@]}"
}

# What is left to do stands in the tracker, not in the code.
check_leftovers() {
    ! grep -nwE 'TO[D]O|FIX[M]E|XX[X]' "${FILES[@]}"
}

for check in "${@:-${CHECKS[@]}}"; do
    [[ " ${CHECKS[*]} " == *" $check "* ]] || {
        echo "lint.sh: there is no check \"$check\"; there are: ${CHECKS[*]}" >&2
        exit 2
    }
done
# clang-tidy and sparse read headers that are built, and the man page is compared with the program.
make -s all >/dev/null || exit 1

for check in "${@:-${CHECKS[@]}}"; do
    begin=$SECONDS
    if "check_${check//-/_}" >"$OUT" 2>&1; then
        printf 'ok      %-12s %3d s\n' "$check" $((SECONDS - begin))
    else
        printf 'FAILED  %-12s %3d s\n' "$check" $((SECONDS - begin))
        sed 's/^/        /' "$OUT"
        FAILED=$((FAILED + 1))
    fi
done
((FAILED == 0))
