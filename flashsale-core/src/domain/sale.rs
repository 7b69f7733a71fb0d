use super::{Epoch, ProductId, SaleId, Timestamp};

/// The most units one sale can ever hold: 2^40, so that no sum of units can overflow.
pub const UNITS_MAX: u64 = 1 << 40;

/// What is sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Names the product.
    pub id: ProductId,
    /// What buyers call it.
    pub name: String,
    /// What buyers read about it.
    pub description: String,
}

/// When a sale sells: from `start` (inclusive) to `end` (exclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The first moment of the sale.
    pub start: Timestamp,
    /// The first moment after the sale.
    pub end: Timestamp,
}

impl Window {
    /// Whether two windows share a moment.
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// What the shop has done to a sale, whatever the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Stored, its stock not yet in the stock store; nothing can be bought.
    Scheduled,
    /// Sells inside its window.
    Open,
    /// Held by the shop; can be resumed.
    Paused,
    /// Its stock is being rebuilt after a loss; sells again by itself.
    Recovering,
    /// Ended for good by the shop.
    Closed,
}

/// Where a sale stands for a buyer at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaleStatus {
    /// Before its start.
    Upcoming,
    /// Inside its window. It may be sold out or paused all the same.
    Active,
    /// After its end, or closed.
    Ended,
}

/// A window in which a number of units of one product is sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// Names the sale.
    pub id: SaleId,
    /// What is sold.
    pub product: Product,
    /// When.
    pub window: Window,
    /// What the shop has done to it.
    pub phase: Phase,
    /// Whether the shop wants it paused. In the phases in which it does not sell anyway, this says
    /// what it becomes after them.
    pub pause_requested: bool,
    /// Units at creation.
    pub initial_stock: u64,
    /// Units added since.
    pub added_stock: u64,
    /// Units taken out of the sale since.
    pub withdrawn_stock: u64,
    /// The generation of its stock.
    pub epoch: Epoch,
    /// Attempts of epochs older than this one are not accepted any more. Behind `epoch` while what
    /// was accepted before a loss of the stock is still being decided.
    pub sealed: Epoch,
    /// The largest number that a decided attempt of `epoch` has; 0 if there is none. A stock store
    /// whose numbers are behind it has lost something.
    pub decided_seq: u64,
    /// Grows by one with every [`SaleChange`].
    pub version: u64,
}

impl Sale {
    /// The names an adapter needs to act for this sale.
    pub fn key(&self) -> SaleRef {
        SaleRef {
            id: self.id,
            product: self.product.id,
            epoch: self.epoch,
        }
    }

    /// Where the sale stands at `now`.
    pub fn status(&self, now: Timestamp) -> SaleStatus {
        if self.phase == Phase::Closed || now >= self.window.end {
            SaleStatus::Ended
        } else if now < self.window.start {
            SaleStatus::Upcoming
        } else {
            SaleStatus::Active
        }
    }

    /// All units that were put into the sale and not taken out again.
    pub fn total_stock(&self) -> u64 {
        (self.initial_stock + self.added_stock).saturating_sub(self.withdrawn_stock)
    }

    /// Whether its stock is lost and not open again yet.
    pub fn is_recovering(&self) -> bool {
        self.phase == Phase::Recovering || self.sealed < self.epoch
    }

    /// Begins a new epoch because the stock of `lost` is lost; says whether it did. Not if that is
    /// an older epoch, or the rebuild has begun already.
    pub fn recover(&mut self, lost: Epoch) -> bool {
        if self.epoch != lost || self.is_recovering() || self.phase == Phase::Scheduled {
            return false;
        }
        self.epoch = self.epoch.next();
        self.decided_seq = 0;
        if self.phase != Phase::Closed {
            self.phase = Phase::Recovering;
        }
        true
    }

    /// Accepts no attempts of older epochs any more; says whether that was news.
    pub fn seal(&mut self, epoch: Epoch) -> bool {
        let news = self.epoch == epoch && self.sealed < epoch;
        if news {
            self.sealed = epoch;
        }
        news
    }

    /// Takes note that its stock is open under `epoch`, with every change up to `version`; says
    /// whether that was news.
    ///
    /// A sale that was never open may have changed since: then its stock has to be told first, lest
    /// it sells units that were withdrawn. While a stock is rebuilt nobody withdraws any.
    pub fn opened(&mut self, epoch: Epoch, version: u64) -> bool {
        let complete = match self.phase {
            Phase::Scheduled => self.version == version,
            phase => phase == Phase::Recovering,
        };
        let news = self.epoch == epoch && self.sealed == epoch && complete;
        if news {
            self.phase = if self.pause_requested {
                Phase::Paused
            } else {
                Phase::Open
            };
        }
        news
    }

    /// Whether nothing was changed, and nothing began or ended, since the sale was as `before`.
    pub fn is_as(&self, before: &Self) -> bool {
        (self.version, self.phase) == (before.version, before.phase)
    }

