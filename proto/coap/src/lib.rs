//! The CoAP exchange layer shared by node and gateway, without I/O.
