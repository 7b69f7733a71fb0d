use flashsale_core::domain::{ProductId, UserId};

/// The number of slots of a Redis Cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// The keys of a product's stock. The braces are literal: the product is the hash tag, so that all
/// keys are in one slot.
#[derive(Debug)]
pub(crate) struct StockKeys {
    /// Units available.
    pub(crate) stock: String,
    /// The sale that has the place, and its counters.
    pub(crate) sale: String,
    /// Who holds units.
    pub(crate) users: String,
    /// Users whose attempt is not decided, by seq, and those whose attempt the queue has behind the
    /// others.
    pub(crate) outbox: String,
    /// Where they are.
    pub(crate) slot: u16,
    loading: String,
}

impl StockKeys {
    pub(crate) fn new(prefix: &str, product: ProductId) -> Self {
        let key = |name: &str| format!("{prefix}:{name}:{{{product}}}");
        Self {
            stock: key("stock"),
            sale: key("sale"),
            users: key("users"),
            outbox: key("outbox"),
            slot: slot(product.to_string().as_bytes()),
            loading: key("loading"),
        }
    }

    /// Where a loader puts buyers aside. Each has its own.
    pub(crate) fn loading(&self, loader: uuid::Uuid) -> String {
        format!("{}:{loader}", self.loading)
    }
}

/// The key of a user's result for a product.
pub(crate) fn result(prefix: &str, product: ProductId, user: &UserId) -> String {
    format!("{prefix}:result:{{{user}}}:{{{product}}}")
}

/// The slot of a key: that of its hash tag, if it has one.
pub(crate) fn slot_of(key: &str) -> u16 {
    let tag = key.find('{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.find('}')?;
        (close > 0).then(|| &rest[..close])
    });
    slot(tag.unwrap_or(key).as_bytes())
}

/// CRC-16/XMODEM modulo the number of slots, as the Redis Cluster specification has it.
fn slot(tag: &[u8]) -> u16 {
    let mut crc: u16 = 0;
    for byte in tag {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_the_documented_ones_in_one_slot() {
        let keys = StockKeys::new("flashsale", ProductId::new(42).unwrap());
        assert_eq!(keys.stock, "flashsale:stock:{42}");
        let all = [&keys.stock, &keys.sale, &keys.users, &keys.outbox];
        assert!(all.iter().all(|key| slot_of(key) == keys.slot));
        assert_eq!(slot_of(&keys.loading(uuid::Uuid::nil())), keys.slot);
        // What `CLUSTER KEYSLOT 'flashsale:stock:{42}'` says.
        assert_eq!(keys.slot, 8_000);
    }

    #[test]
    fn a_result_is_in_the_slot_of_its_user() {
        let (product, user) = (ProductId::new(7).unwrap(), UserId::new("ann").unwrap());
        let key = result("flashsale", product, &user);
        assert_eq!(key, "flashsale:result:{ann}:{7}");
        assert_eq!(slot_of(&key), slot(b"ann"));
        // An empty tag is none, and the check value of CRC-16/XMODEM is 0x31C3.
        assert_eq!(slot_of("a{}b"), slot(b"a{}b"));
        assert_eq!(slot(b"123456789"), 0x31C3);
    }
}
