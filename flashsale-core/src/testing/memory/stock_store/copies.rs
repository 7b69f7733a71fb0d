use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{MemoryStockStore, lock};

impl MemoryStockStore {
    /// A store of its own with the same contents: what a replica has, or a backup.
    #[must_use]
    pub fn copy(&self) -> Self {
        let decides = self.decides.as_ref();
        Self {
            clock: self.clock.clone(),
            decides: decides.map(|last| AtomicI64::new(last.load(Ordering::SeqCst))),
            sales: Mutex::new(lock(&self.sales).clone()),
            results: Mutex::new(lock(&self.results).clone()),
        }
    }

    /// Goes on with the contents of another store, as after the promotion of a replica that lags
    /// behind: what happened here since is lost.
    pub fn go_on_with(&self, other: &Self) {
        let (sales, results) = (lock(&other.sales).clone(), lock(&other.results).clone());
        *lock(&self.sales) = sales;
        *lock(&self.results) = results;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::domain::{Phase, StockSnapshot};
    use crate::ports::StockStore;
    use crate::testing::samples::{WINDOW, fresh_sale};
    use crate::testing::{ManualClock, MemoryStockStore};

    #[test]
    fn a_copy_goes_its_own_way_and_can_be_gone_back_to() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = MemoryStockStore::new(Arc::new(ManualClock::default()));
            let (sale, snapshot) = (
                fresh_sale(),
                StockSnapshot {
                    window: WINDOW,
                    phase: Phase::Open,
                    version: 1,
                    remaining: 5,
                    buyers: Vec::new(),
                },
            );
            let empty = store.copy();
            store.open(&sale, &snapshot).await.unwrap();
            assert_eq!(empty.levels(&sale).await.unwrap(), None);
            let full = store.copy();
            store.go_on_with(&empty);
            assert_eq!(store.levels(&sale).await.unwrap(), None);
            assert!(full.levels(&sale).await.unwrap().is_some());
        });
    }
}
