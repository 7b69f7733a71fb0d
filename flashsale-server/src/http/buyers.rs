use flashsale_core::domain::{OrderStatus, ProductId, SaleId, SaleStatus, UserId};
use flashsale_core::services::{Acceptance, AttemptOutcome, Durability};
use poem::Response;
use poem::http::StatusCode;
use poem_openapi::{Enum, Object};
use serde::Serialize;
use uuid::Uuid;

use crate::rfc3339::rfc3339;

use super::api_error::{ApiError, Code};
use super::json::answer;
use super::route::Call;

/// How the featured sale stands.
#[derive(Object, Serialize)]
pub(super) struct SaleStatusAnswer {
    success: bool,
    data: SaleData,
}

/// A sale as a buyer sees it.
#[derive(Object, Serialize)]
#[serde(rename_all = "camelCase")]
#[oai(rename_all = "camelCase", rename = "Sale")]
struct SaleData {
    #[oai(validator(minimum(value = "1")))]
    id: i64,
    status: SaleStatusDto,
    /// The first moment of the sale.
    start_time: String,
    /// The first moment after the sale.
    end_time: String,
    /// The server's time, to count down by.
    current_time: String,
    #[oai(validator(minimum(value = "1")))]
    product_id: i64,
    product_name: String,
    product_description: String,
}

/// Where a sale stands: `ACTIVE` from its start until just before its end.
#[derive(Enum, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[oai(rename_all = "UPPERCASE", rename = "SaleStatus")]
enum SaleStatusDto {
    Upcoming,
    Active,
    Ended,
}

/// An attempt that is kept.
#[derive(Object, Serialize)]
pub(super) struct AttemptAnswer {
    success: bool,
    #[oai(read_only)]
    message: &'static str,
    data: AttemptData,
}

#[derive(Object, Serialize)]
#[serde(rename_all = "camelCase")]
#[oai(rename_all = "camelCase", rename = "Attempt")]
struct AttemptData {
    /// The same whenever this user asks again for this sale.
    attempt_id: Uuid,
    #[oai(validator(minimum(value = "1")))]
    sale_id: i64,
    #[oai(validator(minimum(value = "1")))]
    product_id: i64,
    user_id: String,
    status: ResultStatus,
    durability: DurabilityDto,
}

/// What keeps an attempt: `LOGGED` if the queue or the disk has it, `RESERVED` if the stock store's
/// outbox has it.
#[derive(Enum, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[oai(rename_all = "UPPERCASE", rename = "Durability")]
enum DurabilityDto {
    Logged,
    Reserved,
}

/// How a user stands with a product.
#[derive(Object, Serialize)]
pub(super) struct OrderStatusAnswer {
    success: bool,
    data: OrderStatusData,
}

#[derive(Object, Serialize)]
#[serde(rename_all = "camelCase")]
#[oai(rename_all = "camelCase", rename = "Order")]
struct OrderStatusData {
    #[oai(validator(minimum(value = "1")))]
    product_id: i64,
    user_id: String,
    status: ResultStatus,
    /// Whether the user has an attempt at all; if not, the status is `PENDING`.
    attempted: bool,
}

/// The result of an attempt; `PENDING` as long as there is none.
#[derive(Enum, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[oai(rename_all = "UPPERCASE", rename = "OrderStatus")]
enum ResultStatus {
    Pending,
    Success,
    Failed,
}

impl From<OrderStatus> for ResultStatus {
    fn from(status: OrderStatus) -> Self {
        match status {
            OrderStatus::Pending => Self::Pending,
            OrderStatus::Success => Self::Success,
            OrderStatus::Failed => Self::Failed,
        }
    }
}

/// `GET /api/flash-sale/status`.
pub(super) async fn sale_status(call: Call<'_>) -> Result<Response, ApiError> {
    let services = call.services;
    let featured = services.engine.flash_sale.featured();
    let (sale, status, now) = featured.ok_or(if services.engine.catalogue.is_loaded() {
        Code::NoSale
    } else {
        Code::Unavailable
    })?;
    let data = SaleData {
        id: sale.id.get(),
        status: match status {
            SaleStatus::Upcoming => SaleStatusDto::Upcoming,
            SaleStatus::Active => SaleStatusDto::Active,
            SaleStatus::Ended => SaleStatusDto::Ended,
        },
        start_time: rfc3339(sale.window.start),
        end_time: rfc3339(sale.window.end),
        current_time: rfc3339(now),
        product_id: sale.product.id.get(),
        product_name: sale.product.name.clone(),
        product_description: sale.product.description.clone(),
    };
    let success = true;
    answer(StatusCode::OK, &SaleStatusAnswer { success, data })
}

/// `POST /api/flash-sale/attempt/{saleId}`.
pub(super) async fn attempt(call: Call<'_>) -> Result<Response, ApiError> {
    let user = call.user()?;
    let sale: SaleId = call.id()?;
    match call.services.engine.flash_sale.attempt(user, sale).await? {
        AttemptOutcome::Accepted(acceptance) => accepted(&acceptance, user),
        AttemptOutcome::SoldOut => Err(Code::SoldOut.into()),
        AttemptOutcome::NotStarted { starts_at } => Err(ApiError::new(
            Code::SaleNotStarted,
            format!("The sale starts at {}.", rfc3339(starts_at)),
        )),
        AttemptOutcome::Ended => Err(Code::SaleEnded.into()),
        AttemptOutcome::Paused => Err(Code::SalePaused.into()),
        AttemptOutcome::Recovering => Err(Code::Unavailable.into()),
        AttemptOutcome::UnknownSale => Err(Code::SaleNotFound.into()),
    }
}

fn accepted(acceptance: &Acceptance, user: &UserId) -> Result<Response, ApiError> {
    let message = match acceptance.status {
        OrderStatus::Pending => "Your attempt is accepted; its result follows.",
        OrderStatus::Success => "You have bought it.",
        OrderStatus::Failed => "Your attempt has failed.",
    };
    let data = AttemptData {
        attempt_id: acceptance.attempt.as_uuid(),
        sale_id: acceptance.sale.get(),
        product_id: acceptance.product.get(),
        user_id: user.as_str().to_owned(),
        status: acceptance.status.into(),
        durability: match acceptance.durability {
            Durability::Logged => DurabilityDto::Logged,
            Durability::Reserved => DurabilityDto::Reserved,
        },
    };
    let accepted = AttemptAnswer {
        success: true,
        message,
        data,
    };
    answer(StatusCode::OK, &accepted)
}

/// `GET /api/orders/status/{productId}`.
pub(super) async fn order_status(call: Call<'_>) -> Result<Response, ApiError> {
    let user = call.user()?;
    let product: ProductId = call.id()?;
    let flash_sale = &call.services.engine.flash_sale;
    let purchase = flash_sale.purchase_status(user, product).await?;
    let data = OrderStatusData {
        product_id: product.get(),
        user_id: user.as_str().to_owned(),
        status: purchase.status.into(),
        attempted: purchase.attempted,
    };
    let success = true;
    answer(StatusCode::OK, &OrderStatusAnswer { success, data })
}
