//! How values of the domain are written in Redis, and how answers of the scripts are read.

use std::str::FromStr;

use flashsale_core::domain::{
    Allocation, AllocationState, Attempt, AttemptId, Buyer, Decision, Epoch, FailReason, Kept,
    Levels, Phase, ProductId, Quantity, SaleId, SaleRef, SaleResult, Timestamp, UserId,
};
use redis::Value;

use crate::error::Fault;

/// What was read, or the fault that it is not what was written.
pub(crate) type Read<T> = Result<T, Fault>;

fn damaged(what: &str, text: &str) -> Fault {
    Fault::damaged(format!("{what} is not readable: {text:?}"))
}

/// The letter of a phase.
pub(crate) const fn phase_letter(phase: Phase) -> &'static str {
    match phase {
        Phase::Scheduled => "S",
        Phase::Open => "O",
        Phase::Paused => "P",
        Phase::Recovering => "F",
        Phase::Closed => "X",
    }
}

fn phase(letter: &str) -> Option<Phase> {
    Some(match letter {
        "S" => Phase::Scheduled,
        "O" => Phase::Open,
        "P" => Phase::Paused,
        "F" => Phase::Recovering,
        "X" => Phase::Closed,
        _ => return None,
    })
}

/// An allocation from `R|attempt|quantity|epoch|seq|ms`, the same with `L`, or
/// `C|attempt|quantity|epoch|seq|ms|order`.
pub(crate) fn allocation(text: &str) -> Read<Allocation> {
    let mut parts = text.split('|');
    let mut next = || parts.next();
    let read = (|| {
        let state = next()?;
        let attempt = parse(next()?)?;
        let quantity = Quantity::new(parse(next()?)?)?;
        let epoch = Epoch::new(parse(next()?)?);
        let seq = parse(next()?)?;
        let reserved_at = Timestamp::from_millis(parse(next()?)?);
        let state = match state {
            "R" => AllocationState::Reserved { logged: false },
            "L" => AllocationState::Reserved { logged: true },
            "C" => AllocationState::Sold(parse(next()?)?),
            _ => return None,
        };
        Some(Allocation {
            attempt,
            quantity,
            epoch,
            seq,
            reserved_at,
            state,
        })
    })();
    read.ok_or_else(|| damaged("an allocation", text))
}

/// The allocation of a buyer whose order was there when the stock was opened.
pub(crate) fn bought(buyer: &Buyer, epoch: Epoch) -> String {
    let Buyer {
        attempt,
        quantity,
        order,
        reserved_at,
        ..
    } = buyer;
    let (units, ms) = (quantity.units(), reserved_at.as_millis());
    format!("C|{attempt}|{units}|{epoch}|0|{ms}|{order}")
}

/// The letter and the reference of a decision, as `settle` takes them.
pub(crate) fn decision(decision: &Decision) -> (&'static str, String) {
    match decision {
        Decision::Success(order) => ("C", order.to_string()),
        Decision::Failed(FailReason::NoStock) => ("V", String::new()),
        Decision::Failed(FailReason::Duplicate(Kept {
            order,
            attempt,
            quantity,
        })) => ("D", format!("{order}|{attempt}|{}", quantity.units())),
        Decision::Failed(FailReason::StaleEpoch | FailReason::Cancelled | FailReason::Expired) => {
            ("R", String::new())
        }
    }
}

/// A result as it is kept: the first character is `1` for a success and `0` for a failure.
pub(crate) fn result_text(result: &SaleResult) -> String {
    let SaleResult { sale, attempt, .. } = result;
    let ms = result.reserved_at.as_millis();
    match result.decision {
        Decision::Success(order) => format!("1|{sale}|{attempt}|{order}|{ms}"),
        Decision::Failed(reason) => match reason {
            FailReason::Duplicate(kept) => format!(
                "0|{sale}|{attempt}|{}|{}|{}|{}|{ms}",
                reason.name(),
                kept.order,
                kept.attempt,
                kept.quantity.units()
            ),
            FailReason::NoStock
            | FailReason::StaleEpoch
            | FailReason::Cancelled
            | FailReason::Expired => format!("0|{sale}|{attempt}|{}|{ms}", reason.name()),
        },
    }
}

/// A result as it was kept.
pub(crate) fn result(text: &str, product: ProductId, user: &UserId) -> Read<SaleResult> {
    let parts: Vec<_> = text.split('|').collect();
    let read = (|| {
        let (ms, parts) = parts.split_last()?;
        let (sale, attempt, decision) = match *parts {
            ["1", sale, attempt, order] => (sale, attempt, Decision::Success(parse(order)?)),
            ["0", sale, attempt, reason] => {
                let reason = match reason {
                    "NO_STOCK" => FailReason::NoStock,
                    "STALE_EPOCH" => FailReason::StaleEpoch,
                    "CANCELLED" => FailReason::Cancelled,
                    "EXPIRED" => FailReason::Expired,
                    _ => return None,
                };
                (sale, attempt, Decision::Failed(reason))
            }
            ["0", sale, attempt, "DUPLICATE", order, kept, quantity] => {
                let kept = Kept {
                    order: parse(order)?,
                    attempt: parse(kept)?,
                    quantity: Quantity::new(parse(quantity)?)?,
                };
                let duplicate = FailReason::Duplicate(kept);
                (sale, attempt, Decision::Failed(duplicate))
            }
            _ => return None,
        };
        Some(SaleResult {
            user: user.clone(),
            product,
            sale: parse::<SaleId>(sale)?,
            attempt: parse::<AttemptId>(attempt)?,
            decision,
            reserved_at: Timestamp::from_millis(parse(ms)?),
        })
    })();
    read.ok_or_else(|| damaged("a result", text))
}

