//! What nodes and tasks used over time, for the plots: taken when a heartbeat tells of it, in bounded memory.
//!
//! Not every node of a large fleet has a course. A place goes to whom is first, then to nodes instead of those that
//! have been silent for [`SILENT_S`], and at once to a node that somebody looks at. 64 points of 16 bytes for 2,048 nodes,
//! 64 of 12 bytes for 1,024 tasks: 2.8 MiB at most.

use super::series::{Point, Series};
use crate::bridge::NodeId;
use node_proto::{Power, TaskHandle, Vitals};
use std::collections::HashMap;

/// Nodes with a course.
pub(super) const NODES_MAX: usize = 2_048;
/// Tasks with a course.
pub(super) const TASKS_MAX: usize = 1_024;
/// Points of one course.
const POINTS_MAX: usize = 64;
/// First time between points, seconds.
const GAP_S: u32 = 10;
/// After such a silence a node's place may go to another, seconds.
const SILENT_S: u32 = 3_600;
/// How often such a node is looked for, seconds: it means a look at all of them.
const LOOK_S: u32 = 10;

/// A node at one time, and since the point before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodePoint {
    pub at_s: u32,
    pub mem_bytes: u32,
    pub frames_in: u16,
    pub frames_out: u16,
    /// Of the whole processor; [`NONE`] if it is not known.
    pub cpu_permille: u16,
    /// [`NONE_PERCENT`] if it has none.
    pub battery: u8,
    pub quality: u8,
}

/// A task at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskPoint {
    pub at_s: u32,
    pub mem_bytes: u32,
    pub cpu_permille: u16,
}

const NONE: u16 = u16::MAX;
const NONE_PERCENT: u8 = u8::MAX;

/// A value that may not be known.
pub(super) fn permille(value: u16) -> Option<u16> {
    (value != NONE).then_some(value)
}

/// A value that may not be known.
pub(super) fn percent(value: u8) -> Option<u8> {
    (value != NONE_PERCENT).then_some(value)
}

fn mean(a: u16, b: u16) -> u16 {
    match (permille(a), permille(b)) {
        (Some(a), Some(b)) => a.midpoint(b),
        (a, b) => a.or(b).unwrap_or(NONE),
    }
}

impl Point for NodePoint {
    fn at_s(&self) -> u32 {
        self.at_s
    }

    fn with(self, next: Self) -> Self {
        Self {
            frames_in: self.frames_in.saturating_add(next.frames_in),
            frames_out: self.frames_out.saturating_add(next.frames_out),
            cpu_permille: mean(self.cpu_permille, next.cpu_permille),
            ..next
        }
    }
}

impl Point for TaskPoint {
    fn at_s(&self) -> u32 {
        self.at_s
    }

    fn with(self, next: Self) -> Self {
        Self { cpu_permille: mean(self.cpu_permille, next.cpu_permille), ..next }
    }
}

/// What a node had used at its last point.
#[derive(Clone, Copy, Debug)]
struct Base {
    uptime_s: u32,
    cpu_ms: u64,
    frames_in: u32,
    frames_out: u32,
}

impl Base {
    fn of(vitals: &Vitals) -> Self {
        Self {
            uptime_s: vitals.uptime_s,
            cpu_ms: vitals.cpu_ms,
            frames_in: vitals.frames_in,
            frames_out: vitals.frames_out,
        }
    }
}

#[derive(Debug)]
struct Track {
    series: Series<NodePoint, POINTS_MAX>,
    base: Base,
    heard_s: u32,
    looked_s: u32,
}

/// The courses.
#[derive(Debug, Default)]
pub(crate) struct History {
    nodes: HashMap<NodeId, Track>,
    tasks: HashMap<(NodeId, TaskHandle), Series<TaskPoint, POINTS_MAX>>,
    looked_s: u32,
    task_looked_s: u32,
}

