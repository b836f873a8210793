//! Calls that are answered in the same breath: what they check and what they change. Who may make them, and which take
//! longer, was decided before.

use crate::board::Who;
use crate::slots::{Answer, Env, KILL, Refused, START, STOP, Slots};
use grants::syscall::{
    AgentCall, GrantRecord, HostCall, NodeRecord, PIECE_MAX, SlotCall, TaskRecord, UsageRecord,
};
use grants::syscall::{End, down, up};
use grants::{Cause, Refusal, Slot, SlotEvent};
use kernel::ErrorCode;

type Result<T = Answer> = core::result::Result<T, Refused>;

/// Puts a record out.
fn put(record: &[u8], output: &mut [u8]) -> Result {
    output.get_mut(..record.len()).ok_or(ErrorCode::RESERVE)?.copy_from_slice(record);
    Ok(Answer::Bytes(record.len()))
}

/// What a caller gave to read.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    /// The first bytes of it.
    pub(crate) bytes: &'a [u8],
    /// How many there are.
    pub(crate) len: usize,
}

impl<'a> Input<'a> {
    /// All of it, if it is a piece.
    fn piece(self) -> Result<&'a [u8]> {
        let whole = self.len <= PIECE_MAX && self.bytes.len() == self.len;
        if whole { Ok(self.bytes) } else { Err(ErrorCode::SIZE.into()) }
    }

    /// The same, and not nothing.
    fn text(self) -> Result<&'a [u8]> {
        if self.len == 0 { Err(ErrorCode::RESERVE.into()) } else { self.piece() }
    }
}

impl<const SLOTS: usize, const UP: usize, const DOWN: usize> Slots<SLOTS, UP, DOWN> {
    /// A call by the agent.
    pub(crate) fn agent(
        &mut self,
        env: &Env<'_, SLOTS>,
        call: AgentCall,
        input: Input<'_>,
        output: &mut [u8],
    ) -> Result {
        match call {
            AgentCall::Capacity => {
                self.untold();
                put(&self.node(env).to_bytes(), output)
            }
            AgentCall::Reserve { slot } => self.reserve(env, slot, input),
            AgentCall::Release { slot } => self.release(slot),
            AgentCall::Start { slot, resumed } => self.start(env, slot, resumed),
            AgentCall::Stop { slot, grace_ms } => self.stop(env, slot, grace_ms),
            AgentCall::Kill { slot } => self.kill(env, slot),
            AgentCall::Usage { slot } => {
                let usage = self.usage(env, slot)?;
                put(&usage.to_bytes(), output)
            }
            AgentCall::Take { slot } => Ok(self.entry(slot)?.take_up(output)?),
            AgentCall::Deliver { slot, more } => {
                let entry = self.entry(slot)?;
                entry.running()?;
                let kind = if more { down::MESSAGE_PART } else { down::MESSAGE };
                let piece = input.piece()?;
                if entry.down.push(kind as u8, piece) {
                    Ok(Answer::Done)
                } else {
                    Err(ErrorCode::BUSY.into())
                }
            }
            // Those that take longer.
            AgentCall::Stage { .. }
            | AgentCall::Verify { .. }
            | AgentCall::Put { .. }
            | AgentCall::Load { .. }
            | AgentCall::RecordsWrite { .. }
            | AgentCall::RecordsRead { .. }
            | AgentCall::Signature => Err(ErrorCode::NOSUPPORT.into()),
        }
    }

    fn node(&self, env: &Env<'_, SLOTS>) -> NodeRecord {
        let board = env.board;
        let natives = || (0..SLOTS as u8).filter_map(|slot| board.native(slot));
        NodeRecord {
            eui64: board.eui64,
            mem_bytes: board.capacity.mem_bytes,
            area_bytes: board.layout.area_bytes,
            records_bytes: board.layout.records.len,
            native_mem_bytes: natives().map(|native| native.ram_bytes).max().unwrap_or(0),
            native_image_bytes: natives().map(|native| native.image_bytes()).max().unwrap_or(0),
            cpu_permille: board.capacity.cpu_permille,
            hosted: self.hosted(board) as u16,
            slots: SLOTS as u8,
            areas: board.layout.area_count,
            leds: board.capacity.leds,
            sensors: board.sensors,
        }
    }

