#!/usr/bin/env python3
"""make_report.py [BASE] - a JSON report with every section that there can be, for tests of the page.

BASE is a report of the library, whose other sections are kept. The numbers are made up, the same
each time; the names are such as try to get out of where they stand.
"""
import json
import math
import random
import sys

MIB = 1 << 20
POINTS = 400
HOSTILE = '</script><img src=x onerror="document.title=1">\u2028"\'&<!--'


def report(base):
    r = random.Random(7)
    rows = range(POINTS)
    allocations = [i * 41000 for i in rows]
    live = [int((300 + 260 * math.sin(i / 23) + 1.1 * i) * MIB) for i in rows]
    base["process"]["program"] = "mc_pricer" + HOSTILE
    base["timeline"] = {
        "interval_ns": 50_000_000,
        "t_ns": [i * 50_000_000 for i in rows],
        "requested_bytes": [i * 9 * MIB for i in rows],
        "allocations": allocations,
        "frees": [max(0, n - 900 - 37 * i) for i, n in enumerate(allocations)],
        "in_use_bytes": live,
        "reserved_bytes": [max(live[: i + 1]) + 96 * MIB for i in rows],
        "rss_bytes": [None if i in (20, 21) else v + 40 * MIB for i, v in enumerate(live)],
        "gpu": [{
            "device": 0,
            "in_use_bytes": [int(6000 * MIB * min(1, i / 40) * (0.8 + 0.2 * math.cos(i / 9))) for i in rows],
            "cached_bytes": [int(900 * MIB * min(1, i / 90)) for i in rows],
            "hits": [0 if i < 10 else (i - 10) * 120 for i in rows],
            "misses": [min(i, 60) * 25 for i in rows],
        }],
    }
    paths = [
        ["operator new", "std::vector<double>::_M_realloc_insert", "Paths::push", "build_paths", "simulate", "main"],
        ["malloc", "load_trades", "read_book", "main"],
        ["operator new", "std::make_shared<Curve>", "Market::curve", "price_swap", "simulate", "main"],
        ["calloc", "Grid::Grid", "solve_pde", "price_barrier", "simulate", "main"],
        ["malloc", "emergency_pool", "__libc_start_main"],
    ] + [["malloc", f"leaf_{i}{HOSTILE if i == 3 else ''}", f"middle_{i % 7}", "simulate", "main"] for i in range(90)]
    base["sampling"] = {"mean_bytes": 524288, "unwinder": "libunwind", "samples": 18344, "dropped": 0,
                        "sites": len(paths) + 1}
    sites = []
    for i, path in enumerate(paths):
        peak = int(MIB * 700 / (1 + i) ** 1.2 * (0.8 + 0.4 * r.random()))
        sites.append({
            "kind": "cpu",
            "frames": [{"address": hex(0x401000 + 64 * i + k), "module": "/opt/quant/bin/mc_pricer", "function": f,
                        "file": None if k == 0 else f"/src/{f.split('(')[0][:12]}.cc", "line": None if k == 0 else 10 + i,
                        "inlined": False} for k, f in enumerate(path)],
            "live_bytes": peak // 9 if i % 3 else 0, "live_bytes_error": peak // 60, "live_blocks": i * 3,
            "peak_bytes": peak, "peak_bytes_error": peak // 40, "peak_blocks": i * 40,
            "total_bytes": peak * 30, "total_bytes_error": peak // 2, "total_blocks": i * 4000,
            "suppressed": "libstdc++ emergency pool" if path[1] == "emergency_pool" else None})
    sites.append({"kind": "gpu0", "frames": [{"address": "0x7f00", "module": "/usr/lib/libcublas.so", "function": None,
                                              "file": None, "line": None, "inlined": False}],
                  "live_bytes": 0, "live_bytes_error": 0, "live_blocks": 0, "peak_bytes": 6000 * MIB, "peak_bytes_error": 0,
                  "peak_blocks": 12, "total_bytes": 90000 * MIB, "total_bytes_error": 0, "total_blocks": 900, "suppressed": None})
    base["sites"] = sites
    bins = [0] * 12 + [700, 9000, 30000, 22000, 14000, 7000, 4000, 1500, 800, 500, 300, 200] + [0] * 8 + [100, 60, 0, 40, 10]
    one = {"samples": 90210, "calls": 812_400_000, "p50_ns": 63, "p99_ns": 210, "p999_ns": 1900, "max_ns": 81000,
           "bins": [9006 * n for n in bins]}
    base["latency"] = {"malloc": one, "free": dict(one, p50_ns=47, bins=one["bins"][1:]),
                       "lock_waits": {"count": 3, "ns": 41000, "max_ns": 30000},
                       "gpu_lock_waits": {"count": 0, "ns": 0, "max_ns": 0}}
    gpu = dict.fromkeys((
        "allocations frees requested_bytes hits misses_cold misses_evicted misses_size misses_stream ooms driver_mallocs "
        "driver_frees driver_ns in_use_bytes in_use_bytes_peak cached_bytes cached_bytes_peak reserved_bytes "
        "reserved_bytes_peak pinned_in_use_bytes pinned_in_use_bytes_peak managed_in_use_bytes "
        "managed_in_use_bytes_peak").split(), 0)
    gpu.update(device=0, backend="caching", allocations=48300, hits=46800, misses_cold=300, misses_evicted=1200,
               hit_permille=830, in_use_bytes_peak=6000 * MIB, cached_bytes=256 * MIB, cached_bytes_peak=900 * MIB,
               reserved_bytes=256 * MIB, reserved_bytes_peak=6900 * MIB, pinned_in_use_bytes_peak=512 * MIB,
               driver_mallocs=1500, driver_frees=1400, driver_ns=880_000_000)
    base["gpu"] = [gpu]
    base["advice"] = [
        {"id": "gpu-hit-rate", "device": 0, "metric": "hit_permille", "value": 830, "threshold": 900,
         "text": "83% of the requests needed no call of the driver; most others had been given back for want of room in "
                 "the cache", "variable": "XSIGMA_GPU_CACHE_MAX", "current": "256M", "suggested": "1G"},
        {"id": "growth", "device": None, "metric": "growth_steps", "value": 9, "threshold": 3,
         "text": "the own core got its memory in 9 steps" + HOSTILE, "variable": "XSIGMA_BFC_INITIAL", "current": "2M",
         "suggested": "700M"}]
    base["warnings"] = ["XSIGMA_CPU_CACHE=2Q is no size" + HOSTILE]
    return base


def main():
    base = {"schema": "xsigma.stats/1", "version": "0", "process": {}, "config": [], "cpu": {}, "size_classes": []}
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as f:
            base = json.load(f)
    json.dump(report(base), sys.stdout, ensure_ascii=False)


main()
