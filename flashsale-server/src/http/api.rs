use std::sync::Arc;
use std::time::Duration;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::{Html, PlainText};
use poem_openapi::types::Any;
use poem_openapi::{OpenApi, Tags};
use serde_json::Value;

use crate::app::Services;

use super::auth::{self, LoginAnswer, LoginRequest, RegisterAnswer, RegisterRequest};
use super::bearer::Buyer;
use super::body::JsonBody;
use super::buyers::{self, AttemptAnswer, OrderStatusAnswer, SaleStatusAnswer};
use super::operation::{Answer, JsonAnswer};
use super::path_id::PathId;
use super::service::{self, HealthAnswer, ReadyAnswer};

/// All routes as documented operations. Each ends in the function that answers it, whichever way
/// the request came.
pub(super) struct Api {
    pub(super) ready_timeout: Duration,
}

#[derive(Tags)]
enum Tag {
    /// Users and their tokens.
    Auth,
    /// The sale and the attempts to buy in it.
    #[oai(rename = "Flash sale")]
    FlashSale,
    /// For operators.
    Service,
}

#[OpenApi]
impl Api {
    /// Make a user
    #[oai(
        path = "/api/auth/register",
        method = "post",
        operation_id = "register",
        tag = "Tag::Auth"
    )]
    async fn register(
        &self,
        services: Data<&Arc<Services>>,
        body: JsonBody<RegisterRequest>,
    ) -> JsonAnswer<201, RegisterAnswer> {
        auth::register(&services, body.0).await.into()
    }

    /// Get a token
    ///
    /// An unknown user and a wrong password get the same answer in about the same time.
    #[oai(
        path = "/api/auth/login",
        method = "post",
        operation_id = "login",
        tag = "Tag::Auth"
    )]
    async fn login(
        &self,
        services: Data<&Arc<Services>>,
        body: JsonBody<LoginRequest>,
    ) -> JsonAnswer<200, LoginAnswer> {
        auth::login(&services, body.0).await.into()
    }

    /// See the sale
    ///
    /// The active sale (the latest start if there are several), else the next one, else the one
    /// that ended last.
    #[oai(
        path = "/api/flash-sale/status",
        method = "get",
        operation_id = "saleStatus",
        tag = "Tag::FlashSale"
    )]
    async fn sale_status(
        &self,
        services: Data<&Arc<Services>>,
        _buyer: Buyer,
    ) -> JsonAnswer<200, SaleStatusAnswer> {
        buyers::sale_status(&services).into()
    }

    /// Try to buy one unit
    ///
    /// 200 means that the attempt is kept durably and will get a final result. Asking again for the
    /// same sale returns the same attempt, never a second unit. A refused user is not marked: if
    /// stock comes back, the same request may succeed. No body is needed; one that is sent is
    /// ignored.
    #[oai(
        path = "/api/flash-sale/attempt/:saleId",
        method = "post",
        operation_id = "attempt",
        tag = "Tag::FlashSale"
    )]
    async fn attempt(
        &self,
        services: Data<&Arc<Services>>,
        buyer: Buyer,
        /// The sale.
        #[oai(name = "saleId")]
        sale_id: Path<PathId>,
    ) -> JsonAnswer<200, AttemptAnswer> {
        let id = sale_id.0.number();
        buyers::attempt(&services, &buyer.0.user, id).await.into()
    }

    /// See how an attempt came out
    #[oai(
        path = "/api/orders/status/:productId",
        method = "get",
        operation_id = "orderStatus",
        tag = "Tag::FlashSale"
    )]
    async fn order_status(
        &self,
        services: Data<&Arc<Services>>,
        buyer: Buyer,
        /// The product that the sale sells.
        #[oai(name = "productId")]
        product_id: Path<PathId>,
    ) -> JsonAnswer<200, OrderStatusAnswer> {
        let id = product_id.0.number();
        let answer = buyers::order_status(&services, &buyer.0.user, id).await;
        answer.into()
    }

    /// Does the process live?
    #[oai(
        path = "/health",
        method = "get",
        operation_id = "health",
        tag = "Tag::Service"
    )]
    async fn health(&self, services: Data<&Arc<Services>>) -> JsonAnswer<200, HealthAnswer> {
        service::health(&services).into()
    }

    /// Do its dependencies answer?
    #[oai(
        path = "/ready",
        method = "get",
        operation_id = "ready",
        tag = "Tag::Service"
    )]
    async fn ready(&self, services: Data<&Arc<Services>>) -> JsonAnswer<200, ReadyAnswer> {
        service::ready(&services, self.ready_timeout).await.into()
    }

    /// Measurements in the Prometheus text format
    #[oai(
        path = "/metrics",
        method = "get",
        operation_id = "metrics",
        tag = "Tag::Service"
    )]
    async fn metrics(&self, services: Data<&Arc<Services>>) -> Answer<200, PlainText<String>> {
        service::metrics(&services).into()
    }

    /// This document as a page
    #[oai(
        path = "/api-docs",
        method = "get",
        operation_id = "apiDocs",
        tag = "Tag::Service"
    )]
    async fn api_docs(&self) -> Answer<200, Html<String>> {
        service::api_docs().into()
    }

    /// This document
    #[oai(
        path = "/api-docs/openapi.json",
        method = "get",
        operation_id = "openapi",
        tag = "Tag::Service"
    )]
    async fn openapi(&self) -> JsonAnswer<200, Any<Value>> {
        service::openapi().into()
    }
}
