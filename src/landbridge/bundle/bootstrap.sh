#!/bin/bash
# Puts the Landbridge toolkit on a bare Enterprise Linux node, from the bundle this file lies in.
# No network. Everything is checked before anything is changed; a second run changes nothing.
set -euo pipefail
umask 022

usage() {
    cat <<'TEXT'
usage: bootstrap.sh [--check] [--help]

Installs the Landbridge toolkit (a Python virtual environment with Ansible, and Ansible
collections) from the bundle in which this file lies. Run it as root; it needs no network.

  --check   say what would be done, change nothing
  --help    this text
TEXT
}

readonly PREFIX=/opt/landbridge
readonly COMMAND=/usr/local/bin/landbridge
readonly DEPOT_LINK=/var/lib/landbridge/depot/current
readonly LOG=/var/log/landbridge/bootstrap.log

say() {
    echo "$*"
    [[ ! -w $LOG ]] || printf '%s %s\n' "$(date -Is)" "$*" >>"$LOG"
}

die() {
    say "error: $*" >&2
    exit 1
}

# Run a command with its output in the log; when it fails, show the end of that.
logged() {
    local what=$1
    shift
    printf '%s + %s\n' "$(date -Is)" "$*" >>"$LOG"
    if ! "$@" >>"$LOG" 2>&1 </dev/null; then
        tail -n 20 "$LOG" >&2
        die "$what failed; the whole output is in $LOG"
    fi
}

platform_python() {
    local python
    for python in /usr/libexec/platform-python /usr/bin/python3; do
        if [[ -x $python ]]; then
            echo "$python"
            return
        fi
    done
    die "neither /usr/libexec/platform-python nor /usr/bin/python3 is here: not an Enterprise Linux?"
}

