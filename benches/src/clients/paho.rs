//! Eclipse Paho's C library through its Rust interface: a token for each message, a callback for what arrives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use paho_mqtt::{AsyncClient, ConnectOptionsBuilder, CreateOptionsBuilder, Message};

use crate::child::Task;
use crate::workload::Work;

pub(super) fn run(task: Task) -> Result<(), String> {
    let task = Arc::new(task);
    let clients = (0..task.case.sessions)
        .map(|number| connected(&task, number))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("paho: {error}"))?;
    task.released_blocking();
    match task.case.work {
        Work::Publish => publish(&task, clients),
        _ => receive(&task, &clients),
    }
    .map_err(|error| format!("paho: {error}"))?;
    loop {
        thread::park();
    }
}

fn connected(task: &Arc<Task>, number: usize) -> paho_mqtt::Result<AsyncClient> {
    let create = CreateOptionsBuilder::new_v3()
        .server_uri(format!("mqtt://{}", task.peer))
        .client_id(format!("p{number}"))
        .persistence(None)
        .max_buffered_messages(task.case.window.into())
        .finalize();
    let client = AsyncClient::new(create)?;
    let left = Arc::new(AtomicU64::new(task.messages));
    let receiver = Arc::clone(task);
    if task.case.work == Work::Receive {
        client.set_message_callback(move |_, _| {
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                receiver.done();
            }
        });
    }
    let connect = ConnectOptionsBuilder::new_v3()
        .keep_alive_interval(Duration::from_secs(60))
        .clean_session(true)
        .max_inflight(task.case.window.into())
        .finalize();
    client.connect(connect).wait()?;
    Ok(client)
}

fn publish(task: &Arc<Task>, clients: Vec<AsyncClient>) -> paho_mqtt::Result<()> {
    let parts = clients.len();
    let publishers: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(number, client)| {
            let task = Arc::clone(task);
            thread::spawn(move || publish_on(&task, &client, task.share(number, parts)))
        })
        .collect();
    for publisher in publishers {
        publisher.join().expect("no panic")?;
    }
    task.done();
    Ok(())
}

fn publish_on(task: &Task, client: &AsyncClient, messages: u64) -> paho_mqtt::Result<()> {
    let window = usize::from(task.case.window);
    let new = |topic| Message::new(topic, task.payload().to_vec(), i32::from(task.case.qos));
    let prepared: Vec<_> = task.case.topic_names().into_iter().map(new).collect();
    let mut flight = VecDeque::with_capacity(window);
    for message in prepared.iter().cycle().take(messages as usize) {
        if flight.len() == window
            && let Some(oldest) = flight.pop_front()
        {
            paho_mqtt::DeliveryToken::wait(oldest)?;
        }
        flight.push_back(client.try_publish(message.clone())?);
    }
    flight.into_iter().try_for_each(paho_mqtt::DeliveryToken::wait)
}

fn receive(task: &Task, clients: &[AsyncClient]) -> paho_mqtt::Result<()> {
    for client in clients {
        client.subscribe(task.case.filter(), i32::from(task.case.qos)).wait()?;
    }
    Ok(())
}
