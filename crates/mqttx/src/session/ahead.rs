//! Publishers that run ahead, of their driver and of the server: when they are to stand aside, which [`pause`](super::pause) does.
//!
//! A driver that a task woke is run by the same thread once that task pauses. Without a pause a publisher would fill the outbox
//! first, and what it holds would leave the processor's caches before it is sent. So a publisher stands aside now and then,
//! after its message was accepted: for the driver's turn, or, once the server's window is used up, until messages are
//! acknowledged.
//!
//! Of many publishers one goes on at a time, and the driver's turn comes between two of them: side by side they would wait for each
//! other's lock, and their messages would fill the outbox together. Those who pause are woken one by one, in the order in which they
//! began to, each as the last thing the driver does before it sleeps or lets others run, so that the same thread runs it next: if no
//! message waits for the window, and no other publisher goes on meanwhile. It is not waited for: if it was not run by the driver's
//! next turn, that wakes another one. One that gives up its place lets the driver look for the next one, and each pause is over after
//! a while in any case.
//!
//! A publisher that is alone does not pause for the driver's turn but yields, unless the driver is far behind: on a thread of its own it
//! writes at the same time.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

/// What may be handed over, in bytes, before the driver is to have a turn. Each of its turns wakes another thread in vain (whoever finds
/// a task after a search tells another one to search), so that few and large ones are better; what is beyond the processor's caches
/// is slower again. With a message more it fits 512 KiB, which a write queue grows to and keeps.
const LEAD: u32 = 448 * 1024;
/// What may be handed over while the driver, on another thread, has no turn to begin: as long as a socket takes what it had.
const FARTHEST: u32 = 4 * LEAD;
/// Messages beyond the server's window that need not have waited for acknowledgements.
const BEYOND: usize = 128;
/// How many are accepted between two pauses, where more than [`BEYOND`] wait. A pause in which fewer left was in vain.
const STEP: u32 = 64;
/// How long a pause may take. For a server that takes fewer than [`STEP`] in that time there is the outbox: it hardly delays a
/// publisher. The turns of many busy sessions take some milliseconds.
pub(super) const PAUSE: Duration = Duration::from_millis(5);
/// After how many pauses in vain they come no more seldom.
const MOST_VAIN: u8 = 5;
/// So many publishers ahead of one that pauses let its pause take [`PAUSE`] longer: each has its turn.
pub(super) const AHEAD_IN_A_PAUSE: usize = 16;
/// How many publishers of one session pause at a time.
pub(super) const PAUSING: usize = 1024;

/// How far the publishers of one session are ahead.
#[derive(Default)]
pub(crate) struct Ahead {
    /// Bytes of messages that were accepted since the driver's last turn, or, where others pause, since one of them was woken.
    lead: u32,
    /// What that was when a publisher last let others run.
    yielded: u32,
    /// Messages that were accepted since a publisher last paused.
    messages: u32,
    /// Since the driver's turn began a publisher went on that makes way for others in time.
    goes_on: bool,
    /// Pauses in a row that were in vain. Each doubles the number of messages until the next one.
    vain: u8,
    /// A publisher lets others run, and the driver had no turn since: whoever goes on is not alone.
    yielding: bool,
    /// The ticket of the last publisher that began to pause.
    last: Ticket,
    /// Those who pause; `None` if nobody did since the session was quiet.
    pausing: Option<Box<Pauses>>,
}

/// Which of two publishers began to pause first. It wraps around.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u32);

impl Ticket {
    fn order(self, other: Self) -> Ordering {
        self.0.wrapping_sub(other.0).cast_signed().cmp(&0)
    }
}

/// No more publishers may pause.
#[derive(Debug)]
pub(super) struct Crowded;

/// The publishers that pause, in the order in which they began to.
#[derive(Default)]
struct Pauses {
    places: VecDeque<(Ticket, Waker)>,
    /// How many were woken.
    turns: u32,
}

/// For what a publisher is to stand aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// It goes on.
    None,
    /// The driver's turn, in which no other publisher is in the way.
    Alone,
    /// The driver's turn, and those of other publishers.
    Turn,
    /// Acknowledgements.
    Window,
}

impl Pauses {
    /// Where it is, or would be.
    fn place(&self, ticket: Ticket) -> Result<usize, usize> {
        self.places.binary_search_by(|(other, _)| other.order(ticket))
    }
}

