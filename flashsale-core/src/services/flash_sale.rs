use std::sync::Arc;

use crate::domain::{
    Allocation, AllocationState, Attempt, AttemptId, Decision, FailReason, OrderStatus, Phase,
    ProductId, Quantity, ReserveOutcome, ReserveRequest, Sale, SaleId, SaleStatus, Timestamp,
    UserId, Window,
};
use crate::error::{ErrorKind, PortError};
use crate::ports::{
    AttemptQueue, AttemptRecord, Clock, IdSource, Metric, OrderRepo, Published, RecordedOutcome,
    Recorder, StockStore, StockStoreExt,
};

use super::{AuditTrail, Catalogue, Relay, settling};

/// Serves buyers: takes their attempts and tells them how things stand.
#[derive(Clone, Debug)]
pub struct FlashSaleService {
    ports: FlashSalePorts,
    /// What is done after the answer; without it, it is done before.
    behind: Option<(AcceptAfter, Relay)>,
    /// Fails attempts that the queue does not take; without it they are kept.
    releases: Option<Arc<dyn OrderRepo>>,
    trail: Option<Arc<AuditTrail>>,
}

/// When an attempt is accepted, of an engine whose stock store does not decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AcceptAfter {
    /// When the queue has it, or, if the queue takes longer than its adapter waits, when the stock
    /// store has it.
    #[default]
    Logged,
    /// As soon as the stock store has it; a [`Relay`] takes it to the queue. Faster, and rests on
    /// the durability of the stock store.
    Reserved,
}

/// What becomes of an attempt that the queue does not confirm in the time that its adapter waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnPublishFailure {
    /// The buyer keeps the place: the attempt is accepted, published again, and decided in any case.
    #[default]
    Complete,
    /// The attempt fails, its units come back, and the buyer is asked to try again. If the order
    /// repository is away too, that happens later, by [`Repair`](super::Repair).
    Release,
}

/// What a [`FlashSaleService`] works with.
#[derive(Clone, Debug)]
pub struct FlashSalePorts {
    /// The sales.
    pub catalogue: Arc<Catalogue>,
    /// Admits attempts.
    pub stock: Arc<dyn StockStore>,
    /// Carries them to the workers.
    pub queue: Arc<dyn AttemptQueue>,
    /// For what is shown to buyers; the stock store judges windows by its own clock.
    pub clock: Arc<dyn Clock>,
    /// Names new attempts.
    pub ids: Arc<dyn IdSource>,
    /// Counts the answers.
    pub recorder: Arc<dyn Recorder>,
}

/// The answer to an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The attempt is kept and gets, or has, a final result.
    Accepted(Acceptance),
    /// No unit is left; one may come back.
    SoldOut,
    /// The sale has not started.
    NotStarted {
        /// When it does.
        starts_at: Timestamp,
    },
    /// The sale is over.
    Ended,
    /// The shop has paused the sale.
    Paused,
    /// The sale is being made ready or its stock rebuilt, or the attempt was
    /// [released](OnPublishFailure::Release); ask again in a second or two.
    Recovering,
    /// There is no such sale.
    UnknownSale,
}

/// An attempt that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The attempt; the same on every retry of this user.
    pub attempt: AttemptId,
    /// The sale.
    pub sale: SaleId,
    /// What it sells.
    pub product: ProductId,
    /// [`Pending`](OrderStatus::Pending) or [`Success`](OrderStatus::Success).
    pub status: OrderStatus,
    /// What keeps the attempt.
    pub durability: Durability,
}

/// What keeps an accepted attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// The attempt queue or the order repository has it.
    Logged,
    /// The stock store has it, with its units; the queue gets it later.
    Reserved,
}

/// How a user stands with a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PurchaseStatus {
    /// The result; [`Pending`](OrderStatus::Pending) as long as there is none.
    pub status: OrderStatus,
    /// Whether the user has an attempt at all.
    pub attempted: bool,
}

impl FlashSaleService {
    /// A service over these ports.
    pub fn new(ports: FlashSalePorts) -> Self {
        Self {
            ports,
            behind: None,
            releases: None,
            trail: None,
        }
    }

    /// The same service, but it answers as soon as an attempt is accepted, and leaves the rest to
    /// this relay, which somebody has to run.
    #[must_use]
    pub fn accepting(mut self, after: AcceptAfter, relay: Relay) -> Self {
        self.behind = Some((after, relay));
        self
    }

    /// The same service, but it [releases](OnPublishFailure::Release) what the queue does not take,
    /// by failing it in this repository.
    #[must_use]
    pub fn releasing(mut self, orders: Arc<dyn OrderRepo>) -> Self {
        self.releases = Some(orders);
        self
    }

    /// The same service, but it notes refusals for this audit trail, which somebody has to run.
    #[must_use]
    pub fn with_audit_trail(mut self, trail: Arc<AuditTrail>) -> Self {
        self.trail = Some(trail);
        self
    }

