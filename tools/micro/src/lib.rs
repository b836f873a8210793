//! The operator's command: demo, node, gateway, master, and questions to a running system.
