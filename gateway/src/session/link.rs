//! How well the radio between a node and the gateway works, reckoned from what both say.
//!
//! A heartbeat that brings vitals says how many frames the node has sent since it started; a message of a node is one
//! frame, so as many datagrams should have come from it since the heartbeat before. What is missing was lost on its way up.
//! What had to be sent again, by the gateway (RFC 7252 §4.2) or by the node, whose repetitions are recognised, tells of
//! losses either way. Both are sums of the last [`SPAN`] frames or so, older ones counting less and less.
//!
//! ```text
//!   lost    = 1 - arrived / sent
//!   quality = (1 - lost) * (1 - again / exchanged)
//! ```

use super::Traffic;
use node_proto::Vitals;

/// Frames after which older ones count half.
const SPAN: u32 = 64;
/// Frames before anything is said.
const FRAMES_MIN: u32 = 8;

/// What an operator sees of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkView {
    /// Of a hundred messages, how many need no second attempt, as far as one can tell; `None` before a few have passed.
    pub quality_percent: Option<u8>,
    /// Share of the node's frames that did not arrive, thousandths.
    pub lost_permille: Option<u16>,
    /// Messages that were sent again, either way, since the gateway started.
    pub resent: u32,
}

/// One link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    /// What both said at the last vitals: frames that the node had sent, datagrams that had come and gone.
    last: Option<(u32, u32, u32)>,
    sent: u32,
    arrived: u32,
    exchanged: u32,
    repeated: u32,
    /// Since the last vitals.
    fresh: u32,
    resent: u32,
}

impl Link {
    /// Something was sent again.
    pub fn again(&mut self, times: u8) {
        self.fresh = self.fresh.saturating_add(times.into());
        self.resent = self.resent.saturating_add(times.into());
    }

    /// A heartbeat brought vitals.
    pub fn report(&mut self, vitals: &Vitals, traffic: &Traffic) {
        // Only differences count: they may wrap.
        let (came, went) = (traffic.datagrams_in as u32, traffic.datagrams_out as u32);
        let before = self.last.replace((vitals.frames_out, came, went));
        let fresh = std::mem::take(&mut self.fresh);
        let Some((frames, came_before, went_before)) = before else { return };
        let Some(sent) = vitals.frames_out.checked_sub(frames) else { return }; // it started anew
        let (came, went) = (came.wrapping_sub(came_before), went.wrapping_sub(went_before));
        self.sent = self.sent.saturating_add(sent);
        // The network may double a frame; none arrives that was not sent.
        self.arrived = self.arrived.saturating_add(came.min(sent));
        self.exchanged = self.exchanged.saturating_add(came).saturating_add(went);
        self.repeated = self.repeated.saturating_add(fresh);
        while self.sent > SPAN {
            for sum in [&mut self.sent, &mut self.arrived, &mut self.exchanged, &mut self.repeated] {
                *sum /= 2;
            }
        }
    }

    pub fn view(&self) -> LinkView {
        let mut view = LinkView { resent: self.resent, ..LinkView::default() };
        if self.sent >= FRAMES_MIN {
            let arrived = u64::from(self.arrived.min(self.sent)) * 1000 / u64::from(self.sent);
            let exchanged = u64::from(self.exchanged.max(1));
            let first = (exchanged - u64::from(self.repeated).min(exchanged)) * 1000 / exchanged;
            view.lost_permille = Some((1000 - arrived) as u16);
            view.quality_percent = Some((arrived * first / 10_000) as u8);
        }
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(link: &mut Link, frames_out: u32, datagrams_in: u64, datagrams_out: u64) {
        let traffic = Traffic { datagrams_in, datagrams_out, ..Traffic::default() };
        link.report(&Vitals { frames_out, ..Vitals::default() }, &traffic);
    }

    #[test]
    fn nothing_is_said_before_enough_has_passed() {
        let mut link = Link::default();
        report(&mut link, 1000, 3, 3);
        report(&mut link, 1007, 10, 10);
        assert_eq!(link.view(), LinkView::default(), "what was before the first report counts for nothing");
        report(&mut link, 1008, 11, 11);
        assert_eq!((link.view().quality_percent, link.view().lost_permille), (Some(100), Some(0)));
    }

    #[test]
    fn losses_and_repetitions_are_seen_and_pass() {
        let mut link = Link::default();
        let (mut sent, mut came) = (0, 0);
        report(&mut link, sent, came, came);
        for _ in 0..40 {
            (sent, came) = (sent + 4, came + 3);
            link.again(1);
            report(&mut link, sent, came, came);
        }
        let view = link.view();
        assert!((240..=260).contains(&view.lost_permille.unwrap()), "{view:?}");
        assert_eq!(view.resent, 40);
        assert!(view.quality_percent.unwrap() < 66, "{view:?}");
        for _ in 0..200 {
            (sent, came) = (sent + 4, came + 4);
            report(&mut link, sent, came, came);
        }
        assert!(link.view().quality_percent.unwrap() >= 98, "{:?}", link.view());
    }

    #[test]
    fn a_node_that_starts_anew_or_is_heard_twice_is_no_better_than_perfect() {
        let mut link = Link::default();
        report(&mut link, 100, 100, 0);
        report(&mut link, 3, 104, 0);
        report(&mut link, 13, 140, 0);
        assert_eq!(link.view().quality_percent, Some(100));
        report(&mut link, u32::MAX, 141, u64::MAX);
        assert!(link.view().quality_percent.is_some());
    }
}
