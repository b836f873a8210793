//! The alarm and the UDP driver.

use super::capsule::FakeCapsule;
use super::{FREQUENCY, Happening, NODE, World};
use agent_tock::link::link_local;
use libtock_platform::{CommandReturn, ErrorCode};
use libtock_unittest::command_return::{failure, success, success_u32};
use libtock_unittest::{DriverInfo, DriverShareRef, RoAllowBuffer, RwAllowBuffer, fake};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Tock's alarm: arming it moves time to the next happening, or to the alarm.
pub struct FakeAlarm {
    world: Rc<RefCell<World>>,
    udp: Rc<FakeUdp>,
    capsule: Rc<FakeCapsule>,
    share: DriverShareRef,
}

impl FakeAlarm {
    pub fn new(world: Rc<RefCell<World>>, udp: Rc<FakeUdp>, capsule: Rc<FakeCapsule>) -> Self {
        Self { world, udp, capsule, share: DriverShareRef::default() }
    }

    fn counter(&self) -> u32 {
        let world = self.world.borrow();
        world.counter_at_start.wrapping_add(world.now as u32)
    }

    /// Goes on until there is an upcall to take.
    fn advance(&self, ticks: u64) {
        let alarm = self.world.borrow().now + ticks;
        while !fake::Kernel::is_upcall_pending() {
            let next = {
                let mut world = self.world.borrow_mut();
                let gateway = world.gateway.coap.next_timeout().map(|ms| ms * super::MS);
                let first = world.happenings.keys().next().copied();
                let at = first.map_or(u64::MAX, |(at, _)| at);
                if let Some(timeout) = gateway.filter(|timeout| *timeout < at && *timeout < alarm) {
                    world.now = world.now.max(timeout);
                    gateway_step(&mut world);
                    continue;
                }
                if at > alarm {
                    world.now = alarm;
                    None
                } else {
                    world.now = world.now.max(at);
                    first.and_then(|key| world.happenings.remove(&key))
                }
            };
            match next {
                None => self.share.schedule_upcall(0, (self.counter(), 0, 0)).unwrap(),
                Some(Happening::ToGateway(bytes)) => {
                    let mut world = self.world.borrow_mut();
                    let now = world.now_ms();
                    world.gateway.coap.handle((), &bytes, now);
                    gateway_step(&mut world);
                }
                Some(Happening::ToNode(from, port, bytes)) => self.udp.arrives(from, port, &bytes),
                Some(Happening::Sent) => self.udp.sent(),
                Some(happening) => self.capsule.happens(happening),
            }
        }
    }
}

/// Lets the gateway answer.
pub fn gateway_step(world: &mut World) {
    let now = world.now_ms();
    for bytes in world.gateway.step(now) {
        world.after(5, Happening::ToNode(link_local(super::GATEWAY), 5683, bytes));
    }
}

impl fake::SyscallDriver for FakeAlarm {
    fn info(&self) -> DriverInfo {
        DriverInfo::new(0).upcall_count(1)
    }

    fn register(&self, share: DriverShareRef) {
        self.share.replace(share);
    }

    fn command(&self, command: u32, argument: u32, _: u32) -> CommandReturn {
        match command {
            1 => success_u32(FREQUENCY as u32),
            2 => success_u32(self.counter()),
            5 => {
                self.advance(argument.into());
                success_u32(self.counter())
            }
            _ => failure(ErrorCode::NoSupport),
        }
    }
}

/// What the UDP driver holds of the app.
#[derive(Default)]
pub struct Udp {
    pub bound: Option<Vec<u8>>,
    sending: bool,
    /// Datagrams that found no buffer.
    pub missed: u32,
}

/// Tock's UDP driver: one buffer, no queue, and its ports in one order down and in the other up.
pub struct FakeUdp {
    world: Rc<RefCell<World>>,
    share: DriverShareRef,
    write: RefCell<RoAllowBuffer>,
    buffers: RefCell<BTreeMap<u32, RwAllowBuffer>>,
}

