//! The agent's system on Linux: sockets, files, the wasm executor.

use crate::board::{Board, Devices};
use crate::link::Link;
use crate::storage::Storage;
use crate::values::Values;
use agent_core::{
    Digest, Event, Intake, NodeUsage, Os, Peer, Record, Start, StartError, StorageError, TaskUsage,
};
use agent_wasm::{Executor, Host, HostError, Kv, KvError, Launch, Screen};
use lowpan::Eui64;
use node_proto::limits::TASKS_MAX;
use node_proto::{Arch, Failure, Inventory, Kind, Power, Runtimes, TaskHandle};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(crate) struct PosixOs {
    pub link: Link,
    pub executor: Executor,
    pub devices: Devices,
    board: Board,
    eui64: Eui64,
    block_szx: u8,
    storage: Storage,
    /// Images on their way in, by the task that they are for.
    screens: BTreeMap<TaskHandle, Screen>,
    values: Values,
    started: Instant,
    /// Time spent on work, of the agent and of its tasks.
    pub busy: Duration,
}

impl PosixOs {
    pub fn new(board: Board, eui64: Eui64, block_szx: u8, storage: Storage, link: Link) -> Self {
        Self {
            link,
            executor: Executor::new(agent_wasm::Config::default()),
            devices: Devices::new(&board),
            board,
            eui64,
            block_szx,
            storage,
            screens: BTreeMap::new(),
            values: Values::default(),
            started: Instant::now(),
            busy: Duration::ZERO,
        }
    }

    /// Lets the tasks run; gives the time at which there is more to do.
    pub fn run_tasks(&mut self) -> Option<u64> {
        let now_ms = self.now_ms();
        let mut host =
            NodeHost { devices: &mut self.devices, storage: &self.storage, values: &mut self.values };
        self.executor.step(&mut host, now_ms)
    }
}

struct NodeHost<'a> {
    devices: &'a mut Devices,
    storage: &'a Storage,
    values: &'a mut Values,
}

impl Host for NodeHost<'_> {
    fn sensor_read(&mut self, _task: u16, index: u32) -> Result<i32, HostError> {
        self.devices.sample(index).ok_or(HostError)
    }

    fn led_set(&mut self, task: u16, index: u32, on: bool) -> Result<(), HostError> {
        tracing::debug!(task, index, on, "LED");
        if self.devices.set_led(index, on) { Ok(()) } else { Err(HostError) }
    }

    fn kv_get<'a>(
        &'a mut self,
        task: u16,
        held: &'a mut Kv,
        key: &[u8],
    ) -> Result<Option<&'a [u8]>, HostError> {
        self.values.fill(task, held);
        Ok(held.get(key))
    }

    fn kv_set(&mut self, task: u16, held: &mut Kv, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.values.fill(task, held);
        let before = held.clone();
        held.set(key, value)?;
        let saved = Values::save(self.storage, task, held);
        if saved.is_err() {
            *held = before;
        }
        saved
    }

    fn kv_delete(&mut self, task: u16, held: &mut Kv, key: &[u8]) -> Result<bool, HostError> {
        self.values.fill(task, held);
        let was_there = held.delete(key);
        Values::save(self.storage, task, held).map_err(|_| HostError)?;
        Ok(was_there)
    }
}

impl Os for PosixOs {
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn inventory(&self) -> Inventory {
        let mut board = heapless_name(&self.board.name);
        board.truncate(node_proto::limits::BOARD_NAME_MAX);
        Inventory {
            cpu_permille: self.board.cpu_permille,
            mem_bytes: self.board.mem_bytes,
            flash_bytes: self.board.flash_bytes,
            sensors: self.board.sensors,
            leds: self.board.leds,
            power: self.power(),
            arch: Arch::Host,
            runtimes: Runtimes(Runtimes::WASM),
            block_szx: self.block_szx,
            board: board.as_str().try_into().unwrap_or_default(),
        }
    }

    fn eui64(&self) -> [u8; 8] {
        self.eui64.0
    }

    fn power(&self) -> Power {
        self.board.battery.map_or(Power::Mains, Power::Battery)
    }

    fn used(&self) -> NodeUsage {
        let traffic = self.link.traffic();
        NodeUsage {
            frames_out: traffic.frames_out as u32,
            bytes_out: traffic.bytes_out as u32,
            frames_in: traffic.frames_in as u32,
            bytes_in: traffic.bytes_in as u32,
            cpu_ms: self.busy.as_millis() as u64,
        }
    }

    fn send(&mut self, to: Peer, datagram: &[u8]) {
        self.link.send(to, datagram);
    }

    fn get(&mut self, record: Record, buffer: &mut [u8]) -> Result<Option<usize>, StorageError> {
        self.storage.get(record, buffer)
    }

    fn put(&mut self, record: Record, bytes: &[u8]) -> Result<(), StorageError> {
        self.storage.put(record, bytes)
    }

    fn delete(&mut self, record: Record) -> Result<(), StorageError> {
        self.storage.delete(record)
    }