/// Attempts from `user, allocation, user, allocation, ...`.
pub(crate) fn attempts(sale: &SaleRef, answer: Value) -> Read<Vec<Attempt>> {
    let fields = texts(answer)?;
    let attempts = fields.chunks(2).map(|pair| {
        let [user, text] = pair else {
            return Err(damaged("an undecided attempt", &pair.join(" ")));
        };
        let user = UserId::new(user).map_err(|_| damaged("a user", user))?;
        Ok(allocation(text)?.to_attempt(sale.id, sale.product, user))
    });
    attempts.collect()
}

/// The answer of `levels` and `fence`.
pub(crate) fn levels(answer: Value) -> Read<Option<Levels>> {
    if answer == Value::Nil {
        return Ok(None);
    }
    let fields = list(answer)?;
    let mut oldest = None;
    for kept in fields.iter().skip(10).filter(|kept| **kept != Value::Nil) {
        let at = allocation(text(kept)?)?.reserved_at;
        oldest = Some(oldest.map_or(at, |other: Timestamp| other.min(at)));
    }
    let number = |at: usize| fields.get(at).and_then(count);
    let read = (|| {
        Some(Levels {
            epoch: Epoch::new(u32::try_from(number(0)?).ok()?),
            seq: number(1)?,
            version: number(2)?,
            phase: phase(text(fields.get(3)?).ok()?)?,
            available: number(4)?,
            reserved: number(5)?,
            sold: number(6)?,
            undecided: number(7)?,
            unpublished: number(8)?,
            oldest_reserved_at: oldest,
        })
    })();
    read.map(Some)
        .ok_or_else(|| damaged("a sale's counters", &format!("{fields:?}")))
}

/// A value as text.
pub(crate) fn text(value: &Value) -> Read<&str> {
    let text = match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text.as_str()),
        Value::Okay => Some("OK"),
        _ => None,
    };
    text.ok_or_else(|| damaged("an answer", &format!("{value:?}")))
}

/// A list of texts.
pub(crate) fn texts(value: Value) -> Read<Vec<String>> {
    let Value::Array(values) = value else {
        return Err(damaged("an answer", &format!("{value:?}")));
    };
    let texts = values.into_iter().map(|value| match value {
        Value::BulkString(bytes) => {
            String::from_utf8(bytes).map_err(|_| damaged("an answer", "no text"))
        }
        other => text(&other).map(str::to_owned),
    });
    texts.collect()
}

/// A list of what may be missing.
pub(crate) fn list(value: Value) -> Read<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(damaged("an answer", &format!("{other:?}"))),
    }
}

/// A number that is written as such or as text.
pub(crate) fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        other => parse(text(other).ok()?),
    }
}

/// A moment in milliseconds.
pub(crate) fn moment(value: &Value) -> Read<Timestamp> {
    let written = text(value)?;
    let ms = parse(written).ok_or_else(|| damaged("a moment", written))?;
    Ok(Timestamp::from_millis(ms))
}

/// A number or an id.
pub(crate) fn parse<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use flashsale_core::domain::OrderId;

    use super::*;

    fn id(number: u128) -> AttemptId {
        AttemptId::from_uuid(uuid::Uuid::from_u128(number))
    }

    fn order(number: i64) -> OrderId {
        OrderId::new(number).unwrap()
    }

    #[test]
    fn allocations_are_read_as_they_are_written() {
        let text = format!("L|{}|2|3|44|-5", id(1));
        let read = allocation(&text).unwrap();
        assert_eq!((read.attempt, read.quantity.units()), (id(1), 2));
        assert_eq!((read.epoch, read.seq), (Epoch::new(3), 44));
        assert_eq!(read.reserved_at, Timestamp::from_millis(-5));
        assert_eq!(read.state, AllocationState::Reserved { logged: true });
        let buyer = Buyer {
            user: UserId::new("ann").unwrap(),
            attempt: id(2),
            quantity: Quantity::ONE,
            order: order(9),
            reserved_at: Timestamp::from_millis(7),
        };
        let read = allocation(&bought(&buyer, Epoch::new(4))).unwrap();
        assert_eq!(read.state, AllocationState::Sold(order(9)));
        assert_eq!((read.epoch, read.seq), (Epoch::new(4), 0));
    }

    #[test]
    fn damaged_allocations_are_faults() {
        for text in [
            "",
            "R",
            "R|x|1|1|1|1",
            "Z|x",
            "C|00000000-0000-0000-0000-000000000001|1|1|1|1",
        ] {
            assert!(allocation(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_result_is_read_as_it_is_written() {
        let kept = Kept {
            order: order(5),
            attempt: id(6),
            quantity: Quantity::new(2).unwrap(),
        };
        let (user, product) = (UserId::new("a|b").unwrap(), ProductId::new(3).unwrap());
        for decision in [
            Decision::Success(order(i64::MAX)),
            Decision::Failed(FailReason::NoStock),
            Decision::Failed(FailReason::Duplicate(kept)),
            Decision::Failed(FailReason::StaleEpoch),
            Decision::Failed(FailReason::Cancelled),
            Decision::Failed(FailReason::Expired),
        ] {
            let written = SaleResult {
                user: user.clone(),
                product,
                sale: SaleId::new(i64::MAX).unwrap(),
                attempt: id(1),
                decision,
                reserved_at: Timestamp::from_millis(-5),
            };
            let text = result_text(&written);
            assert_eq!(result(&text, product, &user).unwrap(), written, "{text}");
        }
        assert!(result("0|1|x|GONE", product, &user).is_err());
    }
}
