//! Messages with QoS 0 that went to one target together: one flow for all of them, and nothing for each.

use std::time::Instant;

use super::{FlowKey, Flows};
use crate::forward::reason::ForwardDrop;

/// Of a flow that stands for several messages.
#[derive(Clone, Copy, Default)]
pub(in crate::forward) struct Run {
    /// Those that are not finished; 0: the flow stands for one message, as most do.
    left: usize,
    /// What each of them keeps its source from reading, in bytes.
    passing: usize,
}

/// Messages that go together.
pub(in crate::forward) struct Together<'a> {
    pub(in crate::forward) source: usize,
    pub(in crate::forward) count: usize,
    /// What each of them keeps its source from reading, in bytes.
    pub(in crate::forward) passing: usize,
    pub(in crate::forward) received_at: Instant,
    /// Of the last one.
    pub(in crate::forward) topic: &'a str,
}

/// What became of messages that went together.
pub(in crate::forward) struct Left {
    pub(in crate::forward) source: usize,
    /// Bytes that do not keep the source any more.
    pub(in crate::forward) passed: usize,
    /// When they arrived, if those are the last ones.
    pub(in crate::forward) begun: Option<Instant>,
}

impl Flows {
    /// For the holder of the turn: opens a flow for messages that nothing is before; `None` if there is no room for all of them.
    pub(in crate::forward) fn open_run(&mut self, together: &Together<'_>) -> Option<FlowKey> {
        let &Together { source, count, passing, received_at, topic } = together;
        let fits = self.qos0_held + count <= self.qos0_queue / 2;
        if !fits || !self.waiting_qos0.is_empty() || self.rate.is_some() || count == 0 {
            return None;
        }
        self.counts.received += count as u64;
        self.held += count;
        self.qos0_held += count;
        let key = self.free_key();
        let flow = self.flows.get_mut(key as usize)?;
        (flow.live, flow.windowed, flow.source) = (true, false, source);
        (flow.failure, flow.kept, flow.begun) = (None, None, Some(received_at));
        flow.run = Run { left: count, passing };
        flow.topic.clear();
        flow.topic.push_str(topic);
        Some(key)
    }

    /// The last `count` messages of a run were not handed over after all: they are not in it, and did not arrive yet.
    pub(in crate::forward) fn shorten_run(&mut self, key: FlowKey, count: usize) -> Option<Left> {
        let left = self.take_of_run(key, count)?;
        self.counts.received -= count as u64;
        Some(Left { begun: None, ..left })
    }

    /// Messages of a run are finished; `None` if the flow is none.
    pub(in crate::forward) fn settle_run(
        &mut self,
        key: FlowKey,
        count: usize,
        failure: Option<ForwardDrop>,
    ) -> Option<Left> {
        let left = self.take_of_run(key, count)?;
        match failure {
            Some(reason) => self.counts.drop(reason, count as u64),
            None => self.counts.forwarded += count as u64,
        }
        Some(left)
    }

    /// The last of its messages had this topic.
    pub(in crate::forward) fn name_run(&mut self, key: FlowKey, topic: &str) {
        let run = self.flows.get_mut(key as usize).filter(|flow| flow.live && flow.run.left > 0);
        if let Some(flow) = run {
            topic.clone_into(&mut flow.topic);
        }
    }

    fn take_of_run(&mut self, key: FlowKey, count: usize) -> Option<Left> {
        let flow =
            self.flows.get_mut(key as usize).filter(|flow| flow.live && flow.run.left > 0)?;
        debug_assert!(count <= flow.run.left, "more than there were");
        let count = count.min(flow.run.left);
        flow.run.left -= count;
        self.held -= count;
        self.qos0_held -= count;
        let last = flow.run.left == 0;
        if last {
            flow.live = false;
            self.free.push(key);
        }
        let (source, passed) = (flow.source, flow.run.passing * count);
        Some(Left { source, passed, begun: flow.begun.filter(|_| last) })
    }