impl Ahead {
    /// The driver has a turn; `waiting` are behind the server's window. Where others pause for more than that, whoever goes on makes way
    /// for them all the same.
    pub(super) fn on_turn(&mut self, waiting: usize) {
        (self.goes_on, self.yielding) = (false, false);
        if waiting > 0 || self.pausing() == 0 {
            (self.lead, self.yielded) = (0, 0);
        }
    }

    /// Whether a publisher went on since the driver's turn began.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// A message of `bytes` was accepted; `waiting` are behind the server's window. `makes_way`: its publisher stands aside as it is told.
    #[inline]
    pub(super) fn on_accepted(&mut self, bytes: usize, waiting: usize, makes_way: bool) -> Lead {
        self.lead = self.lead.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.messages = self.messages.wrapping_add(1);
        if !makes_way {
            return Lead::None;
        }
        if waiting > BEYOND && (self.messages >= STEP << self.vain || self.others_pause()) {
            self.messages = 0;
            return Lead::Window;
        }
        // A server that keeps messages waiting holds the others back, which is nothing to make way for.
        let is_free = waiting == 0;
        if self.lead - self.yielded < LEAD && !(is_free && self.yielding) {
            self.goes_on = true;
            return Lead::None;
        }
        if is_free && (self.yielding || self.pausing() > 0) {
            return Lead::Turn;
        }
        (self.yielded, self.yielding, self.goes_on) = (self.lead, true, true);
        Lead::Alone
    }

    /// The publisher that was [`Alone`](Lead::Alone) goes on; `true`: the driver had no turn for too long.
    pub(super) fn on_yielded(&mut self) -> bool {
        self.yielding = false;
        self.lead >= FARTHEST
    }

    /// Others pause, there is a place beside them, and the server is quick enough for that: whoever goes on takes their room.
    fn others_pause(&self) -> bool {
        self.vain == 0 && (1..PAUSING).contains(&self.pausing())
    }

    /// How many pause.
    pub(super) fn pausing(&self) -> usize {
        self.pausing.as_ref().map_or(0, |pausing| pausing.places.len())
    }

    /// How many of those who paused were woken.
    pub(super) fn turns(&self) -> u32 {
        self.pausing.as_ref().map_or(0, |pausing| pausing.turns)
    }

    /// A publisher pauses until [`next`](Self::next) gives its waker, unless too many do already. Its `ticket` keeps its place
    /// if it was woken too early; the waker that it had then is returned.
    pub(super) fn pause(
        &mut self,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> Result<Option<Waker>, Crowded> {
        let pausing = &mut **self.pausing.get_or_insert_default();
        let own = ticket.unwrap_or(Ticket(self.last.0.wrapping_add(1)));
        let before = match pausing.place(own) {
            Ok(at) => Some(std::mem::replace(&mut pausing.places[at].1, waker.clone())),
            Err(at) if pausing.places.len() < PAUSING => {
                pausing.places.insert(at, (own, waker.clone()));
                None
            }
            Err(_) => return Err(Crowded),
        };
        if ticket.replace(own).is_none() {
            self.last = own;
        }
        Ok(before)
    }

    /// Whether it has its place, and was not woken by [`next`](Self::next).
    pub(super) fn pauses(&self, ticket: Ticket) -> bool {
        self.pausing.as_ref().is_some_and(|pausing| pausing.place(ticket).is_ok())
    }

    /// It does not pause any more; the waker with which it did.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        let pausing = self.pausing.as_deref_mut()?;
        let at = pausing.place(ticket).ok()?;
        pausing.places.remove(at).map(|(_, waker)| waker)
    }

    /// Nothing waits for the window any more: the one that paused longest, to be woken. Once its pause is over and still nothing
    /// waits, the next one has its turn.
    pub(super) fn next(&mut self) -> Option<Waker> {
        let pausing = self.pausing.as_deref_mut()?;
        let (_, waker) = pausing.places.pop_front()?;
        pausing.turns = pausing.turns.wrapping_add(1);
        self.begin_anew();
        Some(waker)
    }

    /// A pause was over because it had what it was for.
    pub(super) fn on_success(&mut self) {
        self.vain = 0;
    }

    /// A pause for others was over before one of them was woken, who would have begun to count.
    pub(super) fn begin_anew(&mut self) {
        (self.lead, self.yielded) = (0, 0);
    }

