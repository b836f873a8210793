//! A single-node Mesos master: scheduler API, agent protocol, allocation policies.
