//! Authentication again, as the handle asks for it and the driver does it.

use super::shared::State;
use super::{Session, SessionStatus};
use crate::error::Error;

/// How often the session authenticated again on its connections. Who waits knows which one is theirs.
#[derive(Default)]
pub(crate) struct Renewal {
    begun: u32,
    ended: u32,
    /// What came of the last one.
    failure: Option<Error>,
}

impl Session {
    /// Authenticates again on the connection that is there, with credentials that are asked for now, while everything else goes
    /// on (MQTT 5, section 4.12.1). Returns once the server accepted it.
    ///
    /// Only the client can begin it: a server that wants one ends the connection, and the session authenticates on the next one.
    ///
    /// # Errors
    /// There is no connection, or none with an [`Authenticator`](crate::auth::Authenticator); the credentials cannot be had, and the
    /// connection stays as it was; or the authentication failed, and the connection was closed and is made anew.
    pub async fn reauthenticate(&self) -> Result<(), Error> {
        let mine = {
            let mut state = self.shared.lock();
            if state.closed {
                return Err(Error::closed().with_session(self.name()));
            }
            if state.status != SessionStatus::Connected {
                let error = Error::session_error("there is no connection to authenticate again");
                return Err(error.with_session(self.name()));
            }
            let mine = state.renewal.get_or_insert_default().begun + 1;
            state.renewal_wanted = true;
            self.shared.unlock_and_wake(state);
            mine
        };
        let outcome = self.until(|state| {
            if state.closed {
                return Some(Err(Error::closed()));
            }
            let renewal = state.renewal.as_ref()?;
            let failure = renewal.failure.clone();
            (renewal.ended >= mine).then(|| failure.map_or(Ok(()), Err))
        });
        outcome.await.map_err(|error| error.with_session(self.name()))
    }
}

impl State {
    /// The driver begins one.
    pub(crate) fn begin_renewal(&mut self) {
        self.renewal.get_or_insert_default().begun += 1;
    }

    /// It is over, or cannot be begun.
    pub(crate) fn end_renewal(&mut self, failure: Option<Error>) {
        let renewal = self.renewal.get_or_insert_default();
        if renewal.ended == renewal.begun {
            renewal.begun += 1;
        }
        renewal.ended = renewal.begun;
        renewal.failure = failure;
    }

    /// The connection is gone: nobody waits for an authentication on it, of which another one may be `wanted`. `true` if somebody
    /// did.
    pub(crate) fn abandon_renewal(&mut self, wanted: bool) -> bool {
        let wanted = std::mem::take(&mut self.renewal_wanted) || wanted;
        let Some(renewal) = &mut self.renewal else { return false };
        if !wanted && renewal.ended == renewal.begun {
            return false;
        }
        let lost = "the connection ended before the authentication was over";
        let failure = self.last_error.clone().unwrap_or_else(|| Error::connection(lost));
        if wanted {
            renewal.begun += 1;
        }
        renewal.ended = renewal.begun;
        renewal.failure = Some(failure);
        true
    }
}