    /// A pause took as long as it may; in it so many messages left, or others had their `turns`.
    pub(super) fn on_pause(&mut self, left: usize, turns: bool) {
        let vain = left < STEP as usize && !turns;
        self.vain = if vain { (self.vain + 1).min(MOST_VAIN) } else { 0 };
    }

    /// Gives memory back, for a quiet session.
    pub(super) fn shrink(&mut self) {
        self.pausing.take_if(|pausing| pausing.places.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages until the next pause, with so many waiting.
    fn until_pause(ahead: &mut Ahead, waiting: usize) -> u32 {
        let mut messages = 1;
        while ahead.on_accepted(100, waiting, true) != Lead::Window {
            messages += 1;
        }
        messages
    }

    #[test]
    fn the_driver_gets_a_turn_after_so_many_bytes() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.on_accepted(LEAD as usize - 1, 0, true), Lead::None);
        assert_eq!(ahead.on_accepted(1, 0, true), Lead::Alone);
        assert!(!ahead.on_yielded());
        assert_eq!(ahead.on_accepted(LEAD as usize - 1, 0, true), Lead::None);
        ahead.on_turn(0);
        assert_eq!(ahead.on_accepted(1, BEYOND, true), Lead::None, "few messages wait");
        assert_eq!(ahead.on_accepted(usize::MAX, BEYOND, true), Lead::Alone);
    }

    #[test]
    fn a_publisher_alone_pauses_for_a_driver_that_is_far_behind() {
        let mut ahead = Ahead::default();
        for lead in 1..FARTHEST / LEAD {
            assert_eq!(ahead.on_accepted(LEAD as usize, 0, true), Lead::Alone);
            assert!(!ahead.on_yielded(), "{lead} times");
        }
        assert_eq!(ahead.on_accepted(LEAD as usize, 0, true), Lead::Alone);
        assert!(ahead.on_yielded());
        ahead.on_turn(0);
        assert_eq!(ahead.on_accepted(LEAD as usize, 0, true), Lead::Alone);
        assert!(!ahead.on_yielded());
    }

