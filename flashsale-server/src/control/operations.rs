use std::error::Error;
use std::sync::Arc;

use flashsale_core::PortError;
use flashsale_core::domain::{
    ChangeRefused, Decision, NewSale, NewSaleRefused, Phase, Role, SaleChange, SaleId, SaleStatus,
    Timestamp, UserId, Window,
};
use flashsale_core::ports::{Clock, DeadLetter};
use flashsale_core::services::{
    AuthService, ChangeSaleOutcome, DeadLetters, Field, RegisterOutcome, Registration,
    ReplayOutcome, SaleService, SaleView,
};
use flashsale_server::Services;

use super::accounts::{self, Accounts};
use super::protocol::{
    Change, LetterLine, NewSaleRequest, NewUserRequest, Reply, Request, SaleLine, UserLine,
};
use crate::moment::rfc3339;

/// Carries requests out, in the command's own process or in a server.
#[derive(Clone, Debug)]
pub(crate) struct Operations {
    sales: SaleService,
    accounts: Accounts,
    dead_letters: DeadLetters,
    auth: AuthService,
    clock: Arc<dyn Clock>,
}

impl Operations {
    /// On these services.
    pub(crate) fn new(services: &Services) -> Self {
        Self {
            sales: services.engine.sales.clone(),
            accounts: Accounts::new(services),
            dead_letters: services.engine.dead_letters.clone(),
            auth: services.auth.clone(),
            clock: Arc::clone(&services.auth.clock),
        }
    }

    /// Does what is asked. A fault is answered as [`Reply::Failed`].
    pub(crate) async fn perform(&self, request: Request) -> Reply {
        let reply = match request {
            Request::Ping => Ok(Reply::Pong),
            Request::SaleCreate(request) => self.create_sale(request).await,
            Request::SaleList => self.list_sales().await,
            Request::SaleShow { sale } => self.show_sale(sale).await,
            Request::SaleChange { sale, change } => self.change_sale(sale, change).await,
            Request::UserCreate(request) => self.create_user(request).await,
            Request::Audit { sale, repair } => self.audit(sale, repair).await,
            Request::UserTimeline { sale, user } => self.story(sale, &user).await,
            Request::DeadLetters { after, max } => self.dead_letters(after, max).await,
            Request::DeadLetter { id } => self.dead_letter(id).await,
            Request::Replay { id } => self.replay(id).await,
        };
        reply.unwrap_or_else(|error| Reply::Failed(with_causes(&error)))
    }

    async fn create_sale(&self, request: NewSaleRequest) -> Result<Reply, PortError> {
        let new = NewSale {
            product_name: request.product,
            product_description: request.description,
            window: Window {
                start: Timestamp::from_millis(request.start_ms),
                end: Timestamp::from_millis(request.end_ms),
            },
            stock: request.stock,
        };
        Ok(match self.sales.create(&new).await? {
            Ok(view) => Reply::Sale(self.line(&view)),
            Err(refused) => Reply::Refused(sale_refused(refused)),
        })
    }

    async fn list_sales(&self) -> Result<Reply, PortError> {
        let views = self.sales.list().await?;
        Ok(Reply::Sales(
            views.iter().map(|view| self.line(view)).collect(),
        ))
    }

    async fn show_sale(&self, id: i64) -> Result<Reply, PortError> {
        let view = match SaleId::new(id) {
            Ok(id) => self.sales.find(id).await?,
            Err(_) => None,
        };
        Ok(view.map_or_else(|| unknown(id), |view| Reply::Sale(self.line(&view))))
    }

    async fn change_sale(&self, id: i64, change: Change) -> Result<Reply, PortError> {
        let Ok(sale) = SaleId::new(id) else {
            return Ok(unknown(id));
        };
        let made = match change {
            Change::Pause => SaleChange::Pause,
            Change::Resume => SaleChange::Resume,
            Change::Restock(units) => SaleChange::Restock(units),
            Change::Withdraw(units) => SaleChange::Withdraw(units),
            Change::Extend { end_ms } => SaleChange::Extend(Timestamp::from_millis(end_ms)),
            Change::Close => SaleChange::Close,
        };
        Ok(match self.sales.change(sale, made).await? {
            ChangeSaleOutcome::Changed(view) => Reply::Sale(self.line(&view)),
            ChangeSaleOutcome::Refused(refused) => {
                Reply::Refused(change_refused(id, change, refused))
            }
            ChangeSaleOutcome::UnknownSale => unknown(id),
        })
    }

