//! The core against a scripted agent and a scripted framework: no sockets, no clock.

mod agents;
mod drivers;
mod frameworks;
mod hostile;
mod inverse;
mod launches;
mod maintenance;
mod offers;
mod operations;
mod operator;
mod promises;
mod recovery;
mod removal;
mod support;
mod tasks;
mod weights;
