use std::error::Error;
use std::sync::Arc;

use super::fresh_place;
use crate::error::ErrorKind;
use crate::ports::HealthCheck;
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, run_cases};
use crate::testing::{Fixture, Report, Violation};

type Rigs<'a> = &'a dyn Fixture<HealthCheckRig>;

/// What the suite of [`HealthCheck`] works with.
#[derive(Clone, Debug)]
pub struct HealthCheckRig {
    /// Of a service that is as it should be.
    pub good: Arc<dyn HealthCheck>,
    /// Of one that is not there.
    pub away: Arc<dyn HealthCheck>,
    /// Of one that accepts connections and never answers, if that can be had.
    pub silent: Option<Arc<dyn HealthCheck>>,
    /// Of one that answers and is not what the adapter needs, if that can be had.
    pub unsuitable: Option<Arc<dyn HealthCheck>>,
}

/// Checks a [`HealthCheck`] against its contract.
pub async fn health_check(fixture: &dyn Fixture<HealthCheckRig>) -> Report {
    let mut report = Report::new("HealthCheck");
    run_cases!(
        report,
        fixture,
        [
            a_good_service_can_be_used,
            a_service_that_is_away_is_an_error_of_another_kind,
            a_service_that_never_answers_is_an_error,
            a_service_that_is_not_what_is_needed_is_told_with_a_remedy,
        ]
    );
    report
}

/// What the check says; that it is good is a violation.
async fn fault(what: &str, check: &dyn HealthCheck) -> Result<crate::PortError, Violation> {
    match check.check().await {
        Err(fault) => Ok(fault),
        Ok(()) => Err(Violation::new(format!("{what} must be an error"))),
    }
}

async fn a_good_service_can_be_used(rigs: Rigs<'_>) -> Checked {
    let rig = rigs.open(&fresh_place("health")).await?;
    for _ in 0..2 {
        rig.good.check().await?;
    }
    Ok(Ran::Yes)
}

async fn a_service_that_is_away_is_an_error_of_another_kind(rigs: Rigs<'_>) -> Checked {
    let rig = rigs.open(&fresh_place("health")).await?;
    for _ in 0..2 {
        let kind = fault("a service that is away", &*rig.away).await?.kind();
        ensure!(
            kind.is_transient(),
            "trying again must help, but is {kind:?}"
        );
    }
    Ok(Ran::Yes)
}

async fn a_service_that_never_answers_is_an_error(rigs: Rigs<'_>) -> Checked {
    let rig = rigs.open(&fresh_place("health")).await?;
    let Some(silent) = &rig.silent else {
        return Ok(Ran::Skipped);
    };
    let kind = fault("a silent service", &**silent).await?.kind();
    ensure!(
        kind.is_transient(),
        "trying again must help, but is {kind:?}"
    );
    Ok(Ran::Yes)
}

async fn a_service_that_is_not_what_is_needed_is_told_with_a_remedy(rigs: Rigs<'_>) -> Checked {
    let rig = rigs.open(&fresh_place("health")).await?;
    let Some(unsuitable) = &rig.unsuitable else {
        return Ok(Ran::Skipped);
    };
    let fault = fault("an unsuitable service", &**unsuitable).await?;
    ensure_eq!("the kind", fault.kind(), ErrorKind::Misconfigured);
    let Some(line) = fault.source().map(ToString::to_string) else {
        return Err(Violation::new("it must be said what is wrong"));
    };
    ensure_eq!("lines that say what is wrong", line.lines().count(), 1);
    Ok(Ran::Yes)
}
