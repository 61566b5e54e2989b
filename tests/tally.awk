# SPDX-License-Identifier: MIT
#
# Adds up TAP files: prints "N passed, N failed". A file of node's runner closes with its
# own sums ("# pass 3"), which count nested tests; in all others a top-level line is a test.

function flush_file() {
    # Lines that tests/check.sh appended after node's sums are failures of the suite.
    if (has_sums) {
        passed += sum_pass
        failed += sum_fail > late_fail + 0 ? sum_fail : late_fail + 0
    } else {
        passed += n_ok
        failed += n_not_ok
    }
    has_sums = sum_pass = sum_fail = late_fail = n_ok = n_not_ok = 0
}

FNR == 1 { flush_file() }
/^ok/ { n_ok++ }
/^not ok/ { n_not_ok++; if (has_sums || /- suite /) late_fail++ }
/^# pass [0-9]+$/ { has_sums = 1; sum_pass += $3 }
/^# (fail|cancelled) [0-9]+$/ { has_sums = 1; sum_fail += $3 }
END {
    flush_file()
    printf "%d passed, %d failed\n", passed, failed
}
