use std::collections::HashMap;

use flashsale_core::domain::{Buyer, Epoch, OpenOutcome, SaleId, SaleRef, StockSnapshot, UserId};
use uuid::Uuid;

use super::{Core, check_exact};
use crate::codec;
use crate::error::Fault;
use crate::keys::StockKeys;
use crate::request::Request;
use crate::scripts;

/// How many buyers one call puts aside.
const CHUNK: usize = 512;
/// For how many seconds buyers that were put aside wait for the next call of their loader.
const LOADING_TTL_S: u32 = 60;
/// How long before its start a sale may take its product's place: a sale that is created later but
/// sells earlier has to find it free.
const LEAD_MS: u32 = 120_000;

impl Core {
    /// Puts the buyers aside, a chunk at a time, and then makes them and the rest of the snapshot
    /// the stock in one step. Several may do so at once: each has its own place for the buyers, and
    /// the first one to finish wins.
    pub(super) async fn open(
        &self,
        sale: &SaleRef,
        snapshot: &StockSnapshot,
    ) -> Result<OpenOutcome, Fault> {
        let opening = Opening::new(self, sale, snapshot)?;
        if !opening.buyers.is_empty() {
            // Whoever asks in vain need not load.
            match opening.step("ask").await? {
                OpenOutcome::Opened => opening.load().await?,
                other => return Ok(other),
            }
        }
        let opened = opening.step("open").await;
        self.sales.changed(sale.product);
        opened
    }
}

struct Opening<'a> {
    core: &'a Core,
    sale: &'a SaleRef,
    snapshot: &'a StockSnapshot,
    /// The last entry of each buyer.
    buyers: HashMap<&'a UserId, &'a Buyer>,
    sold: u64,
    keys: StockKeys,
    loading: String,
}

impl<'a> Opening<'a> {
    fn new(core: &'a Core, sale: &'a SaleRef, snapshot: &'a StockSnapshot) -> Result<Self, Fault> {
        let buyers = snapshot.buyers.iter();
        let buyers: HashMap<_, _> = buyers.map(|buyer| (&buyer.user, buyer)).collect();
        let sold = buyers.values().map(|buyer| buyer.quantity.units()).sum();
        check_exact(
            snapshot.remaining.saturating_add(sold),
            "a stock has at most 2^52 units",
        )?;
        check_exact(snapshot.version, "a version is at most 2^52")?;
        let keys = StockKeys::new(&core.prefix, sale.product);
        Ok(Self {
            core,
            sale,
            snapshot,
            buyers,
            sold,
            loading: keys.loading(Uuid::now_v7()),
            keys,
        })
    }

    async fn load(&self) -> Result<(), Fault> {
        let buyers: Vec<_> = self.buyers.values().collect();
        for chunk in buyers.chunks(CHUNK) {
            let size = 1 + 2 * chunk.len();
            let keys = [self.loading.as_str()];
            let mut request = Request::script(self.keys.slot, &scripts::LOAD, &keys, size);
            request.command.arg(LOADING_TTL_S);
            for buyer in chunk {
                let allocation = codec::bought(buyer, self.sale.epoch);
                request.command.arg(buyer.user.as_str()).arg(allocation);
            }
            let deadline = self.core.work_deadline();
            let loaded = self.core.work(&request, deadline).await;
            // What was put aside is not the stock, and goes away by itself.
            loaded.map_err(Fault::harmless)?;
        }
        Ok(())
    }

    async fn step(&self, step: &str) -> Result<OpenOutcome, Fault> {
        let StockKeys {
            stock,
            sale,
            users,
            outbox,
            slot,
            ..
        } = &self.keys;
        let keys = [stock.as_str(), sale, users, outbox, &self.loading];
        let mut request = Request::script(*slot, &scripts::OPEN, &keys, 12);
        let StockSnapshot {
            window,
            phase,
            version,
            remaining,
            ..
        } = self.snapshot;
        request
            .command
            .arg(self.sale.id.get())
            .arg(self.sale.epoch.get())
            .arg(self.core.now())
            .arg(step)
            .arg(remaining)
            .arg(self.sold)
            .arg(self.buyers.len())
            .arg(codec::phase_letter(*phase))
            .arg(window.start.as_millis())
            .arg(window.end.as_millis())
            .arg(version)
            .arg(LEAD_MS);
        let answer = self.core.work(&request, self.core.work_deadline()).await?;
        let answer = codec::texts(answer)?;
        let answer: Vec<_> = answer.iter().map(String::as_str).collect();
        let outcome = match answer[..] {
            ["OPENED"] => Some(OpenOutcome::Opened),
            ["ALREADY_OPEN"] => Some(OpenOutcome::AlreadyOpen),
            ["STALE", epoch] => {
                codec::parse(epoch).map(|epoch| OpenOutcome::Stale(Epoch::new(epoch)))
            }
            ["OCCUPIED", sale] => codec::parse::<SaleId>(sale).map(OpenOutcome::Occupied),
            ["EARLY"] => Some(OpenOutcome::TooEarly),
            ["INCOMPLETE"] => return Err(Fault::buyers_lost()),
            _ => None,
        };
        outcome.ok_or_else(|| Fault::damaged(format!("open has answered {answer:?}")))
    }
}
