#!/bin/bash
# Eight ranks of Open MPI: eight records, and one report of them all.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
PATH=/usr/bin:/bin:$PATH
need python3 mpirun mpicc

cat >"$work/ranks.c" <<'END'
#include <mpi.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    int rank, sum = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    for (int i = 0; i < 10000 * (rank + 1); i++) {
        void *volatile p = malloc(4321);
        if (i % 2 == 0)
            free(p);
    }
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    MPI_Finalize();
    return sum == 28 ? 0 : 1;
}
END
mpicc -O1 -fno-builtin -o "$work/ranks" "$work/ranks.c" || skip "mpicc does not work here"
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout 200 mpirun --oversubscribe \
    --mca btl self,vader --mca pml ob1 --mca mpi_yield_when_idle 1 -n 8 \
    -x LD_PRELOAD="$lib" -x XSIGMA_RECORD="$work/records" -x XSIGMA_RECORD_KEEP=1 \
    -x XSIGMA_STATS_FILE="$work/%r.json" "$work/ranks" >"$work/out" 2>&1
rc=$?
[ $rc -eq 0 ] || fail "mpirun: status $rc: $(head -n 5 "$work/out")"
n=$(find "$work/records" -name 'ranks.*.xsr' | wc -l)
[ "$n" -eq 8 ] || fail "$n records instead of 8: $(ls "$work/records")"
"$build/xsigma" report --json "$work/records" >"$work/merged.json" || fail "no merged report"
python3 - "$work" <<'END' || fail "wrong sums"
import json, sys
work = sys.argv[1]
merged = json.load(open(work + "/merged.json"))
ranks = [json.load(open("%s/%d.json" % (work, i))) for i in range(8)]
wrong = []
if [p["rank"] for p in merged["processes"]] != list(range(8)):
    wrong.append("ranks: %s" % [p["rank"] for p in merged["processes"]])
for key in "allocations", "frees", "requested_bytes", "reallocs":
    want = sum(r["cpu"]["totals"][key] for r in ranks)
    if merged["cpu"]["totals"][key] != want:
        wrong.append("%s: %d instead of %d" % (key, merged["cpu"]["totals"][key], want))
# 4321 bytes are in the bin of 4097 to 8192.
for i, r in enumerate(ranks):
    if r["cpu"]["totals"]["size_bins"][13] < 10000 * (i + 1):
        wrong.append("rank %d has too few: %d" % (i, r["cpu"]["totals"]["size_bins"][13]))
print(len(merged["processes"]), "ranks,", merged["cpu"]["totals"]["allocations"], "allocations", wrong)
sys.exit(bool(wrong))
END
finish
