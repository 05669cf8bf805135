//! A forwarder that comes in the place of one that goes, as under another name: a message is for one of the two.

use tokio::task::JoinSet;

use super::handle::Forwarder;
use super::reconfigure::HANDOVER;
use crate::router::Route;
use crate::session::Session;

/// Takes the routes of `gone` away where one of `added`, which run, has the same filter of the same session. So nothing is
/// unsubscribed, and what the routes got is finished by [`Forwarder::end`]. The other routes stay until then.
pub(super) async fn take_over(added: &[Forwarder], gone: &[Forwarder]) {
    let wants: Vec<(Session, String)> = added.iter().flat_map(wanted).collect();
    let mut handed_over: Vec<Session> = Vec::new();
    for forwarder in gone {
        // Whoever stops it at this moment has its routes.
        let Ok(_control) = forwarder.control().try_lock() else { continue };
        let mut routes = forwarder.routes();
        let is_wanted = |(session, route): &mut (Session, Route)| {
            wants.iter().any(|(other, filter)| other.is(session) && filter == route.filter())
        };
        let taken: Vec<(Session, Route)> = routes.running.extract_if(.., is_wanted).collect();
        for (session, route) in taken {
            // It fails for a session that was removed, which has no routes any more.
            let _ = session.replace_routes(Vec::new(), &[&route]);
            routes.retired.push(route);
            handed_over.push(session);
        }
    }
    // Whoever found the old routes before has handed over what it had.
    handed_over.dedup_by(|one, other| one.is(other));
    let mut pulses = JoinSet::new();
    for session in handed_over {
        pulses.spawn(async move { session.pulse(HANDOVER).await });
    }
    pulses.join_all().await;
}

fn wanted(forwarder: &Forwarder) -> Vec<(Session, String)> {
    let routes = forwarder.routes();
    let wanted = routes.running.iter();
    wanted.map(|(session, route)| (session.clone(), route.filter().to_owned())).collect()
}
