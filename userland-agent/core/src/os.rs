//! What the agent asks of the system under it.

use grants::{Grant, Leds};
use node_proto::{Document, Failure, Inventory, Kind, Power, SIGNATURE_LEN, TaskHandle};

/// First half of an image's SHA-256: its name on the node.
pub type Digest = [u8; 16];

/// Names of the small records that survive a restart. Each is at most [`Record::MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Record {
    /// Number of starts, and the number drawn when the storage was new.
    Boot,
    /// Newest command acted on.
    Seen,
    /// Which images are in storage.
    Images,
    /// The key identifier, and the bound below which own OSCORE numbers may have been used with that key.
    Sequence,
    /// The newest release of each image of a publisher's.
    Releases,
    /// The task in one of [`node_proto::limits::TASKS_MAX`] slots.
    Slot(u8),
}

impl Record {
    /// Largest record, bytes.
    pub const MAX: usize = 320;
}

/// Who is at the other end of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// The gateway.
    Gateway,
    /// Somebody else, by a number below [`Peer::VISITORS_MAX`] that the port gives to an address, and again to another
    /// one when the numbers are used up.
    Visitor(u8),
}

impl Peer {
    /// Others whose requests are remembered.
    pub const VISITORS_MAX: u8 = 4;
}

/// Storage could not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageError {
    /// No room left.
    Full,
    /// Anything else: a worn block, a missing file.
    Failed,
}

/// What image storage takes, apart from the bytes in all ([`Inventory::flash_bytes`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Images at once. Storage in areas of one size holds one image in each, however short it is.
    pub count: usize,
    /// Bytes of one image.
    pub bytes: u32,
}

/// Bytes of an image on its way in.
#[derive(Clone, Copy, Debug)]
pub struct Intake<'a> {
    /// The task that it is for.
    pub task: TaskHandle,
    /// What it is.
    pub kind: Kind,
    /// Where the bytes stand in it.
    pub offset: u32,
    /// The bytes, at least one.
    pub bytes: &'a [u8],
}

/// Everything an executor needs to run a task.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// The task.
    pub task: TaskHandle,
    /// Its image in storage, complete and checked.
    pub image: Digest,
    /// Length of the image, bytes.
    pub image_len: u32,
    /// SHA-256 of the image, of which `image` is the first half: found to be this, not only said.
    pub sha256: [u8; 32],
    /// Kind of the image.
    pub kind: Kind,
    /// Entry, arguments, environment, data, and the check.
    pub document: Document<'a>,
    /// What it may use.
    pub grant: Grant,
    /// Which of the node's LEDs are its own.
    pub leds: Leds,
    /// It ran before the node restarted, and what it kept is there for it.
    pub resumed: bool,
}

/// Why a task was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// The class, for the Mesos reason.
    pub failure: Failure,
    /// For people; cut to fit a status.
    pub note: alloc::string::String,
}

/// What happened to a running task. A task's events come in order, and nothing follows one that ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes for the framework, at most [`node_proto::limits::MESSAGE_LONG_MAX`].
    Message(alloc::vec::Vec<u8>),
    /// Bytes of log, at most [`node_proto::limits::LOG_DATA_MAX`].
    Log(alloc::vec::Vec<u8>),
    /// The entry returned.
    Exited(i32),
    /// It was ended by [`Os::kill`].
    Killed,
    /// Its health check changed its mind; it runs on.
    Health(bool),
    /// Its check returned another value; it runs on.
    Checked(i32),
    /// It failed.
    Failed(Failure, alloc::string::String),
}

/// What a task has used since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskUsage {
    /// CPU time, milliseconds.
    pub cpu_ms: u32,
    /// CPU time its grant allowed, milliseconds.
    pub granted_ms: u32,
    /// Memory now, bytes.
    pub mem_bytes: u32,
    /// The most memory it had at once, bytes.
    pub mem_peak_bytes: u32,
    /// Messages to its framework.
    pub messages: u32,
    /// Bytes of its log.
    pub log_bytes: u32,
}

/// What the node used since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeUsage {
    /// Frames sent.
    pub frames_out: u32,
    /// Their bytes.
    pub bytes_out: u32,
    /// Frames received.
    pub frames_in: u32,
    /// Their bytes.
    pub bytes_in: u32,
    /// Time that the processor worked, milliseconds.
    pub cpu_ms: u64,
}