    fn reserve(&mut self, env: &Env<'_, SLOTS>, slot: u8, input: Input<'_>) -> Result {
        let record = GrantRecord::from_bytes(input.bytes).ok_or(ErrorCode::RESERVE)?;
        if env.board.hosted(slot) && self.host_lost {
            return Err(ErrorCode::NODEVICE.into());
        }
        let entry = self.entry(slot)?;
        let state = entry.state.on(SlotEvent::Reserve).map_err(|_| ErrorCode::ALREADY)?;
        self.ledger.reserve(slot.into(), record.grant()).map_err(|refusal| match refusal {
            Refusal::NoSlot => ErrorCode::INVAL.into(),
            Refusal::Taken => ErrorCode::ALREADY.into(),
            Refusal::Cpu(missing)
            | Refusal::Memory(missing)
            | Refusal::Flash(missing)
            | Refusal::Leds(missing) => Refused::Missing(missing),
        })?;
        self.entry(slot)?.state = state;
        Ok(Answer::Done)
    }

    fn release(&mut self, slot: u8) -> Result {
        match self.entry(slot)?.state {
            Slot::Free => return Err(ErrorCode::ALREADY.into()),
            Slot::Running | Slot::Stopping { .. } => return Err(ErrorCode::OFF.into()),
            Slot::Reserved | Slot::Staging | Slot::Verified | Slot::Ended(_) => self.clear(slot),
        }
        Ok(Answer::Done)
    }

    fn start(&mut self, env: &Env<'_, SLOTS>, slot: u8, resumed: bool) -> Result {
        let grant = self.ledger.grant(slot.into());
        if env.board.hosted(slot) && self.host_lost {
            return Err(ErrorCode::NODEVICE.into());
        }
        let entry = self.entry(slot)?;
        let grant = grant.ok_or(ErrorCode::ALREADY)?;
        entry.on(SlotEvent::Start)?;
        entry.resumed = resumed;
        if env.board.hosted(slot) {
            entry.orders = START;
            self.share_host(env);
        } else if !env.machine.start(slot, &grant) {
            self.ended(env, slot, End::BadImage)?;
            return Err(ErrorCode::FAIL.into());
        }
        Ok(Answer::Done)
    }

    fn stop(&mut self, env: &Env<'_, SLOTS>, slot: u8, grace_ms: u32) -> Result {
        let entry = self.entry(slot)?;
        entry.on(SlotEvent::Stop { deadline_ms: env.machine.now_ms().saturating_add(grace_ms.into()) })?;
        if let Slot::Ended(_) = entry.state {
            // It never ran.
            entry.end = Some(End::Killed);
            return Ok(Answer::Value(0));
        }
        entry.orders |= STOP;
        Ok(Answer::Value((env.board.hosted(slot) || entry.listens).into()))
    }

    fn kill(&mut self, env: &Env<'_, SLOTS>, slot: u8) -> Result {
        let entry = self.entry(slot)?;
        if !entry.state.may_run() {
            entry.on(SlotEvent::Stop { deadline_ms: 0 })?;
            entry.end = Some(End::Killed);
        } else if env.board.hosted(slot) && entry.orders & START == 0 {
            entry.on(SlotEvent::Stop { deadline_ms: env.machine.now_ms() })?;
            entry.orders |= KILL;
        } else {
            // A native task, or one that the host has not heard of yet.
            self.ended(env, slot, End::Killed)?;
        }
        Ok(Answer::Done)
    }

    fn usage(&mut self, env: &Env<'_, SLOTS>, slot: u8) -> Result<UsageRecord> {
        let entry = self.entry(slot)?;
        if entry.state == Slot::Free {
            return Err(ErrorCode::OFF.into());
        }
        if entry.state.may_run() && env.board.native(slot).is_some() {
            let used = env.machine.used(slot);
            entry.used.mem_peak_bytes = entry.used.mem_peak_bytes.max(used.mem_peak_bytes);
            entry.used = crate::slots::Used { mem_peak_bytes: entry.used.mem_peak_bytes, ..used };
        }
        Ok(UsageRecord {
            cpu_us: entry.used.cpu_us,
            granted_us: entry.used.granted_us,
            mem_bytes: if matches!(entry.state, Slot::Ended(_)) { 0 } else { entry.used.mem_bytes },
            mem_peak_bytes: entry.used.mem_peak_bytes,
            messages: entry.messages,
            log_bytes: entry.log_bytes,
            refused: entry.refused.saturating_add(entry.host_refused),
        })
    }

