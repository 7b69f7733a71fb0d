use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::error::is_starting;

/// How long a connection may take to say that it is alive.
const PING: Duration = Duration::from_secs(1);
/// How long to wait before connecting again to a server that is just coming up, at first and at
/// most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Connections on loan, made when they are needed.
///
/// The pool of sqlx was tried first. It exchanges a message with a connection that comes back, on a
/// task and without a limit: each call costs one more round trip, a caller who comes again at once
/// finds no idle connection and makes another one, and a server that hangs keeps the place. Here
/// the last one that came back is the next to go out, as it is; a caller can have it tested.
#[derive(Clone)]
pub(crate) struct Pool {
    options: PgConnectOptions,
    wait: Duration,
    places: Arc<Semaphore>,
    idle: Arc<Idle>,
}

#[derive(Default)]
struct Idle(Mutex<Vec<PgConnection>>);

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// At most so many connections at a time, and `wait` to get one.
    pub(crate) fn new(options: PgConnectOptions, connections_max: u32, wait: Duration) -> Self {
        Self {
            options,
            wait,
            places: Arc::new(Semaphore::new(connections_max as usize)),
            idle: Arc::default(),
        }
    }

    /// How many connections wait to be lent.
    pub(crate) fn idle(&self) -> usize {
        self.idle.lock().len()
    }

    /// A connection, found alive if it is to be tested. Waits for a server that is coming up.
    pub(crate) async fn lend(&self, tested: bool) -> sqlx::Result<Loan> {
        self.lend_or_say_why(tested, true).await
    }

    /// A connection that was found alive; if there is none, tells at once what is in the way.
    pub(crate) async fn lend_now(&self) -> sqlx::Result<Loan> {
        self.lend_or_say_why(true, false).await
    }

    async fn lend_or_say_why(&self, tested: bool, patient: bool) -> sqlx::Result<Loan> {
        let mut why = sqlx::Error::PoolTimedOut;
        let lent = timeout(self.wait, async {
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.map_err(|_| sqlx::Error::PoolClosed)?;
            let mut pause = PAUSE.0;
            loop {
                if let Some(connection) = self.take_idle(tested).await {
                    return Ok((connection, place));
                }
                match self.options.connect().await {
                    Ok(connection) => return Ok((connection, place)),
                    Err(error) if patient && is_starting(&error) => why = error,
                    Err(error) => return Err(error),
                }
                sleep(pause).await;
                pause = PAUSE.1.min(pause * 2);
            }
        });
        let lent = lent.await;
        let (connection, place) = lent.unwrap_or(Err(why))?;
        Ok(Loan {
            connection,
            idle: Arc::clone(&self.idle),
            _place: place,
        })
    }

    /// The connection that came back last. Those that are tested and found dead are dropped.
    async fn take_idle(&self, tested: bool) -> Option<PgConnection> {
        loop {
            let mut connection = self.idle.lock().pop()?;
            if !tested {
                return Some(connection);
            }
            if let Ok(Ok(())) = timeout(PING, connection.ping()).await {
                return Some(connection);
            }
        }
    }
}

/// A connection on loan.
///
/// It has to be given back. Dropped in the middle of an exchange, or after a fault, it is closed,
/// so that nobody gets a connection on which somebody else's answer is still under way.
pub(crate) struct Loan {
    connection: PgConnection,
    idle: Arc<Idle>,
    /// Released after the connection is back or closed.
    _place: OwnedSemaphorePermit,
}

impl Loan {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Makes a query and waits until its transaction has ended.
    pub(crate) async fn fetch(
        &mut self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> sqlx::Result<Vec<PgRow>> {
        query.fetch_all(&mut self.connection).await
    }

    pub(crate) fn give_back(self) {
        self.idle.lock().push(self.connection);
    }
}