    async fn create_user(&self, request: NewUserRequest) -> Result<Reply, PortError> {
        let role = if request.admin {
            Role::Admin
        } else {
            Role::Buyer
        };
        let registration = Registration {
            username: request.username,
            email: request.email,
            password: request.password,
            full_name: request.full_name,
            role,
        };
        Ok(match self.auth.register(registration).await? {
            RegisterOutcome::Registered(user) => Reply::User(UserLine {
                user_id: user.id.to_string(),
                username: user.username,
                email: user.email,
                role: role_name(user.role).to_owned(),
            }),
            RegisterOutcome::UsernameTaken => {
                Reply::Refused("another user has this username; choose another one".to_owned())
            }
            RegisterOutcome::EmailTaken => {
                Reply::Refused("another user has this e-mail address".to_owned())
            }
            RegisterOutcome::Invalid(invalid) => {
                Reply::Refused(format!("{} {}", field_name(invalid.field), invalid.rule))
            }
        })
    }

    async fn audit(&self, id: i64, repair: bool) -> Result<Reply, PortError> {
        let Ok(sale) = SaleId::new(id) else {
            return Ok(unknown(id));
        };
        if repair {
            self.accounts.mend(sale).await?;
        }
        Ok(match self.accounts.reconcile(sale).await? {
            Some(account) => {
                let line = self.line(&accounts::view(&account));
                Reply::Audit(accounts::report(&account, line))
            }
            None => unknown(id),
        })
    }

    async fn story(&self, id: i64, user: &str) -> Result<Reply, PortError> {
        let Ok(user) = UserId::new(user) else {
            let why = "a user id is 1 to 64 visible characters".to_owned();
            return Ok(Reply::Refused(why));
        };
        let Ok(sale) = SaleId::new(id) else {
            return Ok(unknown(id));
        };
        let Some(story) = self.accounts.story(sale, &user).await? else {
            return Ok(unknown(id));
        };
        let line = self.line(&SaleView {
            sale: story.sale.clone(),
            levels: None,
        });
        Ok(Reply::UserTimeline(accounts::told(&story, line, &user)))
    }

    async fn dead_letters(&self, after: i64, max: usize) -> Result<Reply, PortError> {
        let letters = self.dead_letters.list(Some(after), max).await?;
        Ok(Reply::DeadLetters(letters.iter().map(letter).collect()))
    }

    async fn dead_letter(&self, id: i64) -> Result<Reply, PortError> {
        let found = self.dead_letters.find(id).await?;
        Ok(found.map_or_else(
            || unknown_letter(id),
            |found| Reply::DeadLetter(letter(&found)),
        ))
    }

    async fn replay(&self, id: i64) -> Result<Reply, PortError> {
        Ok(match self.dead_letters.replay(id).await? {
            ReplayOutcome::Decided(Decision::Success(order)) => {
                Reply::Replayed(format!("Dead letter {id} is order {order}."))
            }
            ReplayOutcome::Decided(Decision::Failed(reason)) => Reply::Replayed(format!(
                "Dead letter {id} is an attempt that has failed: {}.",
                reason.name()
            )),
            ReplayOutcome::Undecodable(problem) => {
                Reply::Refused(format!("dead letter {id} still is no order: {problem}"))
            }
            ReplayOutcome::Unknown => unknown_letter(id),
        })
    }

    fn line(&self, view: &SaleView) -> SaleLine {
        let sale = &view.sale;
        let status = match (sale.status(self.clock.now()), sale.phase) {
            (SaleStatus::Ended, _) => "ENDED",
            (_, Phase::Paused) => "PAUSED",
            (SaleStatus::Upcoming, _) => "UPCOMING",
            (SaleStatus::Active, _) => "ACTIVE",
        };
        SaleLine {
            id: sale.id.get(),
            product_id: sale.product.id.get(),
            product_name: sale.product.name.clone(),
            status: status.to_owned(),
            stock: sale.total_stock(),
            available: view.available(),
            start_time: rfc3339(sale.window.start),
            end_time: rfc3339(sale.window.end),
        }
    }
}

fn unknown(sale: i64) -> Reply {
    Reply::Refused(format!(
        "there is no sale {sale}; `sale list` shows all of them"
    ))
}

fn unknown_letter(id: i64) -> Reply {
    Reply::Refused(format!(
        "there is no dead letter {id}; `dlq list` shows all of them"
    ))
}

fn letter(letter: &DeadLetter) -> LetterLine {
    let item = &letter.item;
    let stored = item.content.stored();
    let payload = match std::str::from_utf8(&stored) {
        Ok(text) if !text.contains(|c: char| c.is_control() && c != '\n') => text.to_owned(),
        _ => {
            let digits = stored.iter().map(|byte| format!("{byte:02x}"));
            digits.fold("0x".to_owned(), |text, byte| text + &byte)
        }
    };
    LetterLine {
        id: letter.id,
        kept_at: rfc3339(letter.kept_at),
        replayed_at: letter.replayed_at.map(rfc3339),
        position: item.position.clone(),
        problem: item.problem.clone(),
        payload,
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

fn change_refused(sale: i64, change: Change, refused: ChangeRefused) -> String {
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

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Buyer => "buyer",
        Role::Admin => "admin",
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

/// An error and what caused it, in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.replace('\n', " ")
}
