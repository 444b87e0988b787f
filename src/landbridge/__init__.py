"""Landbridge: a machine-learning stack for RHEL nodes without internet."""

from importlib.metadata import version

__version__ = version("landbridge")
