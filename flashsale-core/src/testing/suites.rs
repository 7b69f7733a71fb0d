//! One conformance suite per port.

mod attempt_queue;
mod attempt_repo;
mod dead_letter_repo;
mod health_check;
mod leadership;
mod order_repo;
mod password_hasher;
mod sale_repo;
mod stock_store;
mod token_issuer;
mod user_repo;

pub use attempt_queue::{AttemptQueueRig, GarbageSource, attempt_queue};
pub use attempt_repo::{AttemptRepoRig, attempt_repo};
pub use dead_letter_repo::dead_letter_repo;
pub use health_check::{HealthChecks, health_check};
pub use leadership::{Leaders, leadership};
pub use order_repo::{OrderRepoRig, order_repo};
pub use password_hasher::password_hasher;
pub use sale_repo::sale_repo;
pub use stock_store::{StockStoreRig, stock_store};
pub use token_issuer::{TokenIssuers, token_issuer};
pub use user_repo::user_repo;

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::Sale;
use crate::error::{Effect, ErrorKind, PortError};
use crate::ports::{CreateSaleOutcome, SaleRepo};

use super::report::{Violation, ensure_eq};
use super::{Fixture, Task, samples};

/// A name for [`Fixture::open`](super::Fixture::open) that no other case uses.
fn fresh_place(suite: &str) -> String {
    format!("{suite}-{}", samples::fresh_number())
}

/// Checks that a call was refused as breaking a limit, with nothing done.
fn ensure_invalid<T: std::fmt::Debug>(
    what: &str,
    answer: Result<T, PortError>,
) -> Result<(), Violation> {
    match answer {
        Ok(answer) => Err(Violation::new(format!(
            "{what}: must be refused as invalid, is answered with {answer:?}"
        ))),
        Err(error) => {
            ensure_eq!(what, error.kind(), ErrorKind::Invalid);
            ensure_eq!(what, error.effect(), Effect::None);
            Ok(())
        }
    }
}

/// A sale of a fresh product, stored.
async fn create_sale(sales: &dyn SaleRepo, stock: u64) -> Result<Sale, Violation> {
    match sales.create(&samples::fresh_new_sale(stock)).await? {
        CreateSaleOutcome::Created(sale) => Ok(sale),
        CreateSaleOutcome::Refused(refused) => Err(Violation::new(format!(
            "a sale of a new product must be created, is refused: {refused}"
        ))),
    }
}

/// Makes all calls at the same time and returns their answers, in the order they came in.
async fn race<R: Send + 'static, T: Send + 'static>(
    rigs: &dyn Fixture<R>,
    calls: impl Iterator<Item = impl Future<Output = Result<T, PortError>> + Send + 'static>,
) -> Result<Vec<T>, Violation> {
    let answers = Arc::new(Mutex::new(Vec::new()));
    let tasks = calls.map(|call| -> Task {
        let answers = Arc::clone(&answers);
        Box::pin(async move {
            let answer = call.await;
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.push(answer);
        })
    });
    rigs.together(tasks.collect()).await;
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    let answers: Result<_, _> = answers.drain(..).collect();
    Ok(answers?)
}
