//! From the socket to the routes.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use mqttx_proto::{AckTicket, Inbound, Publish, Version};

use super::desk::Desk;
use super::link::Step;
use super::{Driver, Phase};
use crate::message::Message;
use crate::metrics::DropReason;
use crate::router::{Dispatched, InboundMeta, LOT, MessageSource, Read, Run, Scratch};

impl Driver {
    /// Writes, reads and dispatches once; `true` if anything moved.
    pub(super) fn drive_link(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk,
    ) -> bool {
        let Phase::Open(link) = &mut self.phase else { return false };
        desk.make_room();
        let step = if link.is_closing() {
            link.drive_closing(cx, now, &mut desk.bytes)
        } else if let Some(error) = link.overdue(now, &self.options) {
            Step::Ended(link.cause_or(error))
        } else {
            let moved = link.write(cx, now);
            return self.drive_reading(cx, now, desk) || moved;
        };
        match step {
            Step::Moved => true,
            Step::Stuck => false,
            Step::Ended(end) => {
                self.end_link(now, end);
                true
            }
        }
    }

    fn drive_reading(&mut self, cx: &mut Context<'_>, now: Instant, desk: &mut Desk) -> bool {
        let Phase::Open(link) = &mut self.phase else { return false };
        if link.paused && !link.is_broken() {
            return false;
        }
        // A small rest goes in front of what is read; a large packet grows where it is.
        let limit = self.options.performance.read_buffer;
        let rest =
            if link.traffic.partial.len() <= limit / 4 { link.traffic.partial.len() } else { 0 };
        let Some(space) = desk.bytes.get_mut(rest..limit) else { return false };
        match link.read(cx, now, space) {
            Poll::Pending => {
                let Some(error) = link.take_broken(now) else { return false };
                let end = link.cause_or(error);
                self.end_link(now, end);
            }
            Poll::Ready(Ok(0)) => {
                let text = "the server closed the connection";
                let end = link.cause_or(io::Error::new(io::ErrorKind::UnexpectedEof, text));
                self.end_link(now, end);
            }
            Poll::Ready(Err(error)) => {
                let end = link.cause_or(error);
                self.end_link(now, end);
            }
            Poll::Ready(Ok(n)) if let Some(fault) = link.answer_of_others(space, n) => {
                let end = link.cause_or(fault.into());
                self.end_link(now, end);
            }
            Poll::Ready(Ok(n)) => {
                let mut partial = std::mem::take(&mut link.traffic.partial);
                // The buffer leaves the desk for the time that messages borrow from it.
                let mut bytes = std::mem::take(&mut desk.bytes);
                if rest == partial.len() {
                    if let Some(front) = bytes.get_mut(..rest) {
                        front.copy_from_slice(&partial);
                    }
                    let input = bytes.get(..rest + n).unwrap_or_default();
                    let consumed = self.take_input(now, desk, input);
                    partial.clear();
                    partial.extend_from_slice(input.get(consumed..).unwrap_or_default());
                } else {
                    partial.extend_from_slice(bytes.get(..n).unwrap_or_default());
                    let consumed = self.take_input(now, desk, &partial);
                    partial.drain(..consumed);
                }
                if partial.is_empty() {
                    partial = Vec::new();
                }
                desk.bytes = std::mem::take(&mut bytes);
                if let Phase::Open(link) = &mut self.phase {
                    link.traffic.partial = partial;
                }
            }
        }
        true
    }

    /// Hands bytes to the core and the messages in them to the routes; returns how many are done with.
    pub(super) fn take_input(&mut self, now: Instant, desk: &mut Desk, input: &[u8]) -> usize {
        let mut inbound = desk.take_inbound();
        let consumed = self.shared.lock().core.handle_input(now, input, &mut inbound);
        if let Some(log) = self.options.wire_log.as_ref().filter(|log| log.is_enabled())
            && let Some(packets) = input.get(..consumed).filter(|packets| !packets.is_empty())
        {
            log.received(&self.shared.name, packets);
        }
        if self.shared.receiving_stopped.load(Ordering::Acquire) {
            // The process ends: they stay with the server, unacknowledged.
            let left = inbound.iter().filter(|item| item.ticket.is_some()).count();
            self.shared.unhandled.fetch_add(left, Ordering::AcqRel);
        } else if !inbound.is_empty() {
            self.dispatch(now, desk, input, &inbound);
        }
        desk.put_inbound(inbound);
        consumed
    }

