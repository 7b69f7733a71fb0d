//! The suite of [`Leadership`](crate::ports::Leadership).

use std::sync::Arc;

use crate::domain::SaleId;
use crate::ports::Leadership;
use crate::testing::Report;
use crate::testing::report::{Checked, Ran, ensure, run_cases};
use crate::testing::samples;

/// What the suite of [`Leadership`] works with.
#[derive(Clone, Debug)]
pub struct Leaders {
    /// The leadership to check, as one process has it.
    pub ours: Arc<dyn Leadership>,
    /// The same as another process has it, if there may be others.
    pub theirs: Option<Arc<dyn Leadership>>,
}

/// Checks a [`Leadership`] against its contract. That another process leads when one is gone is for
/// its own tests: only they can end one.
pub async fn leadership(leaders: &Leaders) -> Report {
    let mut report = Report::new("Leadership");
    run_cases!(
        report,
        leaders,
        [
            whoever_leads_goes_on_leading,
            of_two_processes_one_leads_a_sale,
            each_sale_has_a_leader_of_its_own,
        ]
    );
    report
}

fn fresh_sale() -> SaleId {
    samples::fresh_sale().id
}

async fn whoever_leads_goes_on_leading(leaders: &Leaders) -> Checked {
    let sale = fresh_sale();
    for _ in 0..5 {
        ensure!(leaders.ours.leads(sale).await?, "it must lead");
    }
    Ok(Ran::Yes)
}

async fn of_two_processes_one_leads_a_sale(leaders: &Leaders) -> Checked {
    let Some(theirs) = &leaders.theirs else {
        return Ok(Ran::Skipped);
    };
    let sale = fresh_sale();
    for _ in 0..5 {
        ensure!(leaders.ours.leads(sale).await?, "the first must lead");
        ensure!(!theirs.leads(sale).await?, "the second must not lead");
    }
    Ok(Ran::Yes)
}

async fn each_sale_has_a_leader_of_its_own(leaders: &Leaders) -> Checked {
    let Some(theirs) = &leaders.theirs else {
        return Ok(Ran::Skipped);
    };
    let (one, other) = (fresh_sale(), fresh_sale());
    ensure!(leaders.ours.leads(one).await?, "the first must lead one");
    ensure!(theirs.leads(other).await?, "the second must lead the other");
    ensure!(!leaders.ours.leads(other).await?, "the first leads both");
    ensure!(!theirs.leads(one).await?, "the second leads both");
    Ok(Ran::Yes)
}
