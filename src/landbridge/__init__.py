"""Landbridge: a machine-learning stack for RHEL nodes without internet."""
