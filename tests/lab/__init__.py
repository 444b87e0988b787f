"""The lab: EL-like nodes without internet and upstream repositories, made on one Debian machine."""
