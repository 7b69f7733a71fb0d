use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::{ConfigError, KafkaConfig};
use crate::error::Fault;
use crate::producer::Producers;
use crate::reports::{Call, Reports};
use crate::topic;

/// Looks after the topic and the producer from a thread of its own, for as long as it lives: makes
/// the topic if it is missing, replaces a producer that cannot go on, and knows how things stand.
#[derive(Debug)]
pub(crate) struct Keeper {
    reports: Arc<Reports>,
    looks: watch::Receiver<Look>,
}

/// How things stood.
#[derive(Clone, Debug)]
struct Look {
    /// It began after the look of this number was asked for.
    number: u64,
    found: Result<(), Fault>,
}

/// How long a check waits for a look.
const CHECK_MAX: Duration = Duration::from_secs(2);
/// The pause before the next look while something is wrong.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Keeper {
    pub(crate) fn start(
        config: KafkaConfig,
        producers: Arc<Producers>,
        reports: Arc<Reports>,
    ) -> Result<Self, ConfigError> {
        let (sender, looks) = watch::channel(Look {
            number: 0,
            found: Err(no_answer()),
        });
        let keeper = Self {
            reports: Arc::clone(&reports),
            looks,
        };
        let thread = std::thread::Builder::new().name("kafka keeper".to_owned());
        thread
            .spawn(move || keep(&config, &producers, &reports, &sender))
            .map_err(|error| ConfigError::Client(error.to_string()))?;
        Ok(keeper)
    }

    /// How things stand now; the answer takes 2 s at most.
    pub(crate) async fn check(&self) -> Result<(), Fault> {
        let wanted = self.reports.ask();
        let mut looks = self.looks.clone();
        let looked = looks.wait_for(|look| look.number >= wanted);
        if let Ok(Ok(look)) = timeout(CHECK_MAX, looked).await {
            return look.found.clone();
        }
        // What was wrong is not right because a look takes long.
        let last = self.looks.borrow().found.clone();
        last.and_then(|()| Err(no_answer()))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.reports.close();
    }
}

fn no_answer() -> Fault {
    Fault::unavailable("no broker answers")
}

fn keep(
    config: &KafkaConfig,
    producers: &Producers,
    reports: &Reports,
    looks: &watch::Sender<Look>,
) {
    let mut known = Ok(());
    let mut pause = PAUSE_MIN;
    loop {
        let sound = producers.mend();
        let number = reports.begin();
        let producer = producers.present();
        let ensured = topic::ensure(&producer, config);
        // Who is refused may not even learn whether the topic is there.
        let found = match reports.refusal() {
            Some(why) => Err(why),
            None => ensured,
        };
        if found.is_ok() {
            producer.answers();
        }
        drop(producer);
        report(config, &known, &found);
        known.clone_from(&found);
        let healthy = found.is_ok() && sound;
        looks.send_replace(Look { number, found });
        pause = match healthy {
            true => PAUSE_MIN,
            false => PAUSE_MAX.min(pause * 2),
        };
        if reports.wait(number, pause, healthy) == Call::Close {
            return;
        }
    }
}

/// Logs a change, and nothing while things stay as they are.
fn report(config: &KafkaConfig, known: &Result<(), Fault>, found: &Result<(), Fault>) {
    if known == found {
        return;
    }
    let KafkaConfig { brokers, topic, .. } = config;
    match found {
        Ok(()) => tracing::info!(brokers, topic, "Kafka can be used"),
        Err(why) => tracing::warn!(brokers, topic, %why, "Kafka cannot be used; trying again"),
    }
}
