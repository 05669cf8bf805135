//! ntex-mqtt: everything on one thread; its sink tells when it has room again.

mod api;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use ntex::util::{ByteString, Bytes};

use api::{Api, Heard, V3, V5};

use crate::child::Task;
use crate::contestant::Version;
use crate::workload::{TOPIC, Work};

#[ntex::main]
pub(super) async fn run(task: Task) -> Result<(), String> {
    let task = Rc::new(task);
    match task.contestant.version {
        Version::V311 => run_with::<V3>(&task).await,
        Version::V5 => run_with::<V5>(&task).await,
    }?;
    std::future::pending().await
}

async fn run_with<A: Api>(task: &Rc<Task>) -> Result<(), String> {
    match task.case.work {
        Work::Publish => publish::<A>(task).await,
        Work::Receive => receive::<A>(task).await,
        Work::Forward => forward::<A>(task).await,
        Work::Latency(_) => latency::<A>(task).await,
        Work::Idle => idle::<A>(task).await,
        _ => Err("not its workload".to_owned()),
    }
}

async fn connected<A: Api>(task: &Task, sessions: usize) -> Result<Vec<A::Client>, String> {
    let mut all = Vec::new();
    for number in 0..sessions {
        all.push(A::connect(task.peer, number, task.case.window).await?);
    }
    Ok(all)
}

async fn publish<A: Api>(task: &Rc<Task>) -> Result<(), String> {
    let clients = connected::<A>(task, task.case.sessions).await?;
    task.released().await;
    let left = Left::new(task, task.messages);
    let tasks = task.case.tasks;
    let parts = clients.len() * tasks;
    for (number, client) in clients.into_iter().enumerate() {
        let sink = A::sink(&client);
        ntex::rt::spawn(A::start(client, async |_| ()));
        let counted = Rc::clone(&left);
        A::on_ack(&sink, move || counted.one_less());
        for part in number * tasks..(number + 1) * tasks {
            let (sink, share) = (sink.clone(), task.share(part, parts));
            match task.case.qos {
                0 => drop(ntex::rt::spawn(at_most_once::<A>(sink, Rc::clone(&left), share))),
                1 => drop(ntex::rt::spawn(at_least_once::<A>(sink, Rc::clone(&left), share))),
                _ => exactly_once::<A>(&sink, &left, share),
            }
        }
    }
    Ok(())
}

async fn at_most_once<A: Api>(sink: A::Sink, left: Rc<Left>, messages: u64) {
    let (topics, payload) = (left.topics(), left.payload());
    for topic in topics.iter().cycle().take(messages as usize) {
        A::at_most_once(&sink, topic.clone(), payload.clone()).await;
        left.one_less();
    }
}

/// Its fastest way: a callback for the acknowledgements instead of a future for each.
async fn at_least_once<A: Api>(sink: A::Sink, left: Rc<Left>, messages: u64) {
    let (topics, payload) = (left.topics(), left.payload());
    for topic in topics.iter().cycle().take(messages as usize) {
        A::ready(&sink).await;
        A::at_least_once_no_block(&sink, topic.clone(), payload.clone());
    }
    std::future::pending().await
}

/// There is no such callback for QoS 2: as many tasks as messages may be in flight.
fn exactly_once<A: Api>(sink: &A::Sink, left: &Rc<Left>, messages: u64) {
    let rest = Rc::new(Cell::new(messages));
    for _ in 0..left.task.case.window {
        let (sink, left, rest) = (sink.clone(), Rc::clone(left), Rc::clone(&rest));
        drop(ntex::rt::spawn(async move {
            let (topic, payload) = (ByteString::from_static(TOPIC), left.payload());
            while rest.get() > 0 {
                rest.set(rest.get() - 1);
                A::exactly_once(&sink, topic.clone(), payload.clone()).await;
                left.one_less();
            }
        }));
    }
}

async fn receive<A: Api>(task: &Rc<Task>) -> Result<(), String> {
    let clients = connected::<A>(task, task.case.sessions).await?;
    task.released().await;
    let left = Left::new(task, task.messages);
    for client in clients {
        let (sink, left) = (A::sink(&client), Rc::clone(&left));
        ntex::rt::spawn(A::start(client, async move |_| left.one_less()));
        A::subscribe(&sink, task.case.filter(), task.case.qos).await?;
    }
    Ok(())
}

/// The source is acknowledged when the handler returns, which is after the target's acknowledgement.
async fn forward<A: Api>(task: &Rc<Task>) -> Result<(), String> {
    let mut clients = connected::<A>(task, 2).await?;
    let (Some(target), Some(source)) = (clients.pop(), clients.pop()) else {
        return Err("two sessions".to_owned());
    };
    task.released().await;
    let (to, from) = (A::sink(&target), A::sink(&source));
    ntex::rt::spawn(A::start(target, async |_| ()));
    let qos = task.case.qos;
    ntex::rt::spawn(A::start(source, async move |message: Heard| {
        let topic = ByteString::from(message.topic.replacen("bench", "site", 1));
        match qos {
            0 => A::at_most_once(&to, topic, message.payload).await,
            _ => A::at_least_once(&to, topic, message.payload).await,
        }
    }));
    A::subscribe(&from, task.case.filter(), qos).await?;
    task.done();
    Ok(())
}

async fn latency<A: Api>(task: &Rc<Task>) -> Result<(), String> {
    let clients = connected::<A>(task, task.case.sessions).await?;
    let sink = A::sink(&clients[clients.len() / 2]);
    for client in clients {
        ntex::rt::spawn(A::start(client, async |_| ()));
    }
    task.released().await;
    let (topic, payload) =
        (ByteString::from_static(TOPIC), Bytes::copy_from_slice(&task.payload()));
    let mut times = Vec::new();
    for _ in 0..task.messages {
        // Its clock counts in milliseconds.
        ntex::time::sleep(ntex::time::Millis(1)).await;
        let start = Instant::now();
        A::at_least_once(&sink, topic.clone(), payload.clone()).await;
        times.push(start.elapsed());
    }
    task.latencies(times);
    task.done();
    Ok(())
}

async fn idle<A: Api>(task: &Rc<Task>) -> Result<(), String> {
    task.baseline();
    let start = Instant::now();
    for client in connected::<A>(task, task.case.sessions).await? {
        ntex::rt::spawn(A::start(client, async |_| ()));
    }
    task.value("connect s", start.elapsed().as_secs_f64());
    task.released().await;
    Ok(())
}

/// What is still to come.
struct Left {
    task: Rc<Task>,
    count: Cell<u64>,
}

impl Left {
    fn new(task: &Rc<Task>, count: u64) -> Rc<Self> {
        Rc::new(Self { task: Rc::clone(task), count: Cell::new(count) })
    }

    fn payload(&self) -> Bytes {
        Bytes::copy_from_slice(&self.task.payload())
    }

    fn topics(&self) -> Vec<ByteString> {
        self.task.case.topic_names().into_iter().map(ByteString::from).collect()
    }

    fn one_less(&self) {
        self.count.set(self.count.get().wrapping_sub(1));
        if self.count.get() == 0 {
            self.task.done();
        }
    }
}
