use std::error::Error;
use std::sync::Arc;

use flashsale_core::PortError;
use flashsale_core::domain::{
    ChangeRefused, NewSale, NewSaleRefused, Phase, Role, SaleChange, SaleId, SaleStatus, Timestamp,
    Window,
};
use flashsale_core::ports::Clock;
use flashsale_core::services::{
    Account, Auditor, AuthService, ChangeSaleOutcome, Field, RegisterOutcome, Registration,
    SaleService, SaleView, Verdict,
};
use flashsale_server::Services;

use super::protocol::{
    AuditReport, Change, NewSaleWish, NewUserWish, Reply, Request, SaleLine, StoreLevels, UserLine,
};
use crate::moment::rfc3339;

/// Carries requests out, in the command's own process or in a server.
#[derive(Clone, Debug)]
pub(crate) struct Operations {
    sales: SaleService,
    auditor: Auditor,
    auth: AuthService,
    clock: Arc<dyn Clock>,
}

impl Operations {
    /// On these services.
    pub(crate) fn new(services: &Services) -> Self {
        Self {
            sales: services.engine.sales.clone(),
            auditor: services.engine.auditor.clone(),
            auth: services.auth.clone(),
            clock: Arc::clone(&services.auth.clock),
        }
    }

    /// Does what is asked. A fault is answered as [`Reply::Failed`].
    pub(crate) async fn perform(&self, request: Request) -> Reply {
        let reply = match request {
            Request::Ping => Ok(Reply::Pong),
            Request::SaleCreate(wish) => self.create_sale(wish).await,
            Request::SaleList => self.list_sales().await,
            Request::SaleShow { sale } => self.show_sale(sale).await,
            Request::SaleChange { sale, change } => self.change_sale(sale, change).await,
            Request::UserCreate(wish) => self.create_user(wish).await,
            Request::Audit { sale } => self.audit(sale).await,
        };
        reply.unwrap_or_else(|error| Reply::Failed(with_causes(&error)))
    }

    async fn create_sale(&self, wish: NewSaleWish) -> Result<Reply, PortError> {
        let new = NewSale {
            product_name: wish.product,
            product_description: wish.description,
            window: Window {
                start: Timestamp::from_millis(wish.start_ms),
                end: Timestamp::from_millis(wish.end_ms),
            },
            stock: wish.stock,
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

    async fn create_user(&self, wish: NewUserWish) -> Result<Reply, PortError> {
        let role = if wish.admin { Role::Admin } else { Role::Buyer };
        let registration = Registration {
            username: wish.username,
            email: wish.email,
            password: wish.password,
            full_name: wish.full_name,
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

    async fn audit(&self, id: i64) -> Result<Reply, PortError> {
        let account = match SaleId::new(id) {
            Ok(id) => self.auditor.account(id).await?,
            Err(_) => None,
        };
        Ok(account.map_or_else(|| unknown(id), |account| Reply::Audit(self.report(account))))
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

    fn report(&self, account: Account) -> AuditReport {
        let verdict = match account.verdict() {
            Verdict::Exact => "EXACT",
            Verdict::Drift => "DRIFT",
            Verdict::Violation => "VIOLATION",
        };
        let view = SaleView {
            sale: account.sale,
            levels: account.levels,
        };
        AuditReport {
            sale: self.line(&view),
            verdict: verdict.to_owned(),
            stock: account.totals.stock,
            sold: account.totals.sold,
            remaining: account.totals.remaining,
            orders: account.totals.orders,
            failed: account.totals.failed,
            doubled_users: account.totals.doubled_users,
            store: view.levels.map(|levels| StoreLevels {
                available: levels.available,
                reserved: levels.reserved,
                sold: levels.sold,
            }),
            findings: account.findings.iter().map(ToString::to_string).collect(),
        }
    }
}

fn unknown(sale: i64) -> Reply {
    Reply::Refused(format!(
        "there is no sale {sale}; `sale list` shows all of them"
    ))
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
