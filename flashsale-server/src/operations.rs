use std::sync::Arc;
use std::time::Duration;

use flashsale_core::PortError;
use flashsale_core::domain::{NewSale, NewSaleRefused, SaleChange, SaleId, UserId};
use flashsale_core::ports::{Clock, DeadLetter};
use flashsale_core::services::{
    Auditor, AuthService, ChangeSaleOutcome, DeadLetters, Finding, Reconciliation, Recovery,
    RecoveryProgress, RegisterOutcome, Registration, Repair, ReplayOutcome, SaleService, SaleView,
    StockReadiness, UserTimeline, Verdict,
};
use tokio::time::{Instant, sleep};

use crate::Services;

/// What a shop does to its sales, users and leftovers: what the commands of the program do, for
/// whoever wants to do it from elsewhere.
///
/// It needs no [`Background`](crate::Background), and any number of it may work at a time, in any
/// process of an engine.
///
/// ```
/// # async fn restock(services: &flashsale_server::Services) -> Result<(), Box<dyn std::error::Error>> {
/// use flashsale_core::domain::{SaleChange, SaleId};
/// use flashsale_core::services::ChangeSaleOutcome;
/// use flashsale_server::Operations;
///
/// let operations = Operations::new(services);
/// match operations.change_sale(SaleId::new(7)?, SaleChange::Restock(50)).await? {
///     ChangeSaleOutcome::Changed(view) => println!("{:?} units can be had", view.available()),
///     ChangeSaleOutcome::Refused(refused) => println!("no: {refused:?}"),
///     ChangeSaleOutcome::UnknownSale => println!("which sale?"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Operations {
    sales: SaleService,
    auditor: Auditor,
    repair: Repair,
    recovery: Recovery,
    dead_letters: DeadLetters,
    auth: AuthService,
}

impl Operations {
    /// How long [`repair`](Self::repair) waits for a rebuild of the stock.
    pub const RECOVERY_WAIT: Duration = Duration::from_secs(10);
    const RECOVERY_PAUSE: Duration = Duration::from_millis(100);

    /// On these services.
    pub fn new(services: &Services) -> Self {
        let engine = &services.engine;
        Self {
            sales: engine.sales.clone(),
            auditor: engine.auditor.clone(),
            repair: engine.repair.clone(),
            recovery: engine.recovery.clone(),
            dead_letters: engine.dead_letters.clone(),
            auth: services.auth.clone(),
        }
    }