    /// Whether somebody speaks for a slot that runs, and has the capability that the call needs; counts it if not.
    pub(crate) fn admit(&mut self, env: &Env<'_, SLOTS>, who: Who, named: u8, needs: u16) -> Result<u8> {
        let slot = match who {
            Who::Task(slot) if named == 0 => slot,
            Who::Host if env.board.hosted(named) => named,
            _ => return Err(ErrorCode::INVAL.into()),
        };
        self.entry(slot)?.running()?;
        if !self.capabilities(slot).has(needs) {
            self.refuse(slot);
            return Err(ErrorCode::NOACK.into());
        }
        Ok(slot)
    }

    /// A call for a slot, by its task or the host.
    pub(crate) fn slot_call(
        &mut self,
        env: &Env<'_, SLOTS>,
        slot: u8,
        call: SlotCall,
        input: Input<'_>,
        output: &mut [u8],
    ) -> Result {
        let leds = self.ledger.leds(slot.into());
        let grant = self.ledger.grant(slot.into()).unwrap_or_default();
        let entry = self.entry(slot)?;
        match call {
            SlotCall::Grant => {
                let record = TaskRecord {
                    cpu_permille: grant.cpu_permille,
                    capabilities: grant.capabilities.0,
                    mem_bytes: grant.mem_bytes,
                    image_len: entry.image_len,
                    document_len: entry.document_len.into(),
                    leds: leds.0,
                    stop_ms: entry.left_ms(env.machine.now_ms()).unwrap_or(u32::MAX),
                    resumed: entry.resumed.into(),
                };
                return put(&record.to_bytes(), output);
            }
            SlotCall::Log => {
                let text = input.text()?;
                entry.send_up(up::LOG, text)?;
                entry.log_bytes = entry.log_bytes.saturating_add(text.len() as u32);
            }
            SlotCall::Message { more } => {
                entry.send_up(if more { up::MESSAGE_PART } else { up::MESSAGE }, input.piece()?)?;
                entry.messages = entry.messages.saturating_add(u32::from(!more));
            }
            SlotCall::Status { code } => {
                // The host's come from checks, as often as the framework has asked for.
                if env.board.native(slot).is_some() && !env.machine.reports(slot) {
                    return Err(ErrorCode::BUSY.into());
                }
                entry.send_up(up::STATUS, &code.to_le_bytes())?;
            }
            SlotCall::Take => {
                entry.listens = true;
                return Ok(entry.take_down(output, env.machine.now_ms())?);
            }
            SlotCall::Led { index, on } => {
                let led = leds.of_task(index).ok_or(ErrorCode::NODEVICE)?;
                if !env.devices.led(led, on) {
                    return Err(ErrorCode::NODEVICE.into());
                }
            }
            SlotCall::Sensor { index } => {
                let value = Some(index).filter(|index| *index < u32::from(env.board.sensors));
                let value = value.and_then(|index| env.devices.sensor(index)).ok_or(ErrorCode::NODEVICE)?;
                return Ok(Answer::Value(value as u32));
            }
            // Those that take longer.
            SlotCall::Read { .. } | SlotCall::Write { .. } => return Err(ErrorCode::NOSUPPORT.into()),
        }
        Ok(Answer::Done)
    }

    /// A call by the host about one of its slots, which runs.
    pub(crate) fn host_call(
        &mut self,
        env: &Env<'_, SLOTS>,
        slot: u8,
        call: HostCall,
        input: Input<'_>,
    ) -> Result {
        let entry = self.entry(slot)?;
        match call {
            HostCall::Health { well } => entry.send_up(up::HEALTH, &[well.into()])?,
            HostCall::Note => entry.send_up(up::NOTE, input.text()?)?,
            HostCall::Ended(end) => self.ended(env, slot, end)?,
            HostCall::Used => {
                let used = UsageRecord::from_bytes(input.bytes).ok_or(ErrorCode::RESERVE)?;
                entry.used = crate::slots::Used {
                    cpu_us: used.cpu_us,
                    granted_us: used.granted_us,
                    mem_bytes: used.mem_bytes,
                    mem_peak_bytes: used.mem_peak_bytes,
                };
                entry.host_refused = used.refused;
            }
        }
        Ok(Answer::Done)
    }

    /// The image of a slot passed, or did not.
    pub(crate) fn verified(&mut self, slot: u8, good: bool) {
        if let Ok(entry) = self.entry(slot)
            && let Ok(state) = entry.state.on(SlotEvent::Verify { good })
        {
            entry.state = state;
            if state == Slot::Ended(Cause::BadImage) {
                entry.area = None;
            }
        }
    }
}
