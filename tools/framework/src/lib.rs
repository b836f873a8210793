//! Scheduler bindings for the Mesos v1 HTTP API.
