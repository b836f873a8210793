//! What a port says it has room for: tasks, and images in areas of one size.

mod support;

use node_proto::{Failure, Order, State};
use support::Sim;

#[test]
fn an_image_in_no_use_makes_room_when_areas_run_out_though_bytes_do_not() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().limits.1 = 2;
    for task in 1..=4 {
        sim.launch(task, 100);
        sim.until("ended", |sim| sim.ended(task));
        assert_eq!(sim.states(task).last(), Some(&State::Exited(0)));
        assert!(sim.world.borrow().images.len() <= 2);
    }
}

#[test]
fn with_every_area_in_use_a_new_image_finds_no_room() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().limits.1 = 1;
    sim.world.borrow_mut().script.clear();
    sim.launch(1, 100);
    sim.until("ran", |sim| sim.states(1).contains(&State::Running));
    sim.launch(2, 100);
    sim.until("refused", |sim| sim.ended(2));
    assert_eq!(sim.states(2).last(), Some(&State::Failed(Failure::Storage)));
    assert!(!sim.ended(1));
}

#[test]
fn an_image_longer_than_an_area_is_refused_before_it_is_fetched() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().limits.2 = 299;
    sim.launch(1, 300);
    sim.until("refused", |sim| sim.ended(1));
    assert_eq!(sim.states(1), [State::Failed(Failure::Resources)]);
    assert_eq!(sim.gateway.served_bytes, 0);
}

#[test]
fn what_the_index_does_not_name_is_removed_at_the_start() {
    let mut sim = Sim::new(1);
    sim.launch(1, 100);
    sim.until("ended", |sim| sim.ended(1));
    sim.world.borrow_mut().images.insert([9; 16], vec![1; 50]);
    sim.restart();
    assert_eq!(sim.world.borrow().images.len(), 1);
    assert!(!sim.world.borrow().images.contains_key(&[9; 16]));
}

#[test]
fn a_task_more_than_there_is_memory_for_is_refused_and_the_next_after_an_end_is_not() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().limits.0 = 2;
    sim.world.borrow_mut().script.clear();
    for task in 1..=3 {
        sim.launch(task, 100);
    }
    sim.until("refused", |sim| sim.ended(3));
    assert_eq!(sim.states(3), [State::Failed(Failure::Resources)]);
    sim.gateway.order(Order::Kill { task: 1, grace_ms: 0 });
    sim.until("killed", |sim| sim.ended(1));
    sim.launch(4, 100);
    sim.until("ran", |sim| sim.states(4).contains(&State::Running));
}
