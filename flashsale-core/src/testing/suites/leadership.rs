use std::sync::Arc;

use super::fresh_place;
use crate::ports::Leadership;
use crate::testing::report::{Checked, Ran, ensure, run_cases};
use crate::testing::samples::fresh_sale;
use crate::testing::{Fixture, Report};

type Rigs<'a> = &'a dyn Fixture<LeadershipRig>;

/// What the suite of [`Leadership`] works with.
#[derive(Clone, Debug)]
pub struct LeadershipRig {
    /// The leadership to check.
    pub leadership: Arc<dyn Leadership>,
    /// The same, as another process has it, if there can be others.
    pub other: Option<Arc<dyn Leadership>>,
}

/// Checks a [`Leadership`] against its contract. That another process follows when the leader is
/// gone is left to the adapter's own tests, which know how long that takes.
pub async fn leadership(fixture: &dyn Fixture<LeadershipRig>) -> Report {
    let mut report = Report::new("Leadership");
    run_cases!(
        report,
        fixture,
        [
            whoever_leads_goes_on_leading,
            a_sale_has_one_leader,
            sales_have_leaders_of_their_own,
        ]
    );
    report
}

async fn whoever_leads_goes_on_leading(rigs: Rigs<'_>) -> Checked {
    let rig = rigs.open(&fresh_place("leads")).await?;
    let sale = fresh_sale().id;
    for time in 1..=3 {
        let leads = rig.leadership.leads(sale).await?;
        ensure!(leads, "the first that asks must lead, time {time}");
        if let Some(other) = &rig.other {
            other.leads(sale).await?;
        }
    }
    Ok(Ran::Yes)
}

async fn a_sale_has_one_leader(rigs: Rigs<'_>) -> Checked {
    let rig = rigs.open(&fresh_place("leads")).await?;
    let Some(other) = &rig.other else {
        return Ok(Ran::Skipped);
    };
    let sale = fresh_sale().id;
    ensure!(rig.leadership.leads(sale).await?, "the first must lead");
    for _ in 0..3 {
        ensure!(!other.leads(sale).await?, "the second must not lead");
    }
    Ok(Ran::Yes)
}

async fn sales_have_leaders_of_their_own(rigs: Rigs<'_>) -> Checked {
    let rig = rigs.open(&fresh_place("leads")).await?;
    let Some(other) = &rig.other else {
        return Ok(Ran::Skipped);
    };
    let (one, two) = (fresh_sale().id, fresh_sale().id);
    ensure!(rig.leadership.leads(one).await?, "the first leads one sale");
    ensure!(other.leads(two).await?, "the second leads another");
    ensure!(!rig.leadership.leads(two).await?, "that one is taken");
    Ok(Ran::Yes)
}