    #[test]
    fn whoever_goes_on_while_another_yields_makes_way() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.on_accepted(LEAD as usize, 0, true), Lead::Alone);
        assert_eq!(ahead.on_accepted(1, 0, true), Lead::Turn, "another one");
        assert_eq!(ahead.on_accepted(1, 1, true), Lead::None, "the server holds it back");
        ahead.on_turn(0);
        assert_eq!(
            ahead.on_accepted(1, 0, true),
            Lead::None,
            "although the first may never be run again"
        );
    }

    #[test]
    fn where_others_pause_each_goes_on_for_as_many_bytes_whatever_turns_the_driver_has() {
        let mut ahead = Ahead::default();
        assert!(ahead.pause(&mut None, Waker::noop()).is_ok());
        assert_eq!(ahead.on_accepted(LEAD as usize - 1, 0, true), Lead::None);
        ahead.on_turn(0);
        assert_eq!(ahead.on_accepted(1, 0, true), Lead::Turn);
        assert_eq!(ahead.on_accepted(1, 0, true), Lead::Turn, "until its pause is over");
        ahead.begin_anew();
        assert_eq!(ahead.on_accepted(LEAD as usize, 0, true), Lead::Turn);
        assert_eq!(ahead.on_accepted(1, 0, true), Lead::Turn, "until one of them was woken");
        assert!(ahead.next().is_some());
        assert_eq!(ahead.on_accepted(1, 0, true), Lead::None);
    }

    #[test]
    fn nobody_makes_way_for_those_whom_the_server_holds_back() {
        let mut ahead = Ahead::default();
        assert!(ahead.pause(&mut None, Waker::noop()).is_ok());
        assert_eq!(ahead.on_accepted(LEAD as usize, 1, true), Lead::Alone);
        assert_eq!(ahead.on_accepted(1, 1, true), Lead::None);
        ahead.on_turn(1);
        assert_eq!(ahead.on_accepted(LEAD as usize - 1, 0, true), Lead::None);
    }

    #[test]
    fn the_driver_knows_whether_somebody_goes_on_who_makes_way() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.on_accepted(LEAD as usize, 0, false), Lead::None);
        assert!(
            !ahead.goes_on() && !ahead.yielding,
            "it is not held back, and does not hold others back"
        );
        assert_eq!(ahead.on_accepted(1, 0, true), Lead::Alone);
        assert!(ahead.goes_on());
        assert_eq!(ahead.on_accepted(1, 0, true), Lead::Turn);
        ahead.on_turn(0);
        assert!(!ahead.goes_on());
        assert_eq!(ahead.on_accepted(1, 0, true), Lead::None);
        assert!(ahead.goes_on());
    }

    #[test]
    fn who_pauses_does_not_go_on() {
        let mut ahead = Ahead::default();
        assert!(ahead.pause(&mut None, Waker::noop()).is_ok());
        assert_eq!(ahead.on_accepted(LEAD as usize, 0, true), Lead::Turn);
        assert_eq!(ahead.on_accepted(1, BEYOND + 1, true), Lead::Window);
        assert!(!ahead.goes_on());
    }

    #[test]
    fn pauses_in_vain_become_rare_and_one_that_helped_brings_them_back() {
        let mut ahead = Ahead::default();
        assert_eq!(until_pause(&mut ahead, BEYOND + 1), STEP);
        for doublings in 1..=MOST_VAIN {
            ahead.on_pause(STEP as usize - 1, false);
            assert_eq!(until_pause(&mut ahead, BEYOND + 1), STEP << doublings);
        }
        ahead.on_pause(0, false);
        assert_eq!(until_pause(&mut ahead, BEYOND + 1), STEP << MOST_VAIN, "no more seldom");
        ahead.on_pause(STEP as usize, false);
        assert_eq!(until_pause(&mut ahead, BEYOND + 1), STEP);
    }

    #[test]
    fn a_pause_in_which_others_had_their_turns_was_not_in_vain() {
        let mut ahead = Ahead::default();
        ahead.on_pause(0, false);
        ahead.on_pause(0, true);
        assert_eq!(until_pause(&mut ahead, BEYOND + 1), STEP);
    }

    #[test]
    fn so_many_publishers_pause_and_no_more() {
        let mut ahead = Ahead::default();
        let mut tickets = [None; PAUSING + 1];
        let fit = tickets.iter_mut().filter_map(|t| ahead.pause(t, Waker::noop()).ok());
        assert_eq!(fit.count(), PAUSING);
        assert!(ahead.pause(&mut tickets[0], Waker::noop()).is_ok(), "it has a place already");
        assert_eq!(std::iter::from_fn(|| ahead.next()).count(), PAUSING);
        ahead.shrink();
        assert!(ahead.pausing.is_none());
    }

    #[test]
    fn publishers_have_their_turns_in_order_and_keep_their_places() {
        // Beyond the first the numbers wrap around.
        let mut ahead = Ahead { last: Ticket(u32::MAX - 1), ..Ahead::default() };
        let tasks = [(); 3].map(|()| Waker::from(std::sync::Arc::new(Task)));
        let mut tickets = [None; 3];
        for (ticket, task) in tickets.iter_mut().zip(&tasks) {
            assert!(ahead.pause(ticket, task).is_ok());
        }
        let is_next = |ahead: &mut Ahead, number: usize| {
            ahead.next().is_some_and(|waker| waker.will_wake(&tasks[number]))
        };
        assert!(is_next(&mut ahead, 0));
        assert!(ahead.pause(&mut tickets[0], &tasks[0]).is_ok(), "woken too early");
        assert!(is_next(&mut ahead, 0), "before the others");
        assert!(ahead.leave(tickets[0].expect("a ticket")).is_none(), "it was woken");
        assert!(ahead.leave(tickets[1].expect("a ticket")).is_some());
        assert!(is_next(&mut ahead, 2));
        assert!(ahead.next().is_none());
    }

    #[test]
    fn nobody_passes_those_who_pause_unless_the_server_is_slow() {
        let mut ahead = Ahead::default();
        assert!(ahead.pause(&mut None, Waker::noop()).is_ok());
        assert_eq!(until_pause(&mut ahead, BEYOND + 1), 1);
        assert_eq!(ahead.on_accepted(100, BEYOND, true), Lead::None, "few messages wait");
        ahead.on_pause(0, false);
        assert_eq!(until_pause(&mut ahead, BEYOND + 1), (STEP << 1) - 1);
    }

    struct Task;

    impl std::task::Wake for Task {
        fn wake(self: std::sync::Arc<Self>) {}
    }
}
