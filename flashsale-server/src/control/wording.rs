//! Why something was not done, in words.

use flashsale_core::domain::{ChangeRefused, NewSaleRefused, Role};
use flashsale_core::services::Field;

use super::protocol::Change;
use crate::rfc3339::rfc3339;

pub(super) fn unknown(sale: i64) -> String {
    format!("there is no sale {sale}; `sale list` shows all of them")
}

pub(super) fn unknown_letter(id: i64) -> String {
    format!("there is no dead letter {id}; `dlq list` shows all of them")
}

pub(super) fn sale_refused(refused: NewSaleRefused) -> String {
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

pub(super) fn change_refused(sale: i64, change: Change, refused: ChangeRefused) -> String {
    match (change, refused) {
        (_, ChangeRefused::Closed) => format!("sale {sale} is closed and stays as it is"),
        (_, ChangeRefused::Over) => format!("sale {sale} is over; it can only be closed"),
        (Change::Pause, ChangeRefused::Phase(_)) => format!("sale {sale} is paused already"),
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

pub(super) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Buyer => "buyer",
        Role::Admin => "admin",
    }
}

pub(super) const fn field_name(field: Field) -> &'static str {
    match field {
        Field::Username => "the username",
        Field::Email => "the e-mail address",
        Field::Password => "the password",
        Field::FullName => "the full name",
    }
}
