"""The allocators to compare: how each is preloaded, and proof that it is the one in use."""

import glob
import json
import os
import re
import subprocess

# As Debian names them, the first that is there. glibc is there without being preloaded.
PEERS = [
    ("mimalloc", ["libmimalloc.so.2", "libmimalloc.so.3"]),
    ("jemalloc", ["libjemalloc.so.2"]),
    ("tcmalloc", ["libtcmalloc_minimal.so.4"]),
    ("tbb", ["libtbbmalloc_proxy.so.2"]),
]
# The peer that a back end of XSigma is, when it is used directly.
SAME_LIBRARY = {"system": "glibc"}
# What `xsigma run` sets.
SAMPLE_ON = "512K"


class Allocator:
    """One column of the tables. `directly` names the peer that its back end is, if any."""

    def __init__(self, name, library, env=None, version=None, backend=None, mode=None):
        self.name = name
        self.library = library
        self.env = dict(env or {})
        if library:
            self.env["LD_PRELOAD"] = library
        self.known_version = version
        self.backend = backend
        self.mode = mode  # of XSigma's statistics: off, on or sampling
        self.stats = mode in ("on", "sampling")
        self.is_peer = backend is None
        self.directly = None if self.is_peer else SAME_LIBRARY.get(backend, backend)

    @property
    def version(self):
        """Asked for late: the package manager is slow."""
        if self.known_version is None:
            self.known_version = package_version(self.library)
        return self.known_version

    def described(self):
        """For the JSON file: no path of this machine but the file's own name."""
        env = {k: v for k, v in self.env.items() if k != "LD_PRELOAD"}
        file = os.path.basename(os.path.realpath(self.library)) if self.library else None
        return {"name": self.name, "peer": self.is_peer, "file": file, "version": self.version,
                "environment": env, "statistics": self.mode, "same_as_peer": self.directly}


def clean_env(work):
    """Nothing of the caller's environment may steer an allocator or a program."""
    return {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": work, "TMPDIR": work,
            "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1"}


def output_of(command):
    env = clean_env("/")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env,
                              check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def package_version(path):
    """Of the Debian package that holds `path`, or ''."""
    for name in (path, os.path.realpath(path), re.sub("^/usr", "", os.path.realpath(path))):
        owner = output_of(["dpkg-query", "-S", name]).split(":")[0]
        if owner:
            return output_of(["dpkg-query", "-W", "-f", "${Version}", owner])
    return ""


def find_library(soname):
    for line in output_of(["ldconfig", "-p"]).splitlines():
        if line.strip().startswith(soname + " ") and "=>" in line:
            path = line.split("=>")[1].strip()
            if os.uname().machine + "-linux" in path or "/lib64/" in path:
                return path
    found = glob.glob(f"/usr/lib/{os.uname().machine}-linux-gnu/{soname}")
    return found[0] if found else None


def backends_of(tool):
    """The choices of XSIGMA_CPU_BACKEND, as the tool itself lists them, and whether it can sample."""
    lines = output_of([tool, "vars"]).splitlines()
    samples = any(line.startswith("XSIGMA_SAMPLE=") for line in lines)
    for at, line in enumerate(lines):
        found = re.match(r"XSIGMA_CPU_BACKEND=(\S+)", line)
        if found:
            return lines[at + 1].strip().split("|"), samples
    raise SystemExit(f"bench: {tool} vars does not list XSIGMA_CPU_BACKEND")


def all_allocators(root, library, more_peers):
    """Returns those that are there and lines about those that are not."""
    missing = []
    glibc = os.confstr("CS_GNU_LIBC_VERSION").split()[-1]
    debian = output_of(["dpkg-query", "-W", "-f", "${Version}", "libc6"])
    found = [Allocator("glibc", None, version=debian or glibc)]
    for name, sonames in PEERS:
        path = next(filter(None, map(find_library, sonames)), None)
        if path:
            found.append(Allocator(name, path))
        else:
            missing.append(f"{name}: no {' or '.join(sonames)} here")
    for word in more_peers:
        name, _, path = word.partition("=")
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or not os.path.isfile(path):
            raise SystemExit(f"bench: a peer is NAME=/path/of/library.so, not '{word}'")
        if any(a.name == name for a in found) or name.startswith("xsigma"):
            raise SystemExit(f"bench: the name {name} is taken")
        found.append(Allocator(name, os.path.realpath(path)))

    tool = os.path.join(root, "build", "xsigma")
    version = output_of([tool, "--version"]).split()[-1:]
    commit = output_of(["git", "-c", "safe.directory=*", "-C", root, "describe", "--always",
                        "--dirty"]).strip()
    version = " ".join(version + [commit]).strip()
    choices, samples = backends_of(tool)
    # The own core first: it is the default.
    for backend in sorted(choices, key=lambda b: (b != "bfc", b)):
        env = {"XSIGMA_CPU_BACKEND": backend}
        found.append(Allocator(f"xsigma-{backend}", library, dict(env, XSIGMA_STATS="0"), version,
                               backend, "off"))
        # With statistics is what a user gets: nothing set but the back end.
        found.append(Allocator(f"xsigma-{backend}+stats", library, env, version, backend, "on"))
        if samples and backend == "bfc":
            found.append(Allocator(f"xsigma-{backend}+sample", library, dict(env, XSIGMA_SAMPLE=SAMPLE_ON),
                                   version, backend, "sampling"))
    return found, missing


def why_not(allocator, micro, work):
    """None when programs really get this allocator's malloc, else what is wrong."""
    env = dict(clean_env(work), **allocator.env)
    report = os.path.join(work, "probe.json")
    command = [micro, "--malloc"]
    if not allocator.is_peer:
        # The allocator says itself who served the calls; a missing back end ends it.
        env.update(XSIGMA_STATS="1", XSIGMA_STRICT="1", XSIGMA_STATS_FILE=report)
        command = [micro, "pair1/64", "0.02"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env,
                              check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        return str(e)
    if done.returncode != 0:
        return f"status {done.returncode}: {done.stderr.strip()[:200]}"
    if allocator.is_peer:
        holder = os.path.realpath(done.stdout.strip())
        wanted = os.path.realpath(allocator.library) if allocator.library else None
        if wanted is None:
            return None if os.path.basename(holder).startswith("libc") else f"{holder} is in use"
        return None if holder == wanted else f"malloc is {holder}'s"
    try:
        with open(report, encoding="utf-8") as f:
            served = {b["name"]: b["allocations"] for b in json.load(f)["cpu"]["backends"]}
        os.unlink(report)
    except (OSError, ValueError, KeyError) as e:
        return f"no report: {e}"
    return None if served.get(allocator.backend, 0) > 1000 else f"the calls went to {served}"
