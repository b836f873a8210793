//! Whole-system tests: the real binaries on loopback.
