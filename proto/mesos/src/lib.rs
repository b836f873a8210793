//! Apache Mesos' messages as a master, an agent and a framework exchange them.