/// The system under the agent. No call may block for longer than storage takes.
pub trait Os {
    /// Milliseconds on a clock that never goes back.
    fn now_ms(&self) -> u64;
    /// What the node has; constant while it runs.
    fn inventory(&self) -> Inventory;
    /// The radio's EUI-64.
    fn eui64(&self) -> [u8; 8];
    /// Current supply.
    fn power(&self) -> Power;
    /// What the node used since it started.
    fn used(&self) -> NodeUsage;
    /// Sends one datagram. Loss is nothing special: no error comes back.
    fn send(&mut self, to: Peer, datagram: &[u8]);

    /// Reads a record into `buffer`, gives its length, or `None` if it was never put.
    fn get(&mut self, record: Record, buffer: &mut [u8]) -> Result<Option<usize>, StorageError>;
    /// Replaces a record, whole or not at all, and returns when it would survive a loss of power.
    fn put(&mut self, record: Record, bytes: &[u8]) -> Result<(), StorageError>;
    /// Removes a record.
    fn delete(&mut self, record: Record) -> Result<(), StorageError>;

    /// Bytes of an image in storage so far; 0 if there are none.
    fn image_len(&mut self, image: &Digest) -> Result<u32, StorageError>;
    /// Writes at `offset`, which is at most the present length; what was there after it is cut off.
    fn image_write(&mut self, image: &Digest, offset: u32, bytes: &[u8]) -> Result<(), StorageError>;
    /// Reads at `offset`; gives how many bytes were read, 0 at the end.
    fn image_read(&mut self, image: &Digest, offset: u32, buffer: &mut [u8]) -> Result<usize, StorageError>;
    /// Removes an image; no error if there is none.
    fn image_remove(&mut self, image: &Digest) -> Result<(), StorageError>;

    /// Removes the images that are not to be kept: those that the agent lost track of. Called once, at the start.
    fn image_retain(&mut self, keep: &dyn Fn(&Digest) -> bool) -> Result<(), StorageError> {
        let _ = keep;
        Ok(())
    }
    /// Tasks at once that there is memory for besides what they are granted, at most
    /// [`TASKS_MAX`](node_proto::limits::TASKS_MAX); constant while the node runs.
    fn tasks_max(&self) -> usize {
        node_proto::limits::TASKS_MAX
    }
    /// What image storage takes; constant while the node runs.
    fn image_limits(&self) -> ImageLimits {
        ImageLimits { count: usize::MAX, bytes: u32::MAX }
    }

    /// Whether a signature of a message is this Ed25519 key's. A port whose kernel can tell asks it, and is built
    /// without the feature `ed25519`.
    #[cfg(feature = "ed25519")]
    fn verify(&mut self, key: &[u8; 32], signature: &[u8; SIGNATURE_LEN], message: &[u8]) -> bool {
        node_proto::verify(key, signature, message)
    }
    /// Whether a signature of a message is this Ed25519 key's.
    #[cfg(not(feature = "ed25519"))]
    fn verify(&mut self, key: &[u8; 32], signature: &[u8; SIGNATURE_LEN], message: &[u8]) -> bool;

    /// Shows the executor the next piece of an image that a task is to run. Pieces of a task come in order; one at
    /// offset 0 begins anew. An error says that the image could never run: the rest of it is not fetched.
    fn intake(&mut self, piece: &Intake<'_>) -> Result<(), StartError>;
    /// Starts a task.
    fn start(&mut self, start: &Start<'_>) -> Result<(), StartError>;
    /// Tells a task that it has `grace_ms` left. False if it cannot notice: there is nothing to wait for then.
    fn stop(&mut self, task: TaskHandle, grace_ms: u32) -> bool;
    /// Ends a task; [`Event::Killed`] follows, unless it has ended by itself.
    fn kill(&mut self, task: TaskHandle);
    /// Hands bytes from the framework to a running task; lost if it does not take them for long.
    fn deliver(&mut self, task: TaskHandle, data: &[u8]);
    /// The next event of one task.
    fn next_event(&mut self, task: TaskHandle) -> Option<Event>;
    /// What a running task has used.
    fn usage(&self, task: TaskHandle) -> Option<TaskUsage>;
}