    fn dispatch<'a>(
        &mut self,
        now: Instant,
        desk: &mut Desk,
        input: &'a [u8],
        inbound: &'a [Inbound<'a>],
    ) {
        let Phase::Open(link) = &self.phase else { return };
        let (shed, refusing) = (link.shedding, link.traffic.refused > 0);
        if link.online_since().is_none() {
            // They came in one piece with the CONNACK, whose event is handled after them.
            self.held.start(now.checked_add(self.options.unrouted_hold));
        }
        // A server that keeps the session keeps what we cannot.
        let refusing = refusing || (shed && self.options.is_persistent());
        self.count_received(inbound);
        let mut run = self.run_of(input);
        let common = self.meta(now, None, shed);
        for read in inbound.chunks(LOT) {
            let mut index = 0;
            while let Some(item) = read.get(index) {
                let publish = item.publish();
                match item.ticket {
                    Some(ticket) if refusing => desk.refused.push(ticket),
                    ticket => {
                        let meta = self.meta(now, ticket, shed);
                        desk.router.at(index);
                        if !self.route(&publish, &meta, &mut desk.router, &mut run, &mut desk.done)
                        {
                            desk.router.hand_over(Read::Many(read), &common, &self.source);
                            self.redispatch(now, desk);
                            run = self.run_of(input);
                            continue;
                        }
                    }
                }
                index += 1;
                if !shed
                    && !refusing
                    && let Some(next) = read.get(index..)
                {
                    let (router, scratch) = (&self.shared.router, &mut desk.router);
                    let source = &self.source;
                    let done = &mut desk.done;
                    index += router.dispatch_row(next, &common, source, scratch, &run, done);
                }
            }
            desk.router.hand_over(Read::Many(read), &common, &self.source);
        }
        desk.router.finish(&self.source);
        if !desk.refused.is_empty() {
            self.refuse(&mut desk.refused);
        }
    }

    fn run_of<'a>(&self, input: &'a [u8]) -> Run<'a> {
        let mut run = Run::of(input);
        run.hold(self.held.routes());
        run
    }

    fn count_received(&self, inbound: &[Inbound<'_>]) {
        let (mut again, mut bytes) = (0, 0);
        for item in inbound {
            let is_again = item.publish().dup;
            again += u64::from(is_again);
            bytes += if is_again { 0 } else { item.packet_len as u64 };
        }
        let counters = &self.shared.origin.counters;
        counters.record_received(inbound.len() as u64 - again, bytes);
        counters.record_duplicates(again);
    }

    /// Leaves messages with the server. What was taken before is acknowledged on this connection, and so are
    /// our own messages, on which the handlers that make room may wait.
    fn refuse(&mut self, tickets: &mut Vec<AckTicket>) {
        if let Phase::Open(link) = &mut self.phase {
            link.traffic.refused += tickets.len();
        }
        self.shared.unhandled.fetch_add(tickets.len(), Ordering::AcqRel);
        let mut state = self.shared.lock();
        for ticket in tickets.drain(..) {
            let _ = state.core.refuse(ticket);
        }
    }

    fn meta(&self, now: Instant, ticket: Option<AckTicket>, shed: bool) -> InboundMeta {
        let flow_controlled = self.options.protocol == Version::V5;
        InboundMeta { ticket, received_at: now, flow_controlled, shed }
    }

    /// Gives a message to its routes; one without a route is held if it may be. `false`: those that are held come first, since there
    /// are new routes.
    fn route<'a>(
        &mut self,
        publish: &Publish<'a>,
        meta: &InboundMeta,
        scratch: &mut Scratch,
        run: &mut Run<'a>,
        done: &mut Vec<AckTicket>,
    ) -> bool {
        let outcome = self.shared.router.dispatch(publish, meta, &self.source, scratch, run);
        match (outcome, meta.ticket) {
            (Dispatched::DoneNow, ticket) => done.extend(ticket),
            (Dispatched::Pending, _) => {}
            (Dispatched::Outrun, _) => return false,
            (Dispatched::Unrouted, Some(ticket)) if self.held.holds(meta.received_at) => {
                let message = Message::new(publish, meta, &self.shared.origin);
                self.shared.park(message.size());
                self.shared.unhandled.fetch_add(1, Ordering::AcqRel);
                self.held.push(message, ticket, scratch.routes());
                run.hold(self.held.routes());
            }
            (Dispatched::Unrouted, ticket) => {
                self.tally.add(&self.shared, DropReason::Unrouted, 1, Some(publish.topic));
                done.extend(ticket);
            }
        }
        true
    }

    /// Routes or forwarders were added: messages that wait for one are tried again.
    pub(super) fn redispatch(&mut self, now: Instant, desk: &mut Desk) {
        loop {
            let (messages, failed) = self.held.take();
            let is_outrun = self.release(messages, desk, false);
            failed.into_iter().for_each(|message| self.on_failed(now, message));
            if !is_outrun {
                break;
            }
        }
    }

    /// The time for a route or a forwarder to come is over.
    pub(super) fn give_up_held(&mut self, now: Instant, desk: &mut Desk) {
        self.held.start(None);
        let (messages, failed) = self.held.take();
        self.release(messages, desk, true);
        failed.into_iter().for_each(|message| self.on_failed(now, message));
    }

    /// Tries held messages again; the `last` time they are not held any more. Whether some were not tried, since a handler of those before
    /// changed the routes.
    fn release(
        &mut self,
        held: VecDeque<(Message, AckTicket)>,
        desk: &mut Desk,
        last: bool,
    ) -> bool {
        let mut is_outrun = false;
        for (message, ticket) in held {
            let meta = self.meta(message.received_at(), Some(ticket), false);
            let publish = message.as_packet();
            let source = &self.source;
            desk.router.at(0);
            let (router, mut run) = (&self.shared.router, Run::default());
            if !last {
                run.hold(self.held.routes());
            }
            let outcome = router.dispatch(&publish, &meta, source, &mut desk.router, &mut run);
            desk.router.hand_over(Read::One(&publish), &meta, source);
            match outcome {
                Dispatched::Unrouted | Dispatched::Outrun if !last => {
                    is_outrun |= outcome == Dispatched::Outrun;
                    self.held.push(message, ticket, desk.router.routes());
                    continue;
                }
                Dispatched::Unrouted | Dispatched::Outrun => {
                    self.tally.add(&self.shared, DropReason::Unrouted, 1, Some(publish.topic));
                    desk.done.push(ticket);
                }
                Dispatched::DoneNow => desk.done.push(ticket),
                Dispatched::Pending => {}
            }
            self.shared.unhandled.fetch_sub(1, Ordering::AcqRel);
            self.shared.unpark(message.size());
        }
        desk.router.finish(&self.source);
        is_outrun
    }
}
