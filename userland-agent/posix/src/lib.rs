//! A node as a Linux process: the agent core on sockets, files and the wasm executor.
