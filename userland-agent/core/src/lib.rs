//! The node agent as a state machine without I/O.