# Look at the node and the bundle; print what the shell needs, or every problem and fail.
inspect() {
    local python
    python=$(platform_python)
    "$python" -I - "$1" "$PREFIX" <<'PYTHON'
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

depot, prefix = Path(sys.argv[1]), Path(sys.argv[2])
problems = []


def read(name):
    try:
        return json.loads((depot / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit("error: %s: not readable (%s): carry the bundle over again" % (depot / name, error))


def os_release():
    pairs = {}
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        pairs[key] = value.strip().strip("'\"")
    return pairs


def this_target():
    release = os_release()
    name = release.get("PLATFORM_ID", "").rpartition(":")[2]
    return "%s-%s" % (name or release.get("ID", "unknown"), platform.machine()), release


def check_file(path, promised, with_hash):
    file = depot / path
    if not file.is_file():
        return "%s: missing" % path
    size = file.stat().st_size
    if size != promised["size"]:
        return "%s: %d bytes instead of %d" % (path, size, promised["size"])
    if with_hash and hashlib.sha256(file.read_bytes()).hexdigest() != promised["sha256"]:
        return "%s: sha256 differs from the manifest" % path
    return None


def version_of(python):
    code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-I", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode().strip()


def check_space(folder, wanted):
    while not folder.exists():
        folder = folder.parent
    state = os.statvfs(str(folder))
    free = state.f_bavail * state.f_frsize
    if wanted > free:
        problems.append("%s: needs %d bytes, %d bytes are free" % (folder, wanted, free))
    if state.f_flag & os.ST_NOEXEC:
        problems.append("%s: mounted noexec, programs there cannot run" % folder)


if os.geteuid() != 0:
    problems.append("must be run as root")
manifest, content = read("manifest.json")["files"], read("content.json")
target, release = this_target()
carried = content["targets"].get(target)
if carried is None:
    sys.exit(
        "error: this node is %s (%s), the bundle %s is for %s"
        % (target, release.get("PRETTY_NAME", "?"), content["release"], ", ".join(content["targets"]))
    )
python = shutil.which(carried["python"], path="/usr/bin") or ""
if not python and not carried["rpm"]:
    problems.append("%s is missing here, and the bundle carries no RPMs" % carried["python"])
for path, promised in sorted(manifest.items()):
    needed = path.startswith(("toolkit/", "collections/", "content.json"))
    if not python and carried["rpm"]:
        # dnf checks the packages themselves against repodata and keys.
        in_rpm = path.startswith(carried["rpm"] + "/")
        needed = needed or path.startswith("rpm/keys/") or (in_rpm and "/repodata/" in path)
        if in_rpm and not needed:
            fault = check_file(path, promised, with_hash=False)
            problems += [fault] if fault else []
    if needed:
        fault = check_file(path, promised, with_hash=True)
        problems += [fault] if fault else []
version = version_of(python) if python else carried["python"].replace("python", "", 1)
if python and not (depot / "toolkit" / ("requirements-%s.txt" % version)).is_file():
    problems.append("%s is Python %s, for which the bundle has no toolkit" % (python, version or "?"))
toolkit = prefix / "toolkits" / content["toolkit"]["id"]
if not toolkit.exists() or (toolkit / ".incomplete").exists():
    check_space(prefix, content["installed_bytes"]["toolkit"] * 3 // 2)
if problems:
    sys.exit("\n".join("error: " + problem for problem in problems))
values = {
    "release": content["release"],
    "toolkit": str(toolkit),
    "python_package": carried["python"],
    "python": python,
    "rpm_url": (depot / carried["rpm"]).as_uri() if carried["rpm"] else "",
    "key_urls": " ".join((depot / key).as_uri() for key in content["rpm_keys"]),
}
for key, value in values.items():
    print("%s=%s" % (key, shlex.quote(value)))
PYTHON
}

# The interpreter, from the bundle's own RPMs and nothing else, signatures checked.
install_python() {
    say "installing $python_package from the bundle"
    mkdir -p "$work/repos"
    cat >"$work/repos/landbridge.repo" <<TEXT
[landbridge-bootstrap]
name=Landbridge bundle $release
baseurl=$rpm_url
gpgkey=$key_urls
gpgcheck=1
enabled=1
TEXT
    logged "installing $python_package" dnf -y --noplugins \
        --setopt=reposdir="$work/repos" --setopt=cachedir="$work/dnf" \
        --setopt=install_weak_deps=False --setopt=gpgcheck=1 install "$python_package"
    python=/usr/bin/$python_package
}

# Only what is named here reaches the tools: no PIP_*, PYTHON* or ANSIBLE_* of the caller.
clean() {
    env -i PATH=/usr/sbin:/usr/bin HOME="$work" LANG=C.UTF-8 TMPDIR="$work" \
        PIP_CONFIG_FILE=/dev/null "$@"
}

# A virtual environment cannot be moved: it is built where it stays, marked as unfinished.
build_toolkit() {
    local version pip
    version=$("$python" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    local requirements=$depot/toolkit/requirements-$version.txt
    [[ -f $requirements ]] || die "$python is Python $version: the bundle has no toolkit for it"
    pip=$(echo "$depot"/toolkit/wheels/pip-*.whl)
    say "building $toolkit with Python $version"
    rm -rf "$toolkit"
    mkdir -p "$toolkit"
    touch "$toolkit/.incomplete"
    logged "making the virtual environment" clean "$python" -I -m venv --without-pip "$toolkit"
    logged "installing the toolkit's wheels" clean "$toolkit/bin/python" "$pip/pip" install \
        --no-index --find-links "$depot/toolkit/wheels" --require-hashes --only-binary :all: \
        --no-cache-dir --disable-pip-version-check --no-input -r "$requirements"
    logged "installing the collections" clean "$toolkit/bin/ansible-galaxy" collection install \
        --offline -p "$toolkit/collections" "$depot"/collections/*.tar.gz
    logged "trying the toolkit" clean "$toolkit/bin/landbridge" --help
    if command -v selinuxenabled >/dev/null && selinuxenabled; then
        logged "labelling the toolkit" restorecon -R "$toolkit"
    fi
    rm "$toolkit/.incomplete"
}

toolkit_works() {
    [[ -d $toolkit && ! -e $toolkit/.incomplete ]] &&
        clean "$toolkit/bin/python" -I -c 'import landbridge' 2>/dev/null
}

# Make or replace a link in one step.
switch() {
    local to=$1 link=$2
    if [[ -e $link && ! -L $link ]]; then
        die "$link is in the way: it is not a link; move it aside"
    fi
    mkdir -p "$(dirname "$link")"
    ln -sfn "$to" "$link.new"
    mv -fT "$link.new" "$link"
}

# Links that do not point where they should, one "target link" a line.
stale_links() {
    local pair link
    for pair in "$toolkit $PREFIX/toolkit" "$PREFIX/toolkit/bin/landbridge $COMMAND" \
        "$depot $DEPOT_LINK"; do
        link=${pair##* }
        # A bundle that was put where the link would be needs none.
        if [[ $depot != "$link" && $(readlink "$link" 2>/dev/null) != "${pair% *}" ]]; then
            echo "$pair"
        fi
    done
}

main() {
    local check=no
    case ${1-} in
    "") ;;
    --check) check=yes ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    depot=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
    local values pair
    values=$(inspect "$depot")
    eval "$values"
    local next="next: $COMMAND apply"

    if [[ $check == yes ]]; then
        work=/
        [[ -n $python ]] || echo "would install $python_package from $rpm_url"
        toolkit_works || echo "would build $toolkit"
        stale_links | while read -r pair; do echo "would link ${pair##* } to ${pair% *}"; done
        echo "checked: $release can be bootstrapped here"
        return
    fi

    mkdir -p "$PREFIX/toolkits" "$(dirname "$LOG")" /var/lib/landbridge
    touch "$LOG"
    exec 9>/var/lib/landbridge/bootstrap.lock
    flock -n 9 || die "another bootstrap.sh is running"
    # Beside the toolkits and not in /tmp, which may forbid to execute.
    work=$PREFIX/.bootstrap
    rm -rf "$work"
    mkdir -m 700 "$work"
    trap 'rm -rf "$work"' EXIT
    local changed=no
    if [[ -z $python ]]; then
        install_python
        changed=yes
    fi
    if ! toolkit_works; then
        build_toolkit
        changed=yes
    fi
    while read -r pair; do
        switch "${pair% *}" "${pair##* }"
        changed=yes
    done < <(stale_links)
    if [[ $changed == yes ]]; then
        say "toolkit of $release is in place"
    else
        say "unchanged: toolkit of $release is in place"
    fi
    say "$next"
}

main "$@"