impl History {
    /// A heartbeat brought a node's vitals.
    pub fn vitals(
        &mut self,
        node: NodeId,
        vitals: &Vitals,
        (power, quality, mem_bytes): (Power, Option<u8>, u32),
        now_s: u32,
    ) {
        let Some(track) = self.nodes.get_mut(&node) else {
            if self.nodes.len() < NODES_MAX || self.gives_way(now_s) {
                self.track(node, vitals, now_s, 0);
            }
            return;
        };
        track.heard_s = now_s;
        if !track.series.wants(now_s) {
            return;
        }
        let mut base = track.base;
        if vitals.uptime_s < base.uptime_s {
            base = Base::of(&Vitals::default()); // it started anew
        }
        let cut = |now: u32, before: u32| u16::try_from(now.wrapping_sub(before)).unwrap_or(u16::MAX);
        let span_ms = u64::from(vitals.uptime_s - base.uptime_s) * 1000;
        let busy = vitals.cpu_ms.saturating_sub(base.cpu_ms).saturating_mul(1000).checked_div(span_ms);
        track.series.add(NodePoint {
            at_s: now_s,
            mem_bytes,
            frames_in: cut(vitals.frames_in, base.frames_in),
            frames_out: cut(vitals.frames_out, base.frames_out),
            cpu_permille: busy.map_or(NONE, |busy| busy.min(1000) as u16),
            battery: match power {
                Power::Mains => NONE_PERCENT,
                Power::Battery(percent) => percent.min(100),
            },
            quality: quality.unwrap_or(NONE_PERCENT),
        });
        track.base = Base::of(vitals);
    }

    /// A heartbeat told what a task uses.
    pub fn usage(
        &mut self,
        node: NodeId,
        task: TaskHandle,
        cpu_permille: Option<u16>,
        mem_bytes: u32,
        now_s: u32,
    ) {
        if !self.tasks.contains_key(&(node, task))
            && self.tasks.len() >= TASKS_MAX
            && !self.task_gives_way(now_s)
        {
            return;
        }
        let series = self.tasks.entry((node, task)).or_insert_with(|| Series::new(GAP_S));
        if series.wants(now_s) {
            let cpu_permille = cpu_permille.map_or(NONE, |used| used.min(NONE - 1));
            series.add(TaskPoint { at_s: now_s, mem_bytes, cpu_permille });
        }
    }

    /// Somebody looks at a node: it has a course from now on.
    pub fn look(&mut self, node: NodeId, vitals: Option<&Vitals>, now_s: u32) -> &[NodePoint] {
        if !self.nodes.contains_key(&node)
            && let Some(vitals) = vitals
        {
            if self.nodes.len() >= NODES_MAX {
                let longest = self.nodes.iter().min_by_key(|(_, track)| (track.looked_s, track.heard_s));
                let longest = longest.map(|(node, _)| *node);
                longest.and_then(|node| self.nodes.remove(&node));
            }
            self.track(node, vitals, now_s, now_s);
        }
        match self.nodes.get_mut(&node) {
            Some(track) => {
                track.looked_s = now_s;
                track.series.points()
            }
            None => &[],
        }
    }

    /// The course of a task.
    pub fn of_task(&self, node: NodeId, task: TaskHandle) -> &[TaskPoint] {
        self.tasks.get(&(node, task)).map_or(&[], |series| series.points())
    }

    fn track(&mut self, node: NodeId, vitals: &Vitals, now_s: u32, looked_s: u32) {
        let base = Base::of(vitals);
        self.nodes.insert(node, Track { series: Series::new(GAP_S), base, heard_s: now_s, looked_s });
    }

    /// Drops the task that nothing was told of for longest, if that is long enough.
    fn task_gives_way(&mut self, now_s: u32) -> bool {
        if now_s.saturating_sub(self.task_looked_s) < LOOK_S {
            return false;
        }
        self.task_looked_s = now_s;
        let last =
            |series: &Series<TaskPoint, POINTS_MAX>| series.points().last().map_or(0, |point| point.at_s);
        let longest = self.tasks.iter().map(|(key, series)| (last(series), *key)).min();
        let silent = longest.filter(|(at_s, _)| now_s.saturating_sub(*at_s) >= SILENT_S);
        silent.and_then(|(_, key)| self.tasks.remove(&key)).is_some()
    }

