//! What the agent takes of its heap at most, on a busy day: tasks fetched, running, logging and sending long messages.
//!
//! Pointers are twice as wide here as on a node, so this is more than a node needs: what fits here, fits there.
#![allow(unsafe_code)] // a global allocator that counts

mod support;

use grants::syscall::{End, EndRecord, up};
use node_proto::{Kind, Order};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use support::{Machine, ended, inside, prepare};

/// The heap of the app (`src/bin/agent.rs`), bytes.
const HEAP: usize = 0x3600;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// Before each block stands whether it is the app's.
const MARK: usize = 16;

struct Counting;

/// What a block takes on a node: a header, and a multiple of 16.
fn cost(len: usize) -> usize {
    (len + 8).next_multiple_of(16)
}

// SAFETY: the system's allocator, with room for a mark before each block, of which the alignment is kept.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let room = layout.align().max(MARK);
        // SAFETY: longer than what was asked for, with the same alignment at least.
        let block = unsafe { System.alloc(Layout::from_size_align_unchecked(layout.size() + room, room)) };
        if block.is_null() {
            return block;
        }
        let ours = inside();
        if ours {
            HELD.set(HELD.get() + cost(layout.size()));
            PEAK.set(PEAK.get().max(HELD.get()));
        }
        // SAFETY: there is room for it before the block.
        unsafe {
            block.write(ours.into());
            block.add(room)
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let room = layout.align().max(MARK);
        // SAFETY: `alloc` put it there.
        unsafe {
            let block = block.sub(room);
            if block.read() != 0 {
                HELD.set(HELD.get().saturating_sub(cost(layout.size())));
            }
            System.dealloc(block, Layout::from_size_align_unchecked(layout.size() + room, room));
        }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_busy_node_stays_within_its_heap() {
    let machine = Machine::new();
    {
        let mut world = machine.world.borrow_mut();
        let script = &mut world.capsule.script;
        script.clear();
        for round in 0..20 {
            script.push((100 + round * 500, up::LOG, vec![b'l'; 48]));
            for piece in 0..10 {
                script.push((110 + round * 500 + piece, up::MESSAGE_PART, vec![b'm'; 48]));
            }
            script.push((130 + round * 500, up::MESSAGE, vec![b'm'; 32]));
        }
        script.push((12_000, up::ENDED, EndRecord::of(End::Exited(0)).to_bytes().to_vec()));
    }
    let mut node = machine.start();
    let started = HELD.get();
    for task in 1..=4 {
        let mut world = machine.world.borrow_mut();
        let launch = prepare(&mut world, task, Kind::Wasm, 1000);
        world.gateway.order(Order::Launch(launch));
        world.gateway.order_long(task, &[7; 512]);
    }
    machine.until(&mut node, "ended", |world| (1..=4).all(|task| ended(world, task)));
    println!("heap: {started} B when started, {} B at most, of {HEAP}", PEAK.get());
    assert!(PEAK.get() > started && started > 1_000, "it counts");
    assert!(PEAK.get() <= HEAP, "{} B at most", PEAK.get());
}
