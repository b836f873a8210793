//! What holds whatever happens: the books are exact, nobody is passed over for one who has more, nobody starves, and
//! the same seed gives the same.

use crate::cluster::{able, cluster, give_back, join_as, plain, reserved, round};
use crate::world::{FRAMEWORKS, ROLES, Step, World, nodes, roles_of, step};
use master::allocator::Rules;
use master::policy::Drf;
use mesos_proto::pool::Pool;
use mesos_proto::resources::scalar;
use proptest::prelude::*;
use std::collections::BTreeSet;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_books_are_exact_and_the_choice_is_fair(
        steps in proptest::collection::vec(step(), 1..100),
        strict in any::<bool>(),
    ) {
        let mut world = World::new(strict);
        let mut again = World::new(strict);
        for number in 0..2 {
            for world in [&mut world, &mut again] {
                world.take(&Step::Agent(number, 4, 4))?;
                world.take(&Step::Framework(number, 0x7f, 0))?;
                world.take(&Step::FrameworkActive(number, true))?;
            }
        }
        for step in &steps {
            let grants = world.take(step)?;
            prop_assert_eq!(grants, again.take(step)?, "the same twice is not the same");
            world.check_books()?;
        }
        while !world.held.is_empty() {
            world.take(&Step::GiveBack(0, false))?;
        }
        (0..FRAMEWORKS).try_for_each(|number| world.take(&Step::FrameworkGoes(number)).map(drop))?;
        world.check_books()?;
        prop_assert!(ROLES.iter().all(|role| world.allocator.allocated(role).is_none()));
    }

    /// A pass gives nobody what is reserved for others, and leaves nothing that somebody who wants it may use.
    #[test]
    fn reservations_go_where_they_may_and_all_of_them_go(
        parts in proptest::collection::vec((0..ROLES.len(), 1u32..5), 0..6),
        shared in 0u32..3,
        frameworks in proptest::collection::vec(1u8..0x80, 1..4),
    ) {
        let mut resources: Vec<_> = parts.iter().map(|(role, cpus)| reserved(ROLES[*role], f64::from(*cpus))).collect();
        resources.push(scalar("cpus", f64::from(shared)));
        let total = Pool::of(&resources).unwrap();
        let mut allocator = cluster(Drf, plain(), &[]);
        allocator.add_agent("S0", total.clone(), able());
        for (number, roles) in frameworks.iter().enumerate() {
            let roles = roles_of(*roles);
            let roles: Vec<_> = roles.iter().map(String::as_str).collect();
            join_as(&mut allocator, &format!("F{number}"), &roles, able());
        }
        for grant in round(&mut allocator, 0) {
            prop_assert!(total.usable_by(&grant.role).contains(&grant.resources));
        }
        let mut left = total.clone();
        left.subtract(allocator.used("S0").unwrap());
        for role in frameworks.iter().flat_map(|roles| roles_of(*roles)) {
            prop_assert_eq!(left.usable_by(&role), Pool::default());
        }
        // With a framework of every role there is nothing left at all.
        join_as(&mut allocator, "all", &ROLES, able());
        round(&mut allocator, 0);
        prop_assert_eq!(allocator.used("S0"), Some(&total));
    }

    /// Everybody gives everything back each time. At each node siblings are then served in turn, so a framework is
    /// served once in as many rounds as the numbers of siblings on its path multiply to.
    #[test]
    fn nobody_starves(roles in proptest::collection::btree_set(0..ROLES.len(), 1..ROLES.len()), each in 1usize..4) {
        let mut allocator = cluster(Drf, plain(), &[(1.0, 1.0)]);
        let roles: Vec<_> = roles.into_iter().map(|role| ROLES[role]).collect();
        let mut waiting = BTreeSet::new();
        for role in &roles {
            for number in 0..each {
                let id = format!("{role}#{number}");
                join_as(&mut allocator, &id, &[role], able());
                waiting.insert(id);
            }
        }
        let all: BTreeSet<String> = roles.iter().flat_map(|role| nodes(role)).collect();
        let above = |node: &str| node.rsplit_once('/').map(|(above, _)| above.to_owned());
        let siblings = |node: &String| all.iter().filter(|other| above(other) == above(node)).count();
        let turns = |role: &&str| each * nodes(role).iter().map(siblings).product::<usize>();
        for _ in 0..roles.iter().map(turns).max().unwrap() {
            let grants = round(&mut allocator, 0);
            prop_assert_eq!(grants.len(), 1);
            give_back(&mut allocator, &grants[0]);
            waiting.remove(&grants[0].framework);
        }
        prop_assert_eq!(waiting, BTreeSet::new());
    }

    /// More want an agent than there are, and each keeps one for a round.
    #[test]
    fn everybody_has_a_turn(agents in 1usize..6, wanting in 1usize..20) {
        let mut allocator = cluster(Drf, Rules::default(), &vec![(1.0, 64.0); agents]);
        let mut waiting = BTreeSet::new();
        for number in 0..wanting {
            let id = format!("F{number}");
            join_as(&mut allocator, &id, &[&format!("role{number}")], able());
            waiting.insert(id);
        }
        for _ in 0..wanting.div_ceil(agents) {
            let grants = round(&mut allocator, 0);
            prop_assert_eq!(grants.len(), agents);
            for grant in grants {
                give_back(&mut allocator, &grant);
                waiting.remove(&grant.framework);
            }
        }
        prop_assert_eq!(waiting, BTreeSet::new());
    }
}
