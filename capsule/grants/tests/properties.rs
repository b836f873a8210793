//! What must hold for any sequence of events.

use grants::{Budget, Capabilities, Capacity, Cause, Grant, Ledger, Leds, Refusal, Slot, SlotEvent, syscall};
use proptest::{collection::vec, prelude::*};

const CAPACITY: Capacity =
    Capacity { cpu_permille: 1000, mem_bytes: 64 << 10, flash_bytes: 256 << 10, leds: 5 };

fn event() -> impl Strategy<Value = SlotEvent> {
    prop_oneof![
        Just(SlotEvent::Reserve),
        Just(SlotEvent::Stage),
        any::<bool>().prop_map(|good| SlotEvent::Verify { good }),
        Just(SlotEvent::Start),
        (0u64..100).prop_map(|deadline_ms| SlotEvent::Stop { deadline_ms }),
        any::<i32>().prop_map(|code| SlotEvent::End(Cause::Exited(code))),
        Just(SlotEvent::End(Cause::Fault)),
        Just(SlotEvent::Release),
    ]
}

proptest! {
    #[test]
    fn the_node_is_never_oversubscribed(steps in vec((0usize..10, any::<bool>(), 0u16..1200, 0u32..(80 << 10), 0u32..(300 << 10), 0u8..4), 0..80)) {
        let mut ledger: Ledger<8> = Ledger::new(CAPACITY);
        for (slot, reserve, cpu_permille, mem_bytes, flash_bytes, leds) in steps {
            if reserve {
                let grant = Grant { cpu_permille, mem_bytes, flash_bytes, leds, capabilities: Capabilities(0), strict: true };
                let free = ledger.free();
                let fits = cpu_permille <= free.cpu_permille && mem_bytes <= free.mem_bytes && flash_bytes <= free.flash_bytes && leds <= free.leds;
                match ledger.reserve(slot, grant) {
                    Ok(()) => prop_assert!(fits),
                    Err(Refusal::NoSlot) => prop_assert!(slot >= 8),
                    Err(Refusal::Taken) => prop_assert!(ledger.grant(slot).is_some()),
                    Err(_) => prop_assert!(!fits),
                }
            } else {
                ledger.release(slot);
            }
            let held = (0..8).filter_map(|slot| ledger.grant(slot));
            let (cpu, mem, flash) = held.fold((0u64, 0u64, 0u64), |(cpu, mem, flash), grant| {
                (cpu + u64::from(grant.cpu_permille), mem + u64::from(grant.mem_bytes), flash + u64::from(grant.flash_bytes))
            });
            prop_assert!(cpu <= 1000 && mem <= 64 << 10 && flash <= 256 << 10);
            prop_assert_eq!(ledger.free().mem_bytes as u64, (64 << 10) - mem);
            // Every LED has at most one holder, and everybody has as many as were granted.
            let mut held = 0u32;
            for slot in 0..8 {
                let leds = ledger.leds(slot);
                prop_assert_eq!(leds.0 & held, 0);
                prop_assert_eq!(leds.0.count_ones(), ledger.grant(slot).map_or(0, |grant| grant.leds.into()));
                held |= leds.0;
            }
            prop_assert!(held < 1 << 5);
        }
    }

    /// A scheduler that asks before it runs never gives a task more than its share and one carry-over, however
    /// it overshoots by single slices.
    #[test]
    fn a_budget_is_kept(share in 1u16..=1000, window in 1_000u64..1_000_000, carry in 0u64..100_000,
        overshoot in 0u64..500, wants in vec(0u64..2_000_000, 1..60))
    {
        let mut budget = Budget::new(share, window, carry);
        let per_window = window * u64::from(share) / 1000;
        prop_assert!(budget.per_window().abs_diff(per_window) <= 1);
        let mut used = 0;
        for (at, want) in wants.iter().enumerate() {
            if at > 0 {
                budget.start_window();
            }
            let mut run = (*want).min(budget.remaining());
            if run > 0 {
                run += overshoot;
            }
            budget.charge(run);
            used += run;
            let windows = at as u64 + 1;
            prop_assert!(used <= budget.per_window() * windows + overshoot, "beyond all that was granted");
        }
        prop_assert_eq!(budget.used(), used);
        prop_assert_eq!(budget.granted(), budget.per_window() * wants.len() as u64);
        // After a long idle spell the carry-over is bounded.
        for _ in 0..100 { budget.start_window(); }
        prop_assert!(budget.remaining() <= budget.per_window() + carry.max(budget.per_window()));
    }

    #[test]
    fn no_order_of_events_runs_what_was_not_verified(events in vec(event(), 0..60)) {
        let mut slot = Slot::Free;
        let (mut reserved, mut verified) = (false, false);
        for event in events {
            let before = slot;
            match slot.on(event) {
                Err(impossible) => prop_assert_eq!(impossible.state, before),
                Ok(after) => {
                    match event {
                        SlotEvent::Reserve => { reserved = true; verified = false; }
                        SlotEvent::Verify { good } => verified = good,
                        SlotEvent::Release => { reserved = false; verified = false; }
                        _ => {}
                    }
                    slot = after;
                }
            }
            prop_assert_eq!(slot == Slot::Free, !reserved);
            if slot.may_run() { prop_assert!(verified); }
            if let (Slot::Stopping { deadline_ms: old }, Slot::Stopping { deadline_ms: new }) = (before, slot) {
                prop_assert!(new <= old, "a grace period grew");
            }
            if let Slot::Ended(_) = before {
                prop_assert!(slot == before || slot == Slot::Free, "a task ended twice");
            }
        }
    }

    #[test]
    fn any_call_decodes_or_is_refused(command in prop_oneof![0usize..128, any::<usize>()], arg1: usize, arg2: usize, slots in 0u8..=16) {
        let bounds = syscall::Bounds { slots, areas: 3 };
        if let Ok(call) = syscall::AgentCall::decode(command, arg1, arg2, bounds) {
            prop_assert_eq!(syscall::AgentCall::decode(call.encode().0, call.encode().1, call.encode().2, bounds), Ok(call));
        }
        if let Ok((slot, call)) = syscall::SlotCall::decode(command, arg1, arg2) {
            prop_assert!(syscall::SlotCall::is(command));
            prop_assert_eq!(call.encode(slot).0, command);
            let (command, arg1, arg2) = call.encode(slot);
            prop_assert_eq!(syscall::SlotCall::decode(command, arg1, arg2), Ok((slot, call)));
        }
        if let Ok((slot, call)) = syscall::HostCall::decode(command, arg1, arg2) {
            prop_assert!(syscall::HostCall::is(command));
            let (command, arg1, arg2) = call.encode(slot);
            prop_assert_eq!(syscall::HostCall::decode(command, arg1, arg2), Ok((slot, call)));
        }
    }

    #[test]
    fn records_come_back_as_they_went(cpu_permille: u16, capabilities: u16, mem_bytes: u32, leds: u8, strict: bool, digest: [u8; 32], class in 0u8..8, code: u32) {
        let grant = Grant { cpu_permille, mem_bytes, flash_bytes: 7, leds, capabilities: Capabilities(capabilities), strict };
        let bytes = syscall::GrantRecord::of(&grant).to_bytes();
        prop_assert_eq!(syscall::GrantRecord::from_bytes(&bytes).map(|record| record.grant()), Some(grant));
        prop_assert_eq!(syscall::GrantRecord::from_bytes(&bytes[1..]), None);
        prop_assert_eq!(syscall::VerifyRecord::of(9, &digest).digest(), digest);
        let end = syscall::EndRecord { class, code };
        let known = end.end().expect("a class below 8");
        prop_assert_eq!(syscall::EndRecord::of(known).class, class);
        prop_assert_eq!(syscall::EndRecord::of(known).end(), Some(known));
    }
}

#[test]
fn eight_slots_fit_the_capsule_budget() {
    let size = size_of::<Ledger<8>>() + 8 * (size_of::<Budget>() + size_of::<Slot>());
    println!("ledger, budgets and states of 8 slots: {size} bytes on this machine");
    assert!(size <= 2048, "budget: capsule RAM 2 KB");
}

#[test]
fn a_task_counts_its_own_leds() {
    let own = Leds(0b10110);
    assert_eq!([0, 1, 2, 3].map(|index| own.of_task(index)), [Some(1), Some(2), Some(4), None]);
    assert_eq!(
        (Leds(0).of_task(0), Leds(u32::MAX).of_task(31), Leds(u32::MAX).of_task(32)),
        (None, Some(31), None)
    );
}