    /// Tries to buy one unit for the user.
    ///
    /// A user who has an attempt in this sale gets that one again. Once the stock store has taken
    /// the unit the answer is yes, whether or not the queue can be reached.
    ///
    /// # Errors
    /// If the stock store fails. Repeating the call is safe in any case.
    pub async fn attempt(&self, user: &UserId, sale: SaleId) -> Result<AttemptOutcome, PortError> {
        let Some(sale) = self.ports.catalogue.get(sale) else {
            return Ok(if self.ports.catalogue.is_loaded() {
                AttemptOutcome::UnknownSale
            } else {
                self.ports.recorder.count(Metric::Unavailable, 1);
                AttemptOutcome::Recovering
            });
        };
        if sale.phase == Phase::Scheduled {
            // The stock store does not know it yet, so its clock cannot judge; of one that is over
            // it may know more than the catalogue.
            let now = self.ports.clock.now();
            let Window { start, end } = sale.window;
            if now < end {
                self.ports.recorder.count(Metric::NotSelling, 1);
            }
            if now < start {
                self.note(&sale, user, RecordedOutcome::NotStarted);
                return Ok(AttemptOutcome::NotStarted { starts_at: start });
            }
            if now < end {
                return Ok(AttemptOutcome::Recovering);
            }
        }
        let request = ReserveRequest {
            attempt: self.ports.ids.attempt_id(),
            user: user.clone(),
            quantity: Quantity::ONE,
        };
        match self.ports.stock.reserve_one(&sale.key(), &request).await {
            Ok(outcome) => Ok(self.answer(&sale, user, outcome).await),
            Err(error) => {
                self.ports.recorder.count(Metric::Unavailable, 1);
                Err(error)
            }
        }
    }

    async fn answer(&self, sale: &Sale, user: &UserId, outcome: ReserveOutcome) -> AttemptOutcome {
        let refused = |recorded| self.note(sale, user, recorded);
        let (metric, answer) = match outcome {
            ReserveOutcome::Reserved(attempt) => {
                let durability = self.publish(sale, &attempt).await;
                match (durability, &self.releases) {
                    // What was not even tried is not released.
                    (Durability::Reserved, Some(orders)) if !self.publishes_later() => {
                        self.release(&**orders, sale, &attempt).await
                    }
                    _ => {
                        let pending = OrderStatus::Pending;
                        let accepted = acceptance(sale, attempt.id, pending, durability);
                        (Metric::Accepted, accepted)
                    }
                }
            }
            ReserveOutcome::Sold(attempt, _) => {
                let logged = Durability::Logged;
                let accepted = acceptance(sale, attempt.id, OrderStatus::Success, logged);
                (Metric::Accepted, accepted)
            }
            ReserveOutcome::AlreadyAllocated(allocation) => {
                (Metric::Repeated, held(sale, &allocation))
            }
            ReserveOutcome::SoldOut => {
                refused(RecordedOutcome::SoldOut);
                (Metric::SoldOut, AttemptOutcome::SoldOut)
            }
            ReserveOutcome::NotStarted { starts_at } => {
                refused(RecordedOutcome::NotStarted);
                (Metric::NotSelling, AttemptOutcome::NotStarted { starts_at })
            }
            ReserveOutcome::Ended => {
                refused(RecordedOutcome::Ended);
                (Metric::NotSelling, AttemptOutcome::Ended)
            }
            ReserveOutcome::Paused => {
                refused(RecordedOutcome::Paused);
                (Metric::NotSelling, AttemptOutcome::Paused)
            }
            // A store with one place per product has given it to the next sale.
            ReserveOutcome::NotLoaded
                if sale.status(self.ports.clock.now()) == SaleStatus::Ended =>
            {
                refused(RecordedOutcome::Ended);
                (Metric::NotSelling, AttemptOutcome::Ended)
            }
            ReserveOutcome::Recovering | ReserveOutcome::NotLoaded => {
                (Metric::Unavailable, AttemptOutcome::Recovering)
            }
        };
        self.ports.recorder.count(metric, 1);
        answer
    }

    /// Hands the attempt to the queue. A failure costs nothing but time: the stock store has the
    /// attempt on record, and [`Repair`](super::Repair) publishes it again.
    async fn publish(&self, sale: &Sale, attempt: &Attempt) -> Durability {
        if let Some((AcceptAfter::Reserved, relay)) = &self.behind {
            relay.take_along(sale.key(), attempt.clone());
            return Durability::Reserved;
        }
        let batch = std::slice::from_ref(attempt);
        match self.ports.queue.publish(batch).await.as_deref() {
            Ok([Published::Logged]) => {
                match &self.behind {
                    Some((_, relay)) => relay.logged(sale.key(), attempt.clone()),
                    // If this fails the attempt is published once more, which is harmless.
                    None => {
                        let _ = self.ports.stock.acknowledge(&sale.key(), batch).await;
                    }
                }
                Durability::Logged
            }
            Ok(_) | Err(_) => Durability::Reserved,
        }
    }

    fn publishes_later(&self) -> bool {
        matches!(self.behind, Some((AcceptAfter::Reserved, _)))
    }

