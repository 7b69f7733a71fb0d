use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flashsale_core::ErrorKind;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, PushKind, RedisError, Value};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::Fault;
use crate::scripts::Script;

/// The connection to one Redis: one for all calls, made when it is first needed, and made again for
/// ever when it is lost.
///
/// The driver's own `ConnectionManager` is not used because it keeps a connection after a call
/// without an answer (half-open links) and after `READONLY` (a primary that became a replica), and
/// because its callers cannot tell a refused connection from a lost answer.
#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    info: ConnectionInfo,
    waits: Waits,
    state: watch::Sender<State>,
}

/// How long a [`Link`] waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
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
pub(crate) enum Away {
    /// It fails at once.
    Fail,
    /// It waits: an earlier try may have happened, and a later one will tell.
    Wait,
}

/// What a [`Link`] is asked to send.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) command: Cmd,
    /// The script that the command runs, if it runs one.
    pub(crate) script: Option<&'static Script>,
    /// Where its keys are.
    pub(crate) slot: u16,
}

/// The pause before the first further attempt to connect.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause, so that a Redis that is back is in use a moment later.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// The pause after a refusal that lasts until somebody changes a setting.
const PAUSE_REFUSED: Duration = Duration::from_secs(1);

impl Link {
    pub(crate) fn new(info: ConnectionInfo, waits: Waits) -> Self {
        let (state, _) = watch::channel(State::Connecting);
        Self {
            shared: Arc::new(Shared { info, waits, state }),
            keeper: Mutex::new(None),
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
        away: Away,
        deadline: Instant,
    ) -> Result<Value, Fault> {
        let (connection, number) = self.connection(away, deadline).await?;
        let answer = self
            .exchange(connection.clone(), number, request, asking, deadline)
            .await;
        let (Err(Answer::NoScript), Some(script)) = (&answer, request.script) else {
            return answer.map_err(Answer::into_fault);
        };
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script.code);
        let load = Request {
            command: load,
            script: None,
            slot: request.slot,
        };
        let loaded = self
            .exchange(connection.clone(), number, &load, false, deadline)
            .await;
        if let Err(answer) = loaded {
            return Err(answer.into_fault().harmless());
        }
        self.exchange(connection, number, request, asking, deadline)
            .await
            .map_err(Answer::into_fault)
    }

    async fn exchange(
        &self,
        mut connection: MultiplexedConnection,
        number: u64,
        request: &Request,
        asking: bool,
        deadline: Instant,
    ) -> Result<Value, Answer> {
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
                Answer::from(error)
            }),
            Err(_) => {
                let waited = begun.elapsed();
                // A call that was given much less time tells nothing about the connection.
                if waited * 2 >= self.shared.waits.response {
                    self.shared.lost(number);
                }
                Err(Answer::Fault(Fault::no_answer(waited)))
            }
        }
    }

    /// A connection, if there is one or soon will be.
    async fn connection(
        &self,
        away: Away,
        deadline: Instant,
    ) -> Result<(MultiplexedConnection, u64), Fault> {
        if let State::Up(connection, number) = &*self.shared.state.borrow() {
            return Ok((connection.clone(), *number));
        }
        self.keep();
        let mut state = self.shared.state.subscribe();
        let settled = state.wait_for(|state| match state {
            State::Connecting => false,
            State::Up(..) => true,
            State::Down(_) => away == Away::Fail,
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
    fn keep(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if keeper.as_ref().is_none_or(JoinHandle::is_finished) {
            *keeper = Some(tokio::spawn(keep(Arc::clone(&self.shared))));
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let keeper = self
            .keeper
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(keeper) = keeper.take() {
            keeper.abort();
        }
    }
}

/// An answer that is none.
enum Answer {
    NoScript,
    Fault(Fault),
}

impl From<RedisError> for Answer {
    fn from(error: RedisError) -> Self {
        if error.code() == Some("NOSCRIPT") {
            Self::NoScript
        } else {
            Self::Fault(error.into())
        }
    }
}

impl Answer {
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
            .set_connection_timeout(Some(self.waits.connect))
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

/// Keeps a connection until the link is dropped.
async fn keep(shared: Arc<Shared>) {
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
