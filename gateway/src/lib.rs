//! The bridge: every micro node behind it is an agent of its own to the Mesos master.
