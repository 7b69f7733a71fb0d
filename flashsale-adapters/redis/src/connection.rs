use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flashsale_core::ErrorKind;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, PushKind, RedisError, Value};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::Fault;
use crate::request::Request;

/// The connection to one Redis: one for all calls, made when it is first needed, and made again for
/// ever when it is lost.
///
/// The driver's own `ConnectionManager` is not used because it keeps a connection after a call
/// without an answer (half-open links) and after `READONLY` (a primary that became a replica), and
/// because its callers cannot tell a refused connection from a lost answer.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    reconnect_task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    info: ConnectionInfo,
    timeouts: Timeouts,
    state: watch::Sender<State>,
}

/// How long a [`Connection`] waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For a connection.
    pub(crate) connect: Duration,
    /// For an answer, before it gives the connection up.
    pub(crate) response: Duration,
}

#[derive(Clone, Debug)]
enum State {
    /// Nothing is known yet, or the connection was lost a moment ago: worth waiting for.
    Connecting,
    /// In use, with its number.
    Up(MultiplexedConnection, u64),
    /// The last attempt to connect has failed; there will be others.
    Down(Option<RedisError>),
}

/// Whether a call waits for a connection that is known to be away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfDown {
    /// It fails at once.
    Fail,
    /// It waits: an earlier try may have happened, and a later one will tell.
    Wait,
}

/// The pause before the first further attempt to connect.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause, so that a Redis that is back is in use a moment later.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// The pause after a refusal that lasts until somebody changes a setting.
const PAUSE_REFUSED: Duration = Duration::from_secs(1);

impl Connection {
    pub(crate) fn new(info: ConnectionInfo, timeouts: Timeouts) -> Self {
        let (state, _) = watch::channel(State::Connecting);
        Self {
            shared: Arc::new(Shared {
                info,
                timeouts,
                state,
            }),
            reconnect_task: Mutex::new(None),
        }
    }

    /// Where it leads.
    pub(crate) fn info(&self) -> &ConnectionInfo {
        &self.shared.info
    }

    /// Sends a request and waits for its answer until `deadline`. A script that Redis does not have
    /// is loaded, and the request is made again: it has done nothing.
    pub(crate) async fn call(
        &self,
        request: &Request,
        asking: bool,
        if_down: IfDown,
        deadline: Instant,
    ) -> Result<Value, Fault> {
        let (connection, number) = self.connection(if_down, deadline).await?;
        let answer = self
            .exchange(connection.clone(), number, request, asking, deadline)
            .await;
        let (Err(CallError::NoScript), Some(script)) = (&answer, request.script) else {
            return answer.map_err(CallError::into_fault);
        };
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script.code);
        let load = Request::command(request.slot, load);
        let loaded = self
            .exchange(connection.clone(), number, &load, false, deadline)
            .await;
        if let Err(error) = loaded {
            return Err(error.into_fault().harmless());
        }
        self.exchange(connection, number, request, asking, deadline)
            .await
            .map_err(CallError::into_fault)
    }

    async fn exchange(
        &self,
        mut connection: MultiplexedConnection,
        number: u64,
        request: &Request,
        asking: bool,
        deadline: Instant,
    ) -> Result<Value, CallError> {
        let begun = Instant::now();
        let answer = async {
            if asking {
                let mut pipeline = redis::pipe();
                pipeline.cmd("ASKING").add_command(request.command.clone());
                let mut answers = connection.send_packed_commands(&pipeline, 0, 2).await?;
                Ok(answers.pop().unwrap_or(Value::Nil))
            } else {
                connection.send_packed_command(&request.command).await
            }
        };
        match timeout_at(deadline, answer).await {
            Ok(answer) => answer.and_then(Value::extract_error).map_err(|error| {
                if error.is_unrecoverable_error() {
                    self.shared.lost(number);
                } else if error.code() == Some("READONLY") {
                    // The name may lead to another server by now.
                    self.shared.refused(number, &error);
                }
                CallError::from(error)
            }),
            Err(_) => {
                let waited = begun.elapsed();
                // A call that was given much less time tells nothing about the connection.
                if waited * 2 >= self.shared.timeouts.response {
                    self.shared.lost(number);
                }
                Err(CallError::Fault(Fault::no_answer(waited)))
            }
        }
    }

    /// A connection, if there is one or soon will be.
    async fn connection(
        &self,
        if_down: IfDown,
        deadline: Instant,
    ) -> Result<(MultiplexedConnection, u64), Fault> {
        if let State::Up(connection, number) = &*self.shared.state.borrow() {
            return Ok((connection.clone(), *number));
        }
        self.ensure_reconnecting();
        let mut state = self.shared.state.subscribe();
        let settled = state.wait_for(|state| match state {
            State::Connecting => false,
            State::Up(..) => true,
            State::Down(_) => if_down == IfDown::Fail,
        });
        match timeout_at(deadline, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Up(connection, number) => Ok((connection.clone(), *number)),
                State::Down(why) => Err(Fault::not_connected(why.clone())),
                State::Connecting => Err(Fault::not_connected(None)),
            },
            Ok(Err(_)) | Err(_) => Err(Fault::not_connected(None)),
        }
    }

    /// Sees to it that somebody makes the connection.
    fn ensure_reconnecting(&self) {
        let mut reconnect_task = self
            .reconnect_task
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if reconnect_task.as_ref().is_none_or(JoinHandle::is_finished) {
            *reconnect_task = Some(tokio::spawn(reconnect_loop(Arc::clone(&self.shared))));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let reconnect_task = self
            .reconnect_task
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(reconnect_task) = reconnect_task.take() {
            reconnect_task.abort();
        }
    }
}