impl FakeUdp {
    pub fn new(world: Rc<RefCell<World>>) -> Self {
        Self {
            world,
            share: DriverShareRef::default(),
            write: RefCell::default(),
            buffers: RefCell::default(),
        }
    }

    pub fn arrives(&self, from: [u8; 16], port: u16, bytes: &[u8]) {
        let mut buffers = self.buffers.borrow_mut();
        let fits = buffers.get_mut(&0).filter(|buffer| buffer.len() >= bytes.len());
        let Some(buffer) = fits else {
            self.world.borrow_mut().udp.missed += 1;
            return;
        };
        buffer[..bytes.len()].copy_from_slice(bytes);
        if let Some(config) = buffers.get_mut(&2).filter(|config| config.len() == 36) {
            config.fill(0);
            config[..16].copy_from_slice(&from);
            config[16..18].copy_from_slice(&port.to_be_bytes());
        }
        drop(buffers);
        self.share.schedule_upcall(0, (bytes.len() as u32, 0, 0)).unwrap();
    }

    pub fn sent(&self) {
        self.world.borrow_mut().udp.sending = false;
        self.share.schedule_upcall(1, (0, 0, 0)).unwrap();
    }

    fn send(&self) -> CommandReturn {
        let mut world = self.world.borrow_mut();
        let buffers = self.buffers.borrow();
        let Some(config) = buffers.get(&1).filter(|config| config.len() == 36) else {
            return failure(ErrorCode::Invalid);
        };
        if world.udp.bound.as_deref() != Some(&config[..18]) {
            return failure(ErrorCode::Invalid);
        }
        if world.udp.sending {
            return failure(ErrorCode::Busy);
        }
        let (to, port) = (&config[18..34], u16::from_le_bytes([config[34], config[35]]));
        let bytes = self.write.borrow().to_vec();
        assert!(bytes.len() <= 200);
        world.udp.sending = true;
        world.after(3, Happening::Sent);
        if *to == link_local(super::GATEWAY) {
            assert_eq!(port, 5683);
            world.after(5, Happening::ToGateway(bytes));
        }
        success_u32(1)
    }
}

impl fake::SyscallDriver for FakeUdp {
    fn info(&self) -> DriverInfo {
        DriverInfo::new(agent_tock::udp::DRIVER).upcall_count(2)
    }

    fn register(&self, share: DriverShareRef) {
        self.share.replace(share);
    }

    fn command(&self, command: u32, argument: u32, _: u32) -> CommandReturn {
        match command {
            0 => success(),
            1 => {
                let mut buffers = self.buffers.borrow_mut();
                let Some(list) = buffers.get_mut(&1).filter(|list| list.len() == 16 * argument as usize)
                else {
                    return failure(ErrorCode::Invalid);
                };
                list[..16].fill(0x20);
                list[16..32].copy_from_slice(&link_local(NODE));
                success_u32(2)
            }
            2 => self.send(),
            3 => match self.buffers.borrow().get(&2) {
                Some(config) if config.len() == 36 && config[18..34] == link_local(NODE) => {
                    self.world.borrow_mut().udp.bound = Some(config[18..].to_vec());
                    success()
                }
                _ => failure(ErrorCode::Invalid),
            },
            _ => failure(ErrorCode::NoSupport),
        }
    }

    fn allow_readonly(
        &self,
        _: u32,
        buffer: RoAllowBuffer,
    ) -> Result<RoAllowBuffer, (RoAllowBuffer, ErrorCode)> {
        Ok(self.write.replace(buffer))
    }

    fn allow_readwrite(
        &self,
        number: u32,
        buffer: RwAllowBuffer,
    ) -> Result<RwAllowBuffer, (RwAllowBuffer, ErrorCode)> {
        Ok(self.buffers.borrow_mut().insert(number, buffer).unwrap_or_default())
    }
}
