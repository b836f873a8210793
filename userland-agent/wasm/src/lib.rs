//! The WebAssembly executor: several modules under grants, with fuel as CPU time.