/// Why a call has no answer.
enum CallError {
    NoScript,
    Fault(Fault),
}

impl From<RedisError> for CallError {
    fn from(error: RedisError) -> Self {
        if error.code() == Some("NOSCRIPT") {
            Self::NoScript
        } else {
            Self::Fault(error.into())
        }
    }
}

impl CallError {
    fn into_fault(self) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            // It was loaded a moment ago, so somebody keeps flushing scripts.
            Self::NoScript => Fault::moving(),
        }
    }
}

impl Shared {
    /// The connection with this number is of no use any more.
    fn lost(&self, number: u64) {
        self.replace(number, State::Connecting);
    }

    /// The server with this connection refuses to work.
    fn refused(&self, number: u64, why: &RedisError) {
        self.replace(number, State::Down(Some(why.clone())));
    }

    fn replace(&self, number: u64, new: State) {
        self.state.send_if_modified(|state| {
            let current = matches!(state, State::Up(_, current) if *current == number);
            if current {
                *state = new;
            }
            current
        });
    }

    async fn connect(self: &Arc<Self>, number: u64) -> Result<MultiplexedConnection, RedisError> {
        let shared = Arc::downgrade(self);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeouts.connect))
            // Every call has its own deadline.
            .set_response_timeout(None)
            .set_push_sender(move |push: redis::PushInfo| {
                if push.kind == PushKind::Disconnection
                    && let Some(shared) = shared.upgrade()
                {
                    shared.lost(number);
                }
                Ok::<(), redis::aio::SendError>(())
            });
        let client = Client::open(self.info.clone())?;
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}

/// Keeps a connection until the [`Connection`] is dropped.
async fn reconnect_loop(shared: Arc<Shared>) {
    let address = shared.info.addr().to_string();
    let mut state = shared.state.subscribe();
    let mut pause = PAUSE_MIN;
    let mut failed = false;
    for number in 1.. {
        let begun = Instant::now();
        match shared.connect(number).await {
            Ok(connection) => {
                if failed {
                    tracing::info!(redis.address = address, "connected to Redis again");
                }
                failed = false;
                shared.state.send_replace(State::Up(connection, number));
                let refused = {
                    let lost = state
                        .wait_for(|state| !matches!(state, State::Up(..)))
                        .await;
                    matches!(lost.as_deref(), Ok(State::Down(_)))
                };
                pause = if refused { PAUSE_MAX } else { PAUSE_MIN };
                // A server that takes connections and drops them is not asked all the time.
                if !refused && begun.elapsed() > PAUSE_MAX {
                    continue;
                }
            }
            Err(why) => {
                if !failed {
                    tracing::warn!(redis.address = address, error = %why, "no connection to Redis");
                }
                failed = true;
                if Fault::from(why.clone()).kind == ErrorKind::Misconfigured {
                    pause = PAUSE_REFUSED;
                }
                shared.state.send_replace(State::Down(Some(why)));
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
