use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use poem_openapi::Enum;
use serde::Serialize;

use crate::dependency::Dependency;

/// Whether the dependencies of a process answer. They are asked once a second at most, however many
/// want to know: who looks often must not keep them from their work.
pub(super) struct Readiness {
    dependencies: Vec<Dependency>,
    timeout: Duration,
    last: Mutex<Option<Asked>>,
}

/// Whether a dependency answers.
#[derive(Clone, Copy, Debug, Enum, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[oai(rename_all = "lowercase")]
pub(super) enum Check {
    Up,
    Down,
}

/// In the order of the dependencies.
type Answers = Arc<[Check]>;

struct Asked {
    at: Instant,
    answers: Shared<BoxFuture<'static, Answers>>,
}

const FRESH: Duration = Duration::from_secs(1);

impl Readiness {
    /// Each of these dependencies has so long to answer.
    pub(super) fn new(dependencies: Vec<Dependency>, timeout: Duration) -> Self {
        Self {
            dependencies,
            timeout,
            last: Mutex::default(),
        }
    }

    /// The dependencies, and what each has answered within the last second or answers now.
    pub(super) async fn checks(&self) -> Vec<(&Dependency, Check)> {
        let answers = self.present().await;
        let answers = answers.iter().copied();
        self.dependencies.iter().zip(answers).collect()
    }

    fn present(&self) -> Shared<BoxFuture<'static, Answers>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(Asked { at, answers }) if answers.peek().is_none() || at.elapsed() < FRESH => {
                answers.clone()
            }
            _ => {
                let answers = self.ask();
                *last = Some(Asked {
                    at: Instant::now(),
                    answers: answers.clone(),
                });
                answers
            }
        }
    }

    /// Asks in a task of its own: whoever has caused it may go away.
    fn ask(&self) -> Shared<BoxFuture<'static, Answers>> {
        let (dependencies, timeout) = (self.dependencies.clone(), self.timeout);
        let down: Answers = vec![Check::Down; dependencies.len()].into();
        let asking = tokio::spawn(async move {
            let asked = dependencies.iter().map(|one| check(one, timeout));
            join_all(asked).await
        });
        let answers = asking.map(|answers| answers.map_or(down, Arc::from));
        answers.boxed().shared()
    }
}

async fn check(dependency: &Dependency, timeout: Duration) -> Check {
    let name = dependency.name;
    match tokio::time::timeout(timeout, dependency.health.check()).await {
        Ok(Ok(())) => Check::Up,
        Ok(Err(error)) => {
            tracing::warn!(dependency = name, error = %error, "dependency is down");
            Check::Down
        }
        Err(_) => {
            tracing::warn!(dependency = name, "dependency does not answer in time");
            Check::Down
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use flashsale_core::PortError;
    use flashsale_core::ports::HealthCheck;
    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::{Check, Dependency, Readiness};

    /// Counts how often it is asked; it answers never or at once.
    #[derive(Debug, Default)]
    struct Counting {
        asked: AtomicUsize,
        is_silent: bool,
    }

    #[async_trait]
    impl HealthCheck for Counting {
        async fn check(&self) -> Result<(), PortError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.is_silent {
                std::future::pending().await
            }
            Ok(())
        }
    }

    fn readiness(health: &Arc<Counting>, timeout: Duration) -> Readiness {
        let dependency = Dependency::needed("one", Arc::clone(health) as Arc<dyn HealthCheck>);
        Readiness::new(vec![dependency], timeout)
    }

    #[tokio::test]
    async fn a_crowd_asks_once() {
        let health = Arc::new(Counting::default());
        let readiness = readiness(&health, Duration::from_secs(60));
        for _ in 0..2 {
            let all = join_all((0..100).map(|_| readiness.checks())).await;
            assert!(all.iter().all(|checks| checks[0].1 == Check::Up));
        }
        // The two rounds may be more than a second apart on a machine that stands still.
        assert!(health.asked.load(Ordering::Relaxed) <= 2);
    }

    #[tokio::test]
    async fn who_goes_away_does_not_have_it_asked_again() {
        let health = Arc::new(Counting {
            is_silent: true,
            ..Counting::default()
        });
        let readiness = readiness(&health, Duration::from_secs(3_600));
        for _ in 0..100 {
            assert!(readiness.checks().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        assert_eq!(health.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn who_does_not_answer_in_time_is_down() {
        let health = Arc::new(Counting {
            is_silent: true,
            ..Counting::default()
        });
        let readiness = readiness(&health, Duration::from_millis(1));
        assert_eq!(readiness.checks().await[0].1, Check::Down);
    }
}