    /// What tells whether a sale is on.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.auth.clock
    }

    /// Makes a sale, and its product if that is new.
    ///
    /// # Errors
    /// If a store fails; the sale may have been made then.
    pub async fn create_sale(
        &self,
        new: &NewSale,
    ) -> Result<Result<SaleView, NewSaleRefused>, PortError> {
        self.sales.create(new).await
    }

    /// All sales and their stock, by ascending id.
    ///
    /// # Errors
    /// If a store fails.
    pub async fn sales(&self) -> Result<Vec<SaleView>, PortError> {
        self.sales.list().await
    }

    /// One sale and its stock.
    ///
    /// # Errors
    /// If a store fails.
    pub async fn sale(&self, id: SaleId) -> Result<Option<SaleView>, PortError> {
        self.sales.find(id).await
    }

    /// Pauses, resumes, restocks, extends or closes a sale, or takes units out of it.
    ///
    /// # Errors
    /// If a store fails; the change may have been made then.
    pub async fn change_sale(
        &self,
        id: SaleId,
        change: SaleChange,
    ) -> Result<ChangeSaleOutcome, PortError> {
        self.sales.change(id, change).await
    }

    /// Makes a user, of any role.
    ///
    /// # Errors
    /// If the repository fails; the user may have been made then.
    pub async fn create_user(&self, new: Registration) -> Result<RegisterOutcome, PortError> {
        self.auth.register(new).await
    }

    /// Accounts for every unit of a sale; nothing for an unknown one.
    ///
    /// # Errors
    /// If a store fails.
    pub async fn audit(&self, sale: SaleId) -> Result<Option<Reconciliation>, PortError> {
        self.auditor.reconcile(sale).await
    }

    /// What one user tried in a sale; nothing for an unknown sale.
    ///
    /// # Errors
    /// If a store fails.
    pub async fn timeline(
        &self,
        sale: SaleId,
        user: &UserId,
    ) -> Result<Option<UserTimeline>, PortError> {
        self.auditor.timeline(sale, user).await
    }

    /// Dead letters by ascending id, those after `after`, `max` at most.
    ///
    /// # Errors
    /// If the repository fails.
    pub async fn dead_letters(
        &self,
        after: Option<i64>,
        max: usize,
    ) -> Result<Vec<DeadLetter>, PortError> {
        self.dead_letters.list(after, max).await
    }

    /// One dead letter.
    ///
    /// # Errors
    /// If the repository fails.
    pub async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, PortError> {
        self.dead_letters.find(id).await
    }

    /// Tries once more to make an order of a dead letter. Safe to repeat.
    ///
    /// # Errors
    /// If a store fails; the letter is as before then.
    pub async fn replay(&self, id: i64) -> Result<ReplayOutcome, PortError> {
        self.dead_letters.replay(id).await
    }

    /// Does at once what repair does by and by, and rebuilds a stock that differs from the orders
    /// while nothing is in flight. Orders are never touched, and no unit is offered that has one.
    ///
    /// A rebuild is waited for [`RECOVERY_WAIT`](Self::RECOVERY_WAIT); if it is not done then, the
    /// servers of the engine finish it.
    ///
    /// # Errors
    /// If a store fails; it is safe to repeat.
    pub async fn repair(&self, id: SaleId) -> Result<(), PortError> {
        let Some(sale) = self.sales.repo.find(id).await? else {
            return Ok(());
        };
        let mut lost = self.sales.prepare(&sale).await? == StockReadiness::Lost;
        if !lost {
            let batch = self.repair.limits.batch;
            loop {
                let done = self.repair.step(&sale.key()).await?;
                if done.completed.max(done.republished).max(done.released) < batch {
                    break;
                }
            }
            lost = self.is_off(id).await?;
        }
        if lost {
            self.rebuild(id).await?;
        }
        Ok(())
    }

    /// Whether the stock differs from the orders, at rest, in a way that a rebuild cures.
    async fn is_off(&self, id: SaleId) -> Result<bool, PortError> {
        let Some(account) = self.auditor.reconcile(id).await? else {
            return Ok(false);
        };
        let at_rest = account.levels.is_none_or(|levels| levels.reserved == 0);
        let curable = account.findings.iter().any(|finding| {
            matches!(
                finding,
                Finding::StockDiffers { .. } | Finding::OrderedNotTaken { .. } | Finding::NotLoaded
            )
        });
        Ok(at_rest && curable && account.verdict() == Verdict::Drift)
    }

    /// Begins a rebuild and takes it as far as it goes; the servers finish it.
    async fn rebuild(&self, id: SaleId) -> Result<(), PortError> {
        let deadline = Instant::now() + Self::RECOVERY_WAIT;
        loop {
            let Some(sale) = self.sales.repo.find(id).await? else {
                return Ok(());
            };
            match self.recovery.step(&sale).await {
                Ok(RecoveryProgress::Done) => return Ok(()),
                Ok(_) if Instant::now() < deadline => sleep(Self::RECOVERY_PAUSE).await,
                Ok(_) => return Ok(()),
                // For example without a queue to ask: then the servers have to do it.
                Err(_) if Instant::now() < deadline => {
                    let Some(sale) = self.sales.repo.find(id).await? else {
                        return Ok(());
                    };
                    if !sale.is_recovering() {
                        return Ok(());
                    }
                    sleep(Self::RECOVERY_PAUSE).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }
}
