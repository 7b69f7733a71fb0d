use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// What `flashsale_notify` in the migrations notifies.
const CHANNEL: &str = "flashsale_sales";
/// How long without a notification until the connection is tested.
const QUIET: Duration = Duration::from_secs(10);
/// How long connecting, or a test, may take.
const EXCHANGE: Duration = Duration::from_secs(5);
/// How long to wait before connecting again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Knows that sales have changed, from the server's notifications.
///
/// The connection is its own and is made by a task, which begins when somebody first asks and ends
/// with this value. While there is no connection nothing is known, so every new one counts as a
/// change.
pub(crate) struct Listener {
    options: PgConnectOptions,
    /// How often something may have changed; never 0.
    revision: Arc<watch::Sender<u64>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Listener {
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        Self {
            options,
            revision: Arc::new(watch::Sender::new(1)),
            task: Mutex::default(),
        }
    }

    /// Waits until the revision is another than `seen`, at most this long, and returns it.
    pub(crate) async fn changed(&self, seen: u64, at_most: Duration) -> u64 {
        self.listen();
        let mut revision = self.revision.subscribe();
        // Told or not, what there is now is the answer.
        let _ = timeout(at_most, revision.wait_for(|now| *now != seen)).await;
        *revision.borrow()
    }

    /// Begins to listen, also if that has ended with a runtime that is gone.
    fn listen(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            let (options, revision) = (self.options.clone(), Arc::clone(&self.revision));
            *task = Some(tokio::spawn(listen_for_ever(options, revision)));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task {
            task.abort();
        }
    }
}

async fn listen_for_ever(options: PgConnectOptions, revision: Arc<watch::Sender<u64>>) {
    let mut pause = PAUSE.0;
    loop {
        match connect(&options).await {
            Ok(mut listener) => {
                revision.send_modify(|now| *now += 1);
                let error = listen(&mut listener, &revision).await;
                tracing::warn!(
                    %error,
                    "no notifications about sales; they are looked at regularly until it works again"
                );
                pause = PAUSE.0;
            }
            Err(error) => {
                tracing::debug!(%error, "cannot listen for changes of sales");
                pause = PAUSE.1.min(pause * 2);
            }
        }
        sleep(pause).await;
    }
}

async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgListener> {
    let connecting = async {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(EXCHANGE)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        // A broken connection is replaced here, where that counts as a change.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    timeout(EXCHANGE, connecting).await.unwrap_or_else(away)
}

/// Counts notifications until the connection breaks.
async fn listen(listener: &mut PgListener, revision: &watch::Sender<u64>) -> sqlx::Error {
    loop {
        match timeout(QUIET, listener.try_recv()).await {
            Ok(Ok(Some(_))) => revision.send_modify(|now| *now += 1),
            Ok(Ok(None)) => return sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(Err(error)) => return error,
            Err(_) => {
                let test = sqlx::query("SELECT 1").execute(&mut *listener);
                if let Err(error) = timeout(EXCHANGE, test).await.unwrap_or_else(away) {
                    return error;
                }
            }
        }
    }
}

fn away<T>(_: tokio::time::error::Elapsed) -> sqlx::Result<T> {
    Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
}
