#!/bin/bash
# Puts the Landbridge toolkit on a bare Enterprise Linux node, from the bundle this file lies in.
# No network. Everything is checked before anything is changed; a second run changes nothing.
set -euo pipefail
umask 022

usage() {
    cat <<'TEXT'
usage: bootstrap.sh [--trust-key FILE]... [--check]

Installs the Landbridge toolkit (a Python virtual environment with Ansible, and Ansible
collections) from the bundle in which this file lies. Run it as root; it needs no network.
The bundle must be signed by a trusted key: one of /etc/landbridge/keys, or of --trust-key.

  --trust-key FILE   an armored OpenPGP public key that this node trusts from now on; may be
                     repeated, - reads standard input
  --allow-unsigned   look at no signature
  --allow-downgrade  take a bundle that was signed before the last one
  --check            say what would be done, change nothing
  --help             this text
TEXT
}

readonly PREFIX=/opt/landbridge
readonly COMMAND=/usr/local/bin/landbridge
readonly DEPOT_LINK=/var/lib/landbridge/depot/current
readonly KEYS=/etc/landbridge/keys
readonly RECORD=/var/lib/landbridge/release.json
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
# Standard input is the program, so a key that comes from there is read from descriptor 3.
inspect() {
    local python
    python=$(platform_python)
    "$python" -I - "$depot" "$PREFIX" "$KEYS" "$RECORD" "$unsigned" "$downgrade" "$@" \
        3<&0 <<'PYTHON'
import base64
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

depot, prefix, trusted, record = [Path(word) for word in sys.argv[1:5]]
unsigned, downgrade = [word == "yes" for word in sys.argv[5:7]]
problems = []
BEGIN, END = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
PUBLIC_KEY = 6  # tag of an OpenPGP packet (RFC 9580, 5)
OF_BYTES = "00"  # signature of bytes as they are; a text's would overlook changed line ends


def read(name):
    try:
        return json.loads((depot / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit("error: %s: not readable (%s): carry the bundle over again" % (depot / name, error))


def key_blocks(text):
    """The armored public keys in a text, as they are stored and named."""
    found = re.findall(BEGIN + "\n.*?" + END, text.replace("\r", ""), re.DOTALL)
    return [block + "\n" for block in found]


def dearmored(block):
    """The packets of an armored key: after an empty line base64, then a line of checksum."""
    lines = [line.strip() for line in block.partition("\n\n")[2].splitlines()[:-1]]
    data = base64.b64decode("".join(line for line in lines if line[:1] != "="), validate=True)
    tag = data[0] & 0x3F if data[0] & 0x40 else (data[0] & 0x3C) >> 2
    if tag != PUBLIC_KEY:
        raise ValueError("packet %d instead of a public key" % tag)
    return data


def given_keys(files):
    """Keys of --trust-key by the names under which they are stored."""
    found = {}
    for file in files:
        source = 3 if file in ("-", "/dev/stdin") else file
        try:
            with open(source, encoding="utf-8") as stream:
                blocks = key_blocks(stream.read())
            packets = [dearmored(block) for block in blocks]
        except (OSError, ValueError, IndexError) as error:
            packets = []
            problems.append("--trust-key %s: not readable as a public key: %s" % (file, error))
        else:
            if not packets:
                problems.append("--trust-key %s: holds no armored OpenPGP public key" % file)
            for block in blocks:
                found[hashlib.sha256(block.encode()).hexdigest()[:16]] = block
    return found


def all_keys(given):
    """Packets of every key that is trusted: those of the node and those given."""
    packets = []
    for file in sorted(trusted.glob("*.asc")):
        try:
            packets += [dearmored(block) for block in key_blocks(file.read_text("utf-8"))]
        except (OSError, ValueError, IndexError) as error:
            problems.append("%s: not readable as a public key: %s" % (file, error))
    return packets + [dearmored(block) for block in given.values()]


def ask_gpgv(keys):
    """What gpgv tells of each signature, its words by the first, and the last line for people."""
    with tempfile.TemporaryDirectory() as folder:
        ring = Path(folder, "keys.gpg")
        ring.write_bytes(b"".join(keys))
        command = ["gpgv", "--homedir", folder, "--keyring", str(ring), "--status-fd", "1"]
        command += ["--ignore-time-conflict", "--weak-digest", "SHA1"]
        done = subprocess.run(
            command + [str(depot / "manifest.json.asc"), str(depot / "manifest.json")],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    signatures = []
    for line in done.stdout.decode(errors="replace").splitlines():
        _mark, word, *fields = line.split()
        if word == "NEWSIG":
            signatures.append({})
        elif signatures:
            signatures[-1].setdefault(word, []).extend(fields)
    said = done.stderr.decode(errors="replace").strip().splitlines() or ["gpgv says nothing"]
    return signatures, said[-1]


def judge(told):
    """State and time of one signature, from gpgv's status (GnuPG's doc/DETAILS)."""
    valid = told.get("VALIDSIG")
    if valid is None:
        return ("unknown" if "NO_PUBKEY" in told else "bad"), 0
    signed, kind = int(valid[2]), valid[8]
    # An expired key's earlier signatures are good; of several dates the earliest counts.
    expired = min(map(int, told.get("KEYEXPIRED", ["0"])))
    lived = "EXPKEYSIG" in told and signed < expired
    good = kind == OF_BYTES and ("GOODSIG" in told or lived)
    return ("good", signed) if good else ("bad", 0)


def check_signature(given):
    """When the manifest was signed by a trusted key; 0 and a problem if it was not."""
    if not (depot / "manifest.json.asc").is_file():
        what = "manifest.json.asc: missing, the bundle is not signed: sign it with"
        problems.append(what + " `landbridge bundle sign`, or say --allow-unsigned")
        return 0
    if not shutil.which("gpgv", path="/usr/bin:/bin"):
        problems.append("gpgv, which checks the bundle's signature, is missing: install gnupg2")
        return 0
    keys = all_keys(given)
    signatures, said = ask_gpgv(keys)
    verdicts = dict(map(judge, signatures))
    if set(verdicts) == {"unknown"}:
        what = "manifest.json.asc: signed by key %s, none of the %d trusted ones: name the signer's"
        what += " public key with --trust-key FILE, or say --allow-unsigned"
        # The fingerprint, where the signature tells it.
        signer = (signatures[0]["ERRSIG"][6:] or signatures[0]["NO_PUBKEY"])[0]
        problems.append(what % (signer, len(keys)))
    elif "good" not in verdicts:
        what = "manifest.json.asc: the signature is bad (%s): carry the bundle over again"
        problems.append(what % said)
    return verdicts.get("good", 0)


def recorded():
    """What is known of the last bundle."""
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        return {"release": str(known["release"]), "signed": int(known["signed"])}
    except FileNotFoundError:
        return {"release": "", "signed": 0}
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit("error: %s: not readable (%s): remove it" % (record, error))


def day(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


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


def unlisted(folder):
    """Files that the manifest does not know; pip and ansible-galaxy would take them all the same."""
    found = [path for path in (depot / folder).rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted({path.relative_to(depot).as_posix() for path in found} - set(manifest))


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
given = given_keys(sys.argv[7:])
last = recorded()
# Without a signature there is no order: what is known of the last one stays.
signed = last["signed"] if unsigned else check_signature(given)
if 0 < signed < last["signed"] and not downgrade:
    problems.append(
        "the bundle was signed %s, before %s, which this node has had (%s): carry a newer one, "
        "or say --allow-downgrade" % (day(signed), last["release"], day(last["signed"]))
    )
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
for path in unlisted("toolkit") + unlisted("collections"):
    problems.append("%s: not in the manifest: carry the bundle over again" % path)
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
    "new_record": json.dumps({"release": content["release"], "signed": signed}),
}
for name, block in given.items():
    values["new_keys[%s]" % name] = block.rstrip("\n")
for key, value in values.items():
    print("%s=%s" % (key, shlex.quote(value)))
PYTHON
}

# The interpreter, from the bundle's own RPMs and nothing else, signatures checked.
install_python() {
    local key checked=1
    [[ $unsigned == no ]] || checked=0
    for key in "$KEYS"/*.asc; do
        [[ ! -f $key ]] || key_urls+=" file://$key"
    done
    say "installing $python_package from the bundle"
    mkdir -p "$work/repos"
    cat >"$work/repos/landbridge.repo" <<TEXT
[landbridge-bootstrap]
name=Landbridge bundle $release
baseurl=$rpm_url
gpgkey=$key_urls
gpgcheck=1
repo_gpgcheck=$checked
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

# Put a text in place in one step.
store() {
    local text=$1 file=$2
    mkdir -p "$(dirname "$file")"
    printf '%s\n' "$text" >"$file.new"
    chmod 0644 "$file.new"
    sync "$file.new"
    mv -fT "$file.new" "$file"
}

holds() {
    [[ $(cat "$2" 2>/dev/null) == "$1" ]]
}

# Names of given keys that are not stored; a key's name is the hash of its text.
missing_keys() {
    local name
    for name in "${!new_keys[@]}"; do
        holds "${new_keys[$name]}" "$KEYS/$name.asc" || echo "$name"
    done
}

# Links that do not lead where they should, one "target link" a line. A link of one's own that
# leads to this very bundle, such as a depot's, is left alone, as is the bundle in its place.
stale_links() {
    local pair
    for pair in "$toolkit $PREFIX/toolkit" "$PREFIX/toolkit/bin/landbridge $COMMAND"; do
        [[ $(readlink "${pair##* }" 2>/dev/null) == "${pair% *}" ]] || echo "$pair"
    done
    [[ $(readlink -f "$DEPOT_LINK") == "$depot" ]] || echo "$depot $DEPOT_LINK"
}

# Sets what the command line says.
options() {
    while (($#)); do
        case $1 in
        --check) check=yes ;;
        --allow-unsigned) unsigned=yes ;;
        --allow-downgrade) downgrade=yes ;;
        --trust-key)
            trust+=("${2?--trust-key needs a file}")
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            exit 2
            ;;
        esac
        shift
    done
}

# What a run without --check would do.
tell() {
    local name pair
    [[ -n $python ]] || echo "would install $python_package from $rpm_url"
    for name in $(missing_keys); do echo "would trust $KEYS/$name.asc"; done
    toolkit_works || echo "would build $toolkit"
    stale_links | while read -r pair; do echo "would link ${pair##* } to ${pair% *}"; done
    holds "$new_record" "$RECORD" || echo "would record $new_record"
    echo "checked: $release can be bootstrapped here"
}

main() {
    local check=no unsigned=no downgrade=no trust=()
    options "$@"
    depot=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
    local values pair name
    local -A new_keys=()
    values=$(inspect "${trust[@]}")
    eval "$values"

    if [[ $check == yes ]]; then
        work=/
        tell
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
    for name in $(missing_keys); do
        say "trusting $KEYS/$name.asc from now on"
        store "${new_keys[$name]}" "$KEYS/$name.asc"
        changed=yes
    done
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
    if ! holds "$new_record" "$RECORD"; then
        store "$new_record" "$RECORD"
        changed=yes
    fi
    if [[ $changed == yes ]]; then
        say "toolkit of $release is in place"
    else
        say "unchanged: toolkit of $release is in place"
    fi
    say "next: $COMMAND apply"
}

main "$@"