    /// Fails an attempt that the queue did not take, and gives its units back. Others may have
    /// decided about it by now; then that counts.
    async fn release(
        &self,
        orders: &dyn OrderRepo,
        sale: &Sale,
        attempt: &Attempt,
    ) -> (Metric, AttemptOutcome) {
        let (key, attempts) = (sale.key(), std::slice::from_ref(attempt));
        let unavailable = (Metric::Unavailable, AttemptOutcome::Recovering);
        let cancelled = orders.release(&key, attempts, FailReason::Cancelled).await;
        let Ok(decisions) = cancelled else {
            return unavailable;
        };
        let FlashSalePorts {
            stock, recorder, ..
        } = &self.ports;
        // If this fails, repair does it.
        let _ = settling::settle(&**stock, &**recorder, &key, attempts, &decisions).await;
        match decisions[..] {
            [Decision::Success(_)] => {
                let (success, logged) = (OrderStatus::Success, Durability::Logged);
                let accepted = acceptance(sale, attempt.id, success, logged);
                (Metric::Accepted, accepted)
            }
            _ => unavailable,
        }
    }

    /// Notes a refusal for the audit trail, if there is one.
    fn note(&self, sale: &Sale, user: &UserId, outcome: RecordedOutcome) {
        if let Some(trail) = &self.trail {
            trail.note(AttemptRecord {
                sale: sale.id,
                user: user.clone(),
                at: self.ports.clock.now(),
                outcome,
            });
        }
    }

    /// The sale that a buyer who names none is shown, and how it stands now.
    pub fn featured(&self) -> Option<(Arc<Sale>, SaleStatus, Timestamp)> {
        let now = self.ports.clock.now();
        let sale = self.ports.catalogue.featured(now)?;
        let status = sale.status(now);
        Some((sale, status, now))
    }

    /// How the user stands with the product, in the sale of it that started last. Asks the stock
    /// store only.
    ///
    /// # Errors
    /// If the stock store fails, or the sales are not known yet, or the stock is being rebuilt.
    pub async fn purchase_status(
        &self,
        user: &UserId,
        product: ProductId,
    ) -> Result<PurchaseStatus, PortError> {
        if !self.ports.catalogue.is_loaded() {
            return Err(PortError::new(
                ErrorKind::Unavailable,
                "catalogue",
                "purchase status",
            ));
        }
        let stock = &self.ports.stock;
        let now = self.ports.clock.now();
        let sale = self.ports.catalogue.started(product, now);
        let holding = |allocation: Allocation| PurchaseStatus {
            status: status_of(&allocation),
            attempted: true,
        };
        if let Some(sale) = &sale
            && let Some(allocation) = stock.allocation(&sale.key(), user).await?
        {
            return Ok(holding(allocation));
        }
        let result = stock.result(product, user).await?;
        let current =
            result.filter(|result| sale.as_ref().is_none_or(|sale| sale.id == result.sale));
        // A store that has lost the sale would say of everybody that they never tried. It is one
        // that has not if it serves in the same epoch before and after the look.
        if let (Some(sale), None) = (&sale, &current)
            && sale.status(now) == SaleStatus::Active
            && sale.phase != Phase::Scheduled
        {
            let serves_before = self.serves(sale).await?;
            if let Some(allocation) = stock.allocation(&sale.key(), user).await? {
                return Ok(holding(allocation));
            }
            if !serves_before || !self.serves(sale).await? {
                return Err(PortError::new(
                    ErrorKind::Unavailable,
                    "stock store",
                    "purchase status",
                ));
            }
        }
        Ok(PurchaseStatus {
            status: match current.as_ref().map(|result| result.decision) {
                Some(Decision::Success(_)) => OrderStatus::Success,
                Some(Decision::Failed(_)) => OrderStatus::Failed,
                None => OrderStatus::Pending,
            },
            attempted: current.is_some(),
        })
    }

    /// Whether the stock store has the sale, in the epoch that it is known by here.
    async fn serves(&self, sale: &Sale) -> Result<bool, PortError> {
        let levels = self.ports.stock.levels(&sale.key()).await?;
        Ok(levels
            .is_some_and(|levels| levels.epoch == sale.epoch && levels.phase != Phase::Recovering))
    }

    /// Whether the stock store answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), PortError> {
        match self.ports.catalogue.all().first() {
            Some(sale) => self.ports.stock.levels(&sale.key()).await.map(|_| ()),
            None => Ok(()),
        }
    }
}

fn held(sale: &Sale, allocation: &Allocation) -> AttemptOutcome {
    let durability = match allocation.state {
        AllocationState::Reserved { logged: false } => Durability::Reserved,
        AllocationState::Reserved { logged: true } | AllocationState::Sold(_) => Durability::Logged,
    };
    acceptance(sale, allocation.attempt, status_of(allocation), durability)
}

fn status_of(allocation: &Allocation) -> OrderStatus {
    match allocation.state {
        AllocationState::Reserved { .. } => OrderStatus::Pending,
        AllocationState::Sold(_) => OrderStatus::Success,
    }
}

fn acceptance(
    sale: &Sale,
    attempt: AttemptId,
    status: OrderStatus,
    durability: Durability,
) -> AttemptOutcome {
    AttemptOutcome::Accepted(Acceptance {
        attempt,
        sale: sale.id,
        product: sale.product.id,
        status,
        durability,
    })
}
