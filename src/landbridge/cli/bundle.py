"""`landbridge bundle`: the verbs of a bundle, each in a file of its own."""

from __future__ import annotations

from landbridge.cli.lazy import group

app = group(
    "Build a bundle where there is internet, check it anywhere.",
    {
        "plan": (
            "build:plan",
            "Tell what a build would fetch, from where, and the space it needs; "
            "nothing is fetched.",
        ),
        "build": (
            "build:build",
            "Fetch and index what the lock of a stack holds, and write it as one folder.",
        ),
        "sign": (
            "sign:sign",
            "Sign a bundle, its repositories of RPMs too; good signatures by this key stay.",
        ),
        "verify": (
            "sign:verify",
            "Check a bundle's signature, then every file; exit code 1 names each that differs.",
        ),
        "delta": ("delta:delta", "Write only what the receiver of a bundle lacks."),
        "split": (
            "delta:split",
            "Split a bundle or a delta into volumes for media, each with its checksum.",
        ),
    },
)
