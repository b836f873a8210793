//! The bounds that keep a hostile or broken peer from growing the master. What goes over one is refused and counted.

/// Agents admitted at once.
pub const MAX_AGENTS: usize = 200_000;
/// Frameworks known at once.
pub const MAX_FRAMEWORKS: usize = 10_000;
/// Tasks of one framework, terminal but unacknowledged ones included.
pub const MAX_TASKS_PER_FRAMEWORK: usize = 200_000;
/// Operations of one agent whose ends are not acknowledged.
pub const MAX_OPERATIONS_PER_AGENT: usize = 1024;
/// Offer constraints of one framework.
pub const MAX_CONSTRAINTS: usize = 1024;
/// Bytes of a regular expression in an offer constraint.
pub const MAX_REGEX_BYTES: usize = 1024;
/// Roles of one framework.
pub const MAX_ROLES: usize = 64;
/// Filters one framework may hold; beyond it a decline sets no filter.
pub const MAX_FILTERS: usize = 400_000;
/// Bytes of an id (`NAME_MAX`, src/common/validation.cpp).
pub const MAX_ID: usize = 255;
/// Filters one framework may hold on one agent in one role; the one that ends soonest makes room.
pub const MAX_FILTERS_PER_AGENT: usize = 16;
/// Levels of the tree of roles; what a name has below is one level.
pub const MAX_ROLE_DEPTH: usize = 16;
/// Roles with a weight, and roles with a priority.
pub const MAX_WEIGHTS: usize = 100_000;
/// Ended tasks kept for `/state`, per framework.
pub const MAX_COMPLETED_TASKS: usize = 200;
/// Ended frameworks kept, so that none comes back under the same id.
pub const MAX_COMPLETED_FRAMEWORKS: usize = 1000;
/// Of how many of them the ended tasks are kept too (`--max_completed_frameworks`).
pub const MAX_COMPLETED_WITH_TASKS: usize = 50;
/// Statuses kept in one task for `/state`.
pub const MAX_STATUSES: usize = 8;
/// Unreachable agents remembered for reconciliation, and agents gone for ever that are refused; the oldest are forgotten
/// (`--registry_max_agent_count`).
pub const MAX_BYGONE: usize = 100_000;
/// Machines in the maintenance schedule.
pub const MAX_MACHINES: usize = MAX_AGENTS;
/// Offers in one OFFERS event.
pub const MAX_OFFERS_PER_EVENT: usize = 256;
/// Bytes of one scheduler call.
pub const MAX_CALL_BYTES: usize = 4 << 20;
/// Events waiting for one subscriber; one more closes its stream.
pub const MAX_QUEUED_EVENTS: usize = 4096;
/// Bytes waiting for one subscriber; more closes its stream.
pub const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Inputs waiting for the core; beyond it callers wait (libprocess) or get 503 (HTTP).
pub const MAX_QUEUED_INPUTS: usize = 8192;
/// The longest filter (365 days) and failover timeout taken, in milliseconds.
pub const MAX_DURATION_MS: u64 = 365 * 86_400_000;
/// The filter of a decline that names none, in seconds.
pub const DEFAULT_REFUSE_SECONDS: f64 = 5.0;
/// Names of resources beside Mesos' own four that metrics are told of.
pub const MAX_METERED_RESOURCES: usize = 32;
/// Subscribers of the operator API; one more ends the oldest's stream (`--max_operator_event_stream_subscribers` is 1000).
pub const MAX_WATCHERS: usize = 100;
/// Jobs kept at once, ended ones that are not forgotten yet among them.
pub const MAX_JOBS: usize = 10_000;
/// Instances of one job.
pub const MAX_INSTANCES: u32 = 1_000;
/// Instances of all jobs together, those of a periodic job once for each run under way.
pub const MAX_INSTANCES_OF_ALL: usize = 100_000;
/// Runs of one periodic job at once, if they may overlap.
pub const MAX_RUNS_AT_ONCE: usize = 8;
/// Ended tasks, and ended runs, remembered of one job.
pub const MAX_JOB_HISTORY: usize = 20;
/// Bytes of a job's description.
pub const MAX_JOB_BYTES: usize = 64 << 10;
/// Arguments, variables, labels, resources, URIs or constraints of one job.
pub const MAX_JOB_ENTRIES: usize = 64;
/// Bytes of one constraint.
pub const MAX_CONSTRAINT: usize = 256;
/// Nodes whose last offer is remembered, for the reasons that jobs wait.
pub const MAX_NODES_SEEN: usize = 10_000;
/// Jobs in one answer.
pub const MAX_JOBS_SHOWN: usize = 1_000;
