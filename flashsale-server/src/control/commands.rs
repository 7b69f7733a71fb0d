use flashsale_core::PortError;
use flashsale_core::domain::{NewSale, Role, SaleChange, SaleId, Timestamp, UserId, Window};
use flashsale_core::services::{
    ChangeSaleOutcome, RegisterOutcome, Registration, RegistrationInvalid, ReplayOutcome, SaleView,
};

use super::protocol::{NewSaleRequest, NewUserRequest, Reply, Request, SaleLine, UserLine};
use super::{Refusal, reports};
use crate::error_chain::error_chain;
use crate::{Operations, Services};

/// Carries requests out, in the command's own process or in a server.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    operations: Operations,
}

impl Commands {
    /// On these services.
    pub(crate) fn new(services: &Services) -> Self {
        Self {
            operations: Operations::new(services),
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
            Request::UserTimeline { sale, user } => self.timeline(sale, &user).await,
            Request::DeadLetters { after, max } => self.dead_letters(after, max).await,
            Request::DeadLetter { id } => self.dead_letter(id).await,
            Request::Replay { id } => self.replay(id).await,
        };
        reply.unwrap_or_else(|error| Reply::Failed(error_chain(&error)))
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
        Ok(match self.operations.create_sale(&new).await? {
            Ok(view) => Reply::Sale(self.line(&view)),
            Err(refused) => Reply::Refused(Refusal::NewSale(refused)),
        })
    }

    async fn list_sales(&self) -> Result<Reply, PortError> {
        let views = self.operations.sales().await?;
        Ok(Reply::Sales(
            views.iter().map(|view| self.line(view)).collect(),
        ))
    }

    async fn show_sale(&self, id: i64) -> Result<Reply, PortError> {
        let view = match SaleId::new(id) {
            Ok(id) => self.operations.sale(id).await?,
            Err(_) => None,
        };
        Ok(view.map_or_else(|| unknown(id), |view| Reply::Sale(self.line(&view))))
    }

    async fn change_sale(&self, id: i64, change: SaleChange) -> Result<Reply, PortError> {
        let Ok(sale) = SaleId::new(id) else {
            return Ok(unknown(id));
        };
        Ok(match self.operations.change_sale(sale, change).await? {
            ChangeSaleOutcome::Changed(view) => Reply::Sale(self.line(&view)),
            ChangeSaleOutcome::Refused(refused) => Reply::Refused(Refusal::Change {
                sale: id,
                change,
                refused,
            }),
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
        Ok(match self.operations.create_user(registration).await? {
            RegisterOutcome::Registered(user) => Reply::User(UserLine {
                user_id: user.id.to_string(),
                username: user.username,
                email: user.email,
                role: role_name(user.role).to_owned(),
            }),
            RegisterOutcome::UsernameTaken => Reply::Refused(Refusal::UsernameTaken),
            RegisterOutcome::EmailTaken => Reply::Refused(Refusal::EmailTaken),
            RegisterOutcome::Invalid(RegistrationInvalid { field, rule }) => {
                Reply::Refused(Refusal::Invalid { field, rule })
            }
        })
    }

    async fn audit(&self, id: i64, repair: bool) -> Result<Reply, PortError> {
        let Ok(sale) = SaleId::new(id) else {
            return Ok(unknown(id));
        };
        if repair {
            self.operations.repair(sale).await?;
        }
        Ok(match self.operations.audit(sale).await? {
            Some(account) => {
                let line = self.line(&reports::view(&account));
                Reply::Audit(reports::report(&account, line))
            }
            None => unknown(id),
        })
    }

    async fn timeline(&self, id: i64, user: &str) -> Result<Reply, PortError> {
        let Ok(user) = UserId::new(user) else {
            return Ok(Reply::Refused(Refusal::UserId));
        };
        let Ok(sale) = SaleId::new(id) else {
            return Ok(unknown(id));
        };
        let Some(timeline) = self.operations.timeline(sale, &user).await? else {
            return Ok(unknown(id));
        };
        let line = self.line(&SaleView {
            sale: timeline.sale.clone(),
            levels: None,
        });
        Ok(Reply::UserTimeline(reports::timeline(
            &timeline, line, &user,
        )))
    }

    async fn dead_letters(&self, after: i64, max: usize) -> Result<Reply, PortError> {
        let letters = self.operations.dead_letters(Some(after), max).await?;
        Ok(Reply::DeadLetters(
            letters.iter().map(reports::letter).collect(),
        ))
    }

    async fn dead_letter(&self, id: i64) -> Result<Reply, PortError> {
        let found = self.operations.dead_letter(id).await?;
        Ok(found.map_or_else(
            || unknown_letter(id),
            |found| Reply::DeadLetter(reports::letter(&found)),
        ))
    }

    async fn replay(&self, id: i64) -> Result<Reply, PortError> {
        Ok(match self.operations.replay(id).await? {
            ReplayOutcome::Decided(decision) => Reply::Replayed { id, decision },
            ReplayOutcome::Undecodable(problem) => {
                Reply::Refused(Refusal::Undecodable { id, problem })
            }
            ReplayOutcome::Unknown => unknown_letter(id),
        })
    }

    fn line(&self, view: &SaleView) -> SaleLine {
        reports::line(view, self.operations.clock().now())
    }
}

fn unknown(sale: i64) -> Reply {
    Reply::Refused(Refusal::UnknownSale(sale))
}

fn unknown_letter(id: i64) -> Reply {
    Reply::Refused(Refusal::UnknownDeadLetter(id))
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Buyer => "buyer",
        Role::Admin => "admin",
    }
}
