//! What came of a command, in words.

use std::borrow::Cow;

use flashsale_core::domain::{ChangeRefused, Decision, FailReason, NewSaleRefused, SaleChange};
use flashsale_core::services::Field;

use crate::control::{Happening, Reads, Refusal, Standing, TimelineReport};
use crate::rfc3339::rfc3339;

/// Why something was not done, and what to do about it.
pub(super) fn refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::UnknownSale(id) => {
            format!("there is no sale {id}; `sale list` shows all of them")
        }
        Refusal::UnknownDeadLetter(id) => {
            format!("there is no dead letter {id}; `dlq list` shows all of them")
        }
        Refusal::NewSale(refused) => sale_refused(*refused),
        Refusal::Change {
            sale,
            change,
            refused,
        } => change_refused(*sale, *change, *refused),
        Refusal::UsernameTaken => "another user has this username; choose another one".to_owned(),
        Refusal::EmailTaken => "another user has this e-mail address".to_owned(),
        Refusal::Invalid { field, rule } => format!("{} {rule}", field_name(*field)),
        Refusal::UserId => "a user id is 1 to 64 visible characters".to_owned(),
        Refusal::Undecodable { id, problem } => {
            format!("dead letter {id} still is no order: {problem}")
        }
        Refusal::RequestLate => "the request did not come in time".to_owned(),
        Refusal::RequestUnreadable { problem } => format!("the request cannot be read: {problem}"),
        Refusal::RequestNoLine { max } => {
            format!("a request is one line of JSON, at most {max} bytes")
        }
        Refusal::RequestUnknown => {
            "this server does not know that request; use the program of its version".to_owned()
        }
    }
}

fn sale_refused(refused: NewSaleRefused) -> String {
    match refused {
        NewSaleRefused::Window => {
            format!("{refused}; times like +1h are counted from now")
        }
        NewSaleRefused::Overlaps(_) => {
            format!("{refused}; close that sale or choose another time or product")
        }
        NewSaleRefused::ProductName | NewSaleRefused::Stock => refused.to_string(),
    }
}

fn change_refused(sale: i64, change: SaleChange, refused: ChangeRefused) -> String {
    match (change, refused) {
        (_, ChangeRefused::Closed) => format!("sale {sale} is closed and stays as it is"),
        (_, ChangeRefused::Over) => format!("sale {sale} is over; it can only be closed"),
        (SaleChange::Pause, ChangeRefused::Phase(_)) => format!("sale {sale} is paused already"),
        (_, ChangeRefused::Phase(_)) => format!("sale {sale} is not paused"),
        (_, ChangeRefused::Units { most }) => {
            format!("sale {sale} can be restocked by 1 to {most} units")
        }
        (_, ChangeRefused::Withdrawal { most: 0 }) => {
            format!("sale {sale} has no unit that nobody has bought or holds")
        }
        (_, ChangeRefused::Withdrawal { most }) => format!(
            "1 to {most} units can be withdrawn from sale {sale}; the others are bought or held"
        ),
        (_, ChangeRefused::End(end)) => {
            format!(
                "sale {sale} ends at {} and can only be extended",
                rfc3339(end)
            )
        }
        (_, ChangeRefused::Overlaps(other)) => format!(
            "sale {other} sells the product of sale {sale} in that time; extend to its start at most"
        ),
        (_, ChangeRefused::Outdated) => {
            format!("somebody else has just changed sale {sale}; look at it and try again")
        }
        (_, ChangeRefused::NotReady) => {
            format!("the stock of sale {sale} is being made ready; try again in a few seconds")
        }
    }
}

const fn field_name(field: Field) -> &'static str {
    match field {
        Field::Username => "the username",
        Field::Email => "the e-mail address",
        Field::Password => "the password",
        Field::FullName => "the full name",
    }
}

/// What became of a dead letter that was tried once more.
pub(super) fn replayed(id: i64, decision: Decision) -> String {
    match decision {
        Decision::Success(order) => format!("Dead letter {id} is order {order}."),
        Decision::Failed(reason) => {
            let reason = reason.name();
            format!("Dead letter {id} is an attempt that has failed: {reason}.")
        }
    }
}

/// What happened to a user in a sale.
pub(super) fn happening(what: Happening) -> Cow<'static, str> {
    Cow::Borrowed(match what {
        Happening::SoldOut => "refused: no unit was left",
        Happening::NotStarted => "refused: the sale had not started",
        Happening::Ended => "refused: the sale was over",
        Happening::Paused => "refused: the sale was paused",
        Happening::Accepted => "accepted: a unit was set aside",
        Happening::Allocated => "accepted: a unit is set aside",
        Happening::Decided(Decision::Success(_)) => "bought",
        Happening::Decided(Decision::Failed(reason)) => {
            return format!("not bought: {}", why(reason)).into();
        }
    })
}

const fn why(reason: FailReason) -> &'static str {
    match reason {
        FailReason::NoStock => "no unit was left for it",
        FailReason::Duplicate(_) => "the user has an order already",
        FailReason::StaleEpoch => "it came after the stock had been rebuilt",
        FailReason::Cancelled => "it was given back because the queue did not take it",
        FailReason::Expired => "it expired",
    }
}

/// How things stand between a user and a sale: in one word, and in a sentence.
pub(super) fn standing(timeline: &TimelineReport) -> (&'static str, String) {
    let reads = match timeline.reads {
        Reads::Success => "the buyer reads SUCCESS",
        Reads::Pending => "the buyer reads PENDING",
        Reads::Failed => "the buyer reads FAILED",
        Reads::NoAttempt => "the buyer reads that there was no attempt",
    };
    let undecided = match timeline.standing {
        Standing::Ordered(order) => {
            return ("SUCCESS", format!("Order {order} stands; {reads}."));
        }
        Standing::Queued => "the queue has it",
        Standing::InOutbox => "the outbox has it",
        Standing::SoldWithoutOrder => "the stock store has it as sold, but there is no order",
        Standing::Failed => {
            let nothing = format!("Nothing was bought; {reads} and may try again.");
            return ("FAILED", nothing);
        }
        Standing::Nothing => {
            return ("NONE", "No attempt of this user was accepted.".to_owned());
        }
    };
    let pending = format!("An attempt is not decided yet: {undecided}; {reads}.");
    ("PENDING", pending)
}
