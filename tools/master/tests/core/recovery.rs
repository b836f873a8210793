//! The master started again on what it has committed.

use crate::support::*;

#[test]
fn no_number_is_given_twice() {
    let mut world = World::new();
    let agent = world.register(1);
    let (framework_id, _) = world.subscribe(framework());
    let offer = world.offer().id.value;
    world.restart();
    assert_eq!(world.core.id(), "m");
    assert_ne!(world.register(2), agent);
    assert_ne!(world.subscribe(framework()).0, framework_id);
    assert_ne!(world.offer().id.value, offer);
}