    fn image_len(&mut self, image: &Digest) -> Result<u32, StorageError> {
        self.storage.image_len(image)
    }

    fn image_write(&mut self, image: &Digest, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        self.storage.image_write(image, offset, bytes)
    }

    fn image_read(&mut self, image: &Digest, offset: u32, buffer: &mut [u8]) -> Result<usize, StorageError> {
        self.storage.image_read(image, offset, buffer)
    }

    fn image_remove(&mut self, image: &Digest) -> Result<(), StorageError> {
        self.storage.image_remove(image)
    }

    fn intake(&mut self, piece: &Intake<'_>) -> Result<(), StartError> {
        if piece.kind != Kind::Wasm {
            return Ok(());
        }
        if piece.offset == 0 {
            if self.screens.len() >= TASKS_MAX {
                // Of a task that was killed before it ran; if not, its image is judged at its start.
                self.screens.pop_first();
            }
            self.screens.insert(piece.task, Screen::new());
        }
        let Some(screen) = self.screens.get_mut(&piece.task) else { return Ok(()) };
        let taken = screen.push(piece.bytes);
        if taken.is_err() {
            self.screens.remove(&piece.task);
        }
        taken.map_err(refused)
    }

    fn start(&mut self, start: &Start<'_>) -> Result<(), StartError> {
        let fail = |failure, note: String| StartError { failure, note };
        if start.kind != Kind::Wasm {
            return Err(fail(Failure::Unsupported, "this node runs wasm only".into()));
        }
        if let Some(screen) = self.screens.remove(&start.task) {
            screen.finish().map_err(refused)?;
        }
        let image = self.storage.image(&start.image, start.image_len);
        let image = image.map_err(|error| fail(Failure::Storage, error.to_string()))?;
        // Events of a former task of this name are nobody's any more.
        while self.executor.next_event(start.task).is_some() {}
        let launch = Launch {
            task: start.task,
            image: &image,
            entry: start.document.entry,
            args: start.document.args,
            env: start.document.env,
            data: start.document.data,
            check: start.document.check,
            grant: start.grant,
            leds: start.leds,
        };
        let now_ms = self.now_ms();
        self.values.begin(&self.storage, start.task, start.resumed);
        self.executor.start(&launch, now_ms).map_err(refused)
    }

    fn kill(&mut self, task: TaskHandle) {
        self.executor.kill(task);
    }

    fn stop(&mut self, task: TaskHandle, grace_ms: u32) -> bool {
        let now_ms = self.now_ms();
        self.executor.stop(task, grace_ms, now_ms)
    }

    fn deliver(&mut self, task: TaskHandle, data: &[u8]) {
        if !self.executor.deliver(task, data) {
            tracing::warn!(task, bytes = data.len(), "a message of the framework is lost: too many wait");
        }
    }

    fn next_event(&mut self, task: TaskHandle) -> Option<Event> {
        use agent_wasm::Event as Wasm;
        let event = self.executor.next_event(task)?;
        if event.is_last() {
            self.values.end(&self.storage, task);
        }
        Some(match event {
            Wasm::Log(bytes) => Event::Log(bytes),
            Wasm::Message(bytes) => Event::Message(bytes),
            Wasm::Exited(code) => Event::Exited(code),
            Wasm::Killed => Event::Killed,
            Wasm::Health(well) => Event::Health(well),
            Wasm::Checked(value) => Event::Checked(value),
            Wasm::Unhealthy => Event::Failed(Failure::Unhealthy, String::new()),
            Wasm::Trapped(how) => Event::Failed(Failure::Trap, how.to_string()),
            Wasm::OverMemory { asked, granted } => {
                Event::Failed(Failure::Memory, format!("asked {asked} B, granted {granted}"))
            }
        })
    }

    fn usage(&self, task: TaskHandle) -> Option<TaskUsage> {
        let usage = self.executor.usage(task)?;
        let cut = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Some(TaskUsage {
            cpu_ms: cut(usage.cpu_ms),
            granted_ms: cut(usage.granted_ms),
            mem_bytes: cut(usage.mem_bytes as u64),
            mem_peak_bytes: cut(usage.mem_peak_bytes as u64),
            messages: cut(usage.messages),
            log_bytes: cut(usage.log_bytes),
        })
    }
}

/// What the executor says of an image, as the agent reports it.
fn refused(error: agent_wasm::StartError) -> StartError {
    use agent_wasm::StartError::*;
    let failure = match &error {
        Invalid { .. } | Limit { .. } | NoEntry(_) | WrongEntry(_) => Failure::Image,
        UnknownImport(_) | WrongImport(_) | NotGranted(_) => Failure::Capability,
        Memory { .. } => Failure::Memory,
        NoSlot | NoRoom { .. } => Failure::Resources,
    };
    StartError { failure, note: error.to_string() }
}

/// A name without what a label must not hold.
fn heapless_name(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic()).collect()
}