    /// Nobody waits for what is on its way any more: the sources that did, and bytes of each.
    pub(in crate::forward) fn take_passing(&mut self) -> Vec<(usize, usize)> {
        let runs = self.flows.iter_mut().filter(|flow| flow.live && flow.run.left > 0);
        let bytes =
            runs.map(|flow| (flow.source, std::mem::take(&mut flow.run.passing) * flow.run.left));
        bytes.filter(|(_, bytes)| *bytes > 0).collect()
    }

    /// Nobody waits for that run: the target has no connection, or the source is not to be kept.
    pub(in crate::forward) fn let_run_pass(&mut self, key: FlowKey) -> Option<(usize, usize)> {
        let flow =
            self.flows.get_mut(key as usize).filter(|flow| flow.live && flow.run.left > 0)?;
        Some((flow.source, std::mem::take(&mut flow.run.passing) * flow.run.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::flows::{Admitted, Arrived, Phase};
    use crate::router::Due;
    use mqttx_proto::QoS;

    fn flows() -> Flows {
        let mut flows = Flows::new(8, 64, 1);
        flows.set_phase(Phase::Running);
        flows
    }

    fn open(flows: &mut Flows, count: usize) -> Option<FlowKey> {
        let received_at = Instant::now();
        flows.open_run(&Together { source: 3, count, passing: 10, received_at, topic: "a" })
    }

    #[test]
    fn messages_that_went_together_are_counted_one_by_one() {
        let mut flows = flows();
        let key = open(&mut flows, 5).unwrap();
        assert_eq!((flows.held(), flows.counts.received), (5, 5));
        assert_eq!(flows.shorten_run(key, 1).unwrap().passed, 10);
        assert_eq!((flows.held(), flows.counts.received), (4, 4));
        let left = flows.settle_run(key, 2, None).unwrap();
        assert_eq!((left.source, left.passed, left.begun), (3, 20, None));
        assert_eq!(flows.take_passing(), [(3, 20)]);
        assert_eq!(flows.take_passing(), []);
        let left = flows.settle_run(key, 1, Some(ForwardDrop::ConnectionLost)).unwrap();
        assert_eq!((left.passed, left.begun), (0, None), "nobody waits for it any more");
        assert!(flows.settle_run(key, 1, None).unwrap().begun.is_some());
        assert!(flows.settle_run(key, 1, None).is_none(), "there are no more");
        let metrics = flows.counts.snapshot();
        assert_eq!((metrics.forwarded, metrics.dropped, metrics.in_flight), (3, 1, 0));
        assert_eq!((flows.held(), open(&mut flows, 1)), (0, Some(key)));
    }

    #[test]
    fn a_flow_of_one_message_is_no_run() {
        let mut flows = flows();
        let key = open(&mut flows, 2).unwrap();
        flows.settle_run(key, 2, None).unwrap();
        let arrived = Arrived { source: 0, qos: QoS::AtMostOnce, due: Due::Nothing, topic: "a" };
        assert_eq!(flows.admit(arrived, true), Admitted::Go(key));
        assert!(flows.settle_run(key, 1, None).is_none());
        assert!(flows.settle(key, 2, None).is_some());
    }

    #[test]
    fn they_go_together_while_nothing_is_before_them_and_half_of_the_queue_is_free() {
        let mut flows = flows();
        assert_eq!(open(&mut flows, 33), None);
        let first = open(&mut flows, 20).unwrap();
        assert_eq!((open(&mut flows, 13), flows.held()), (None, 20));
        let second = open(&mut flows, 12).unwrap();
        flows.settle_run(first, 20, None).unwrap();
        assert_eq!(flows.let_run_pass(second), Some((3, 120)));
        let arrived = Arrived { source: 0, qos: QoS::AtMostOnce, due: Due::Nothing, topic: "a" };
        let Admitted::Wait(key) = flows.admit(arrived, false) else { panic!("it waits") };
        let body = crate::forward::scratch::Body::Read(0);
        flows.wait(crate::forward::scratch::Sending::new(key, body, 0, 0, QoS::AtMostOnce));
        assert_eq!(open(&mut flows, 1), None, "one waits");
    }
}
