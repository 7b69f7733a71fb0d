//! The suite of [`HealthCheck`](crate::ports::HealthCheck).

use std::error::Error;
use std::sync::Arc;

use crate::error::ErrorKind;
use crate::ports::HealthCheck;
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, run_cases};
use crate::testing::{Report, Violation};

/// What the suite of [`HealthCheck`] works with.
#[derive(Clone, Debug)]
pub struct HealthChecks {
    /// Of a service that is as it has to be.
    pub sound: Arc<dyn HealthCheck>,
    /// Of one that does not answer.
    pub away: Arc<dyn HealthCheck>,
    /// Of one that answers and is not what the adapter needs.
    pub wrong: Arc<dyn HealthCheck>,
}

/// Checks a [`HealthCheck`] against its contract.
pub async fn health_check(checks: &HealthChecks) -> Report {
    let mut report = Report::new("HealthCheck");
    run_cases!(
        report,
        checks,
        [
            a_service_that_is_as_it_has_to_be_passes,
            a_service_that_does_not_answer_is_not_set_up_wrongly,
            what_is_wrong_is_said_in_one_line,
        ]
    );
    report
}

async fn a_service_that_is_as_it_has_to_be_passes(checks: &HealthChecks) -> Checked {
    checks.sound.check().await?;
    Ok(Ran::Yes)
}

async fn a_service_that_does_not_answer_is_not_set_up_wrongly(checks: &HealthChecks) -> Checked {
    match checks.away.check().await {
        Ok(()) => Err(Violation::new("a service that is away must not pass")),
        Err(error) => {
            ensure!(
                error.kind() != ErrorKind::Misconfigured,
                "a service that is away is set up wrongly: {error:?}"
            );
            Ok(Ran::Yes)
        }
    }
}

async fn what_is_wrong_is_said_in_one_line(checks: &HealthChecks) -> Checked {
    let Err(error) = checks.wrong.check().await else {
        return Err(Violation::new("a service that is wrong must not pass"));
    };
    ensure_eq!("the kind", error.kind(), ErrorKind::Misconfigured);
    let line = error.source().map(ToString::to_string).unwrap_or_default();
    ensure_eq!("the number of lines", line.lines().count(), 1);
    Ok(Ran::Yes)
}