    /// Makes the change and returns what the stock store has to be told.
    ///
    /// # Errors
    /// [`ChangeRefused`] if the sale's phase does not allow it; the sale is as before.
    pub fn change(&mut self, change: SaleChange) -> Result<StockEvent, ChangeRefused> {
        match (change, self.phase) {
            (_, Phase::Closed) => return Err(ChangeRefused::Closed),
            (SaleChange::Pause | SaleChange::Resume, _) => {
                let allocation = change == SaleChange::Pause;
                if self.pause_requested == allocation {
                    return Err(ChangeRefused::Phase(self.phase));
                }
                self.pause_requested = allocation;
                self.phase = match self.phase {
                    Phase::Open if allocation => Phase::Paused,
                    Phase::Paused if !allocation => Phase::Open,
                    same => same,
                };
            }
            (SaleChange::Close, _) => {
                self.phase = Phase::Closed;
            }
            (SaleChange::Restock(units), _) => {
                let most = UNITS_MAX - self.initial_stock - self.added_stock;
                if units == 0 || units > most {
                    return Err(ChangeRefused::Units { most });
                }
                self.added_stock += units;
            }
            (SaleChange::Withdraw(units), _) => {
                let most = self.total_stock();
                if units == 0 || units > most {
                    return Err(ChangeRefused::Withdrawal { most });
                }
                self.withdrawn_stock += units;
            }
            (SaleChange::Extend(end), _) => {
                if end <= self.window.end {
                    return Err(ChangeRefused::End(self.window.end));
                }
                self.window.end = end;
            }
        }
        self.version += 1;
        Ok(StockEvent {
            version: self.version,
            change,
        })
    }

    /// The sale that a buyer who names none is shown: the active one (the latest start if there are
    /// several), else the next upcoming, else the one that ended last.
    pub fn featured<'a>(
        sales: impl IntoIterator<Item = &'a Sale>,
        now: Timestamp,
    ) -> Option<&'a Sale> {
        sales.into_iter().max_by_key(|sale| match sale.status(now) {
            SaleStatus::Active => (2, sale.window.start.as_millis(), sale.id),
            SaleStatus::Upcoming => (1, -sale.window.start.as_millis(), sale.id),
            SaleStatus::Ended => (0, sale.window.end.as_millis(), sale.id),
        })
    }
}

/// The names an adapter needs to act for a sale, and the epoch its caller believes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SaleRef {
    /// The sale.
    pub id: SaleId,
    /// What it sells.
    pub product: ProductId,
    /// The generation of its stock as the caller knows it.
    pub epoch: Epoch,
}

/// What a shop can do to a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaleChange {
    /// Stop selling for a while.
    Pause,
    /// Sell again.
    Resume,
    /// Add units; at least one.
    Restock(u64),
    /// Take units out; at least one, and only units that nobody was promised.
    Withdraw(u64),
    /// Sell until this moment, which is later than the end so far.
    Extend(Timestamp),
    /// End it for good. What was reserved is still honoured.
    Close,
}

/// A change of a sale on its way to the stock store. Versions of a sale have no gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StockEvent {
    /// The sale's version after the change.
    pub version: u64,
    /// The change.
    pub change: SaleChange,
}

/// Why a change is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// A closed sale stays as it is.
    #[error("the sale is closed")]
    Closed,
    /// Only a sale that is not paused is paused, and only a paused one resumed.
    #[error("not possible while the sale is {0:?}")]
    Phase(Phase),
    /// A restock adds at least one unit and at most what [`UNITS_MAX`] leaves.
    #[error("must add 1 to {most} units")]
    Units {
        /// The most that could be added.
        most: u64,
    },
    /// A withdrawal takes at least one unit and at most those that nobody has bought or holds.
    #[error("must take 1 to {most} units")]
    Withdrawal {
        /// The most that could be taken.
        most: u64,
    },
    /// A sale is only ever extended.
    #[error("must end later than it does at present")]
    End(Timestamp),
    /// Another sale of the product is in the way.
    #[error("sale {0} already sells this product in a part of that time")]
    Overlaps(SaleId),
    /// A sale that is over can only be closed.
    #[error("the sale is over")]
    Over,
    /// Somebody else has changed the sale in the meantime.
    #[error("somebody else has just changed the sale; look at it and try again")]
    Outdated,
    /// The stock of the sale is not at hand, so nobody can tell what is promised.
    #[error("the stock of the sale is being made ready; try again in a moment")]
    NotReady,
}

/// A sale about to be stored; the repository gives the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSale {
    /// The name of the product; a product of that name is used if there is one, else made.
    pub product_name: String,
    /// What buyers read about a product that is made; ignored for one that exists.
    pub product_description: String,
    /// When it sells.
    pub window: Window,
    /// Units at the start.
    pub stock: u64,
}

impl NewSale {
    /// The longest product name, in characters.
    pub const NAME_MAX: usize = 200;

    /// Checks all that can be checked without knowing the other sales.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), NewSaleRefused> {
        let name = self.product_name.trim();
        if name.is_empty() || name.chars().count() > Self::NAME_MAX {
            return Err(NewSaleRefused::ProductName);
        }
        if self.window.start >= self.window.end {
            return Err(NewSaleRefused::Window);
        }
        if self.stock == 0 || self.stock > UNITS_MAX {
            return Err(NewSaleRefused::Stock);
        }
        Ok(())
    }
}

/// Why a sale is not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewSaleRefused {
    /// A product has a name of 1 to [`NewSale::NAME_MAX`] characters.
    #[error("the product name must have 1 to {max} characters", max = NewSale::NAME_MAX)]
    ProductName,
    /// A sale starts before it ends.
    #[error("the sale must start before it ends")]
    Window,
    /// A sale has stock.
    #[error("the stock must be 1 to {UNITS_MAX} units")]
    Stock,
    /// A product is in one sale at a time.
    #[error("sale {0} already sells this product in a part of that time")]
    Overlaps(SaleId),
}
