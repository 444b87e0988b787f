# SPDX-License-Identifier: Apache-2.0
"""What looks like a secret, and texts without it."""

from __future__ import annotations

import re

MASK = "***"

_NAME = re.compile(
    r"passw|passphrase|pwd|secret|token|credential|api_?key|access_?key|private_?key|auth(?!or)"
    r"|salt|signing|encrypt|dsn|_pass$|^pass$|_key$|^key$|_pw$|^pw$|_jwt|^jwt",
    re.IGNORECASE,
)
# Names of files and such are no secrets, whatever the file holds; PWD is the working directory.
_HARMLESS = re.compile(r"^(PWD|OLDPWD)$|_(FILE|PATH|DIR|URL_PATH|ENABLED|TTL|LENGTH|METHOD)$")
_IN_URL = re.compile(r"(?<=://)[^/@\s\"']+@")
_PEM = "-----BEGIN "
# `name=value`, `name: value`; behind a dash also `--name value`.
_ASSIGNED = re.compile(
    r"(?P<name>[\w.-]+)(?P<sign>\s*[=:]\s*)(?P<quote>[\"']?)(?P<value>[^\s,;&\"']+)"
)
_OPTION = re.compile(
    r"(?P<name>(?<![\w-])--?[\w.-]+)(?P<sign>\s+)(?P<quote>[\"']?)(?P<value>[^\s\-\"'][^\s\"']*)"
)
# Shorter values, such as `1` or `true`, occur everywhere.
_TELLING = 4


def is_secret(name, value):
    """Whether a value looks like a secret, by its name or by itself."""
    if not value:
        return False
    if _PEM in value or _IN_URL.search(value):
        return True
    plain = name.lstrip("-").replace("-", "_")
    return bool(_NAME.search(plain)) and not _HARMLESS.search(plain)


def without(text, values=()):
    """The text with what looks like a secret masked, and these values, wherever they stand."""
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _TELLING:
            text = text.replace(value, MASK)
    if _PEM in text:
        return MASK
    text = _IN_URL.sub(f"{MASK}@", text)
    return _OPTION.sub(_masked, _ASSIGNED.sub(_masked, text))


def without_all(words, values=()):
    """Words of a command line: the word after `--password` is masked, too."""
    result = []
    for word in words:
        flag = result[-1] if result else ""
        follows = flag.startswith("-") and "=" not in flag and not word.startswith("-")
        masked = follows and is_secret(flag, word)
        result.append(MASK if masked else without(word, values))
    return result


def within(value, name=""):
    """Any JSON with what looks like a secret masked."""
    if isinstance(value, dict):
        return {key: within(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [within(part, name) for part in value]
    if isinstance(value, str):
        if "://" in value:
            return without(value)
        return MASK if is_secret(name, value) else without(value)
    return value


def _masked(match):
    if not is_secret(match["name"], match["value"]):
        return match[0]
    return f"{match['name']}{match['sign']}{match['quote']}{MASK}"