    /// Drops the node that has been silent for longest, if that is long enough.
    fn gives_way(&mut self, now_s: u32) -> bool {
        if now_s.saturating_sub(self.looked_s) < LOOK_S {
            return false;
        }
        self.looked_s = now_s;
        let longest = self.nodes.iter().min_by_key(|(_, track)| track.heard_s);
        let silent = longest.filter(|(_, track)| now_s.saturating_sub(track.heard_s) >= SILENT_S);
        silent.map(|(node, _)| *node).and_then(|node| self.nodes.remove(&node)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> NodeId {
        NodeId((number as u64).to_be_bytes())
    }

    fn vitals(uptime_s: u32, cpu_ms: u64, frames: u32) -> Vitals {
        Vitals { uptime_s, cpu_ms, frames_in: frames, frames_out: 2 * frames, ..Vitals::default() }
    }

    const ON_MAINS: (Power, Option<u8>, u32) = (Power::Mains, None, 100);

    #[test]
    fn a_point_is_what_happened_since_the_one_before() {
        let mut history = History::default();
        history.vitals(id(1), &vitals(100, 5_000, 50), ON_MAINS, 1_000);
        history.vitals(id(1), &vitals(104, 5_000, 51), (Power::Battery(80), Some(93), 7), 1_004);
        history.vitals(id(1), &vitals(120, 10_000, 60), (Power::Battery(79), Some(94), 8), 1_020);
        history.vitals(id(1), &vitals(20, 1_000, 3), ON_MAINS, 1_060);
        let points = history.look(id(1), None, 1_060);
        let first = NodePoint {
            at_s: 1_004,
            mem_bytes: 7,
            frames_in: 1,
            frames_out: 2,
            cpu_permille: 0,
            battery: 80,
            quality: 93,
        };
        assert_eq!(points[0], first);
        assert_eq!((points[1].cpu_permille, points[1].frames_in, points[1].battery), (312, 9, 79));
        assert_eq!((points[2].cpu_permille, points[2].frames_out, points[2].battery), (50, 6, NONE_PERCENT));
    }

    #[test]
    fn the_places_go_round_only_for_who_is_silent_or_looked_at() {
        let mut history = History::default();
        for number in 0..NODES_MAX + 10 {
            history.vitals(id(number), &vitals(1, 1, 1), ON_MAINS, 1_000);
        }
        assert_eq!(history.nodes.len(), NODES_MAX);
        let late = id(NODES_MAX);
        assert!(!history.nodes.contains_key(&late));
        (1..NODES_MAX).for_each(|number| history.vitals(id(number), &vitals(1, 1, 1), ON_MAINS, 5_000));
        history.vitals(late, &vitals(1, 1, 1), ON_MAINS, 5_000);
        assert!(history.nodes.contains_key(&late) && !history.nodes.contains_key(&id(0)));
        let looked_at = id(NODES_MAX + 1);
        assert!(history.look(looked_at, None, 5_001).is_empty() && !history.nodes.contains_key(&looked_at));
        history.look(looked_at, Some(&vitals(1, 1, 1)), 5_001);
        assert!(history.nodes.contains_key(&looked_at) && history.nodes.len() == NODES_MAX);
        history.vitals(looked_at, &vitals(30, 1, 1), ON_MAINS, 5_030);
        assert_eq!(history.look(looked_at, None, 5_030).len(), 1);
    }

    #[test]
    fn a_fleet_of_idle_nodes_costs_what_is_said() {
        assert_eq!((size_of::<NodePoint>(), size_of::<TaskPoint>()), (16, 12));
        let mut history = History::default();
        for number in 0..2 * TASKS_MAX {
            history.usage(id(number), 1, Some(1), 1, 1);
        }
        assert_eq!(history.tasks.len(), TASKS_MAX);
        history.usage(id(9_999), 1, Some(1), 1, SILENT_S + 1);
        assert!(history.tasks.len() == TASKS_MAX && history.of_task(id(9_999), 1).len() == 1);
    }
}
