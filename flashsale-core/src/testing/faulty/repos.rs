use async_trait::async_trait;

use super::Faulty;
use crate::domain::{
    Attempt, AttemptId, Decision, FailReason, NewSale, NewUser, Order, OrderId, Sale, SaleChange,
    SaleId, SaleRef, StockEvent, Totals, User, UserId,
};
use crate::error::PortError;
use crate::ports::{
    AttemptRecord, AttemptRepo, ChangeOutcome, CreateSaleOutcome, CreateUserOutcome, OrderRepo,
    PasswordHasher, Revision, SaleRepo, UserRepo,
};

#[async_trait]
impl OrderRepo for Faulty<dyn OrderRepo> {
    async fn commit(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
    ) -> Result<Vec<Decision>, PortError> {
        let call = || self.inner.commit(sale, attempts);
        self.faults.around("commit", call).await
    }

    async fn release(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
        reason: FailReason,
    ) -> Result<Vec<Decision>, PortError> {
        let call = || self.inner.release(sale, attempts, reason);
        self.faults.around("release", call).await
    }

    async fn find(&self, attempts: &[AttemptId]) -> Result<Vec<Option<Order>>, PortError> {
        let call = || self.inner.find(attempts);
        self.faults.around("find", call).await
    }

    async fn list(
        &self,
        sale: SaleId,
        after: Option<OrderId>,
        max: usize,
    ) -> Result<Vec<Order>, PortError> {
        let call = || self.inner.list(sale, after, max);
        self.faults.around("list", call).await
    }

    async fn totals(&self, sale: SaleId) -> Result<Option<Totals>, PortError> {
        let call = || self.inner.totals(sale);
        self.faults.around("totals", call).await
    }
}

#[async_trait]
impl SaleRepo for Faulty<dyn SaleRepo> {
    async fn create(&self, sale: &NewSale) -> Result<CreateSaleOutcome, PortError> {
        let call = || self.inner.create(sale);
        self.faults.around("create", call).await
    }

    async fn opened(&self, sale: &SaleRef, version: u64) -> Result<(), PortError> {
        let call = || self.inner.opened(sale, version);
        self.faults.around("opened", call).await
    }

    async fn recover(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError> {
        let call = || self.inner.recover(sale);
        self.faults.around("recover", call).await
    }

    async fn seal(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError> {
        let call = || self.inner.seal(sale);
        self.faults.around("seal", call).await
    }

    async fn change(
        &self,
        sale: SaleId,
        change: SaleChange,
        from: Option<&Sale>,
    ) -> Result<ChangeOutcome, PortError> {
        let call = || self.inner.change(sale, change, from);
        self.faults.around("change", call).await
    }

    async fn events(&self, sale: SaleId, after_version: u64) -> Result<Vec<StockEvent>, PortError> {
        let call = || self.inner.events(sale, after_version);
        self.faults.around("events", call).await
    }

    async fn find(&self, sale: SaleId) -> Result<Option<Sale>, PortError> {
        let call = || self.inner.find(sale);
        self.faults.around("find", call).await
    }

    async fn list(&self) -> Result<Vec<Sale>, PortError> {
        let call = || self.inner.list();
        self.faults.around("list", call).await
    }

    async fn changed(&self, seen: Revision) -> Result<Revision, PortError> {
        let call = || self.inner.changed(seen);
        self.faults.around("changed", call).await
    }
}

#[async_trait]
impl UserRepo for Faulty<dyn UserRepo> {
    async fn create(&self, user: &NewUser) -> Result<CreateUserOutcome, PortError> {
        let call = || self.inner.create(user);
        self.faults.around("create", call).await
    }

    async fn find_by_username(&self, username: &str) -> Result<Option<User>, PortError> {
        let call = || self.inner.find_by_username(username);
        self.faults.around("find_by_username", call).await
    }
}

#[async_trait]
impl AttemptRepo for Faulty<dyn AttemptRepo> {
    async fn record(&self, refusals: &[AttemptRecord]) -> Result<(), PortError> {
        let call = || self.inner.record(refusals);
        self.faults.around("record", call).await
    }

    async fn history(
        &self,
        sale: SaleId,
        user: &UserId,
        max: usize,
    ) -> Result<Vec<AttemptRecord>, PortError> {
        let call = || self.inner.history(sale, user, max);
        self.faults.around("history", call).await
    }
}

#[async_trait]
impl PasswordHasher for Faulty<dyn PasswordHasher> {
    fn password_max(&self) -> usize {
        self.inner.password_max()
    }

    async fn hash(&self, password: &str) -> Result<String, PortError> {
        let call = || self.inner.hash(password);
        self.faults.around("hash", call).await
    }

    async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, PortError> {
        let call = || self.inner.verify(password, hash);
        self.faults.around("verify", call).await
    }
}
