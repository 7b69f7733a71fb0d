use poem::http::Method;
use poem_openapi::types::Any;
use serde_json::{Value, json};

use super::api_error::Code;
use super::auth::{self, LoginAnswer, LoginRequest, RegisterAnswer, RegisterRequest};
use super::buyers::{self, AttemptAnswer, OrderStatusAnswer, SaleStatusAnswer};
use super::route::{Access, Content, Route, Tag};
use super::service::{self, HealthAnswer, ReadyAnswer};

/// The table of routes. What is matched, allowed, counted and documented follows from it: a new
/// route is a row here and its handler.
pub(super) static ROUTES: [Route; 10] = [
    Route {
        method: Method::POST,
        path: "/api/auth/register",
        access: Access::Open,
        tag: Tag::Auth,
        handler: |call| Box::pin(auth::register(call)),
        name: "register",
        summary: "Make a user",
        description: None,
        id: None,
        body: Some(Content::json::<RegisterRequest>(|| {
            json!({
                "username": "ann", "email": "ann@example.org", "password": "correct horse",
                "fullName": "Ann Example"
            })
        })),
        answer: (
            201,
            "The user is made.",
            Content::json::<RegisterAnswer>(|| {
                json!({ "success": true, "data": {
                    "userId": "42", "username": "ann", "email": "ann@example.org",
                    "fullName": "Ann Example"
                }})
            }),
        ),
        refusals: &[
            Code::UsernameTaken,
            Code::EmailTaken,
            Code::RateLimited,
            Code::Busy,
            Code::Unavailable,
        ],
    },
    Route {
        method: Method::POST,
        path: "/api/auth/login",
        access: Access::Open,
        tag: Tag::Auth,
        handler: |call| Box::pin(auth::login(call)),
        name: "login",
        summary: "Get a token",
        description: Some(
            "An unknown user and a wrong password get the same answer in about the same time.",
        ),
        id: None,
        body: Some(Content::json::<LoginRequest>(
            || json!({ "username": "ann", "password": "correct horse" }),
        )),
        answer: (
            200,
            "The token.",
            Content::json::<LoginAnswer>(|| {
                json!({ "success": true, "data": {
                    "token": "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl", "userId": "42"
                }})
            }),
        ),
        refusals: &[
            Code::InvalidCredentials,
            Code::RateLimited,
            Code::Busy,
            Code::Unavailable,
        ],
    },
    Route {
        method: Method::GET,
        path: "/api/flash-sale/status",
        access: Access::User,
        tag: Tag::FlashSale,
        handler: |call| Box::pin(buyers::sale_status(call)),
        name: "saleStatus",
        summary: "See the sale",
        description: Some(
            "The active sale (the latest start if there are several), else the next one, else the \
             one that ended last.",
        ),
        id: None,
        body: None,
        answer: (
            200,
            "The sale.",
            Content::json::<SaleStatusAnswer>(|| {
                json!({ "success": true, "data": {
                    "id": 1, "status": "ACTIVE",
                    "startTime": "2026-01-01T00:00:00.000Z",
                    "endTime": "2026-01-01T01:00:00.000Z",
                    "currentTime": "2026-01-01T00:00:07.125Z",
                    "productId": 1, "productName": "Console",
                    "productDescription": "One per buyer."
                }})
            }),
        ),
        refusals: &[Code::NoSale, Code::Unavailable],
    },
    Route {
        method: Method::POST,
        path: "/api/flash-sale/attempt/{saleId}",
        access: Access::User,
        tag: Tag::FlashSale,
        handler: |call| Box::pin(buyers::attempt(call)),
        name: "attempt",
        summary: "Try to buy one unit",
        description: Some(
            "200 means that the attempt is kept durably and will get a final result. Asking again \
             for the same sale returns the same attempt, never a second unit. A refused user is \
             not marked: if stock comes back, the same request may succeed. No body is needed; one \
             that is sent is ignored.",
        ),
        id: Some("The sale."),
        body: None,
        answer: (
            200,
            "The attempt is kept durably, now or from an earlier request.",
            Content::json::<AttemptAnswer>(|| {
                json!({
                    "success": true,
                    "message": "Your attempt is accepted; its result follows.",
                    "data": {
                        "attemptId": "0193e3a6-0b5c-7f2e-8a44-5d1c9f0e7b21", "saleId": 1,
                        "productId": 1, "userId": "42", "status": "PENDING",
                        "durability": "LOGGED"
                    }
                })
            }),
        ),
        refusals: &[
            Code::SaleNotFound,
            Code::SoldOut,
            Code::SaleNotStarted,
            Code::SaleEnded,
            Code::SalePaused,
            Code::Unavailable,
        ],
    },
    Route {
        method: Method::GET,
        path: "/api/orders/status/{productId}",
        access: Access::User,
        tag: Tag::FlashSale,
        handler: |call| Box::pin(buyers::order_status(call)),
        name: "orderStatus",
        summary: "See how an attempt came out",
        description: None,
        id: Some("The product that the sale sells."),
        body: None,
        answer: (
            200,
            "How the user stands with the product.",
            Content::json::<OrderStatusAnswer>(|| {
                json!({ "success": true, "data": {
                    "productId": 1, "userId": "42", "status": "SUCCESS", "attempted": true
                }})
            }),
        ),
        refusals: &[Code::Unavailable],
    },
    Route {
        method: Method::GET,
        path: "/health",
        access: Access::Open,
        tag: Tag::Service,
        handler: |call| Box::pin(service::health(call)),
        name: "health",
        summary: "Does the process live?",
        description: None,
        id: None,
        body: None,
        answer: (
            200,
            "The process lives.",
            Content::json::<HealthAnswer>(
                || json!({ "status": "ok", "timestamp": "2026-01-01T00:00:00.000Z" }),
            ),
        ),
        refusals: &[],
    },
    Route {
        method: Method::GET,
        path: "/ready",
        access: Access::Open,
        tag: Tag::Service,
        handler: |call| Box::pin(service::ready(call)),
        name: "ready",
        summary: "Do its dependencies answer?",
        description: None,
        id: None,
        body: None,
        answer: (
            200,
            "All dependencies answer.",
            Content::json::<ReadyAnswer>(|| {
                json!({ "status": "ok", "checks": {
                    "orders": "up", "sales": "up", "stock": "up"
                }})
            }),
        ),
        refusals: &[Code::Unavailable],
    },
    Route {
        method: Method::GET,
        path: "/metrics",
        access: Access::Open,
        tag: Tag::Service,
        handler: |call| Box::pin(service::metrics(call)),
        name: "metrics",
        summary: "Measurements in the Prometheus text format",
        description: None,
        id: None,
        body: None,
        answer: (
            200,
            "The measurements.",
            Content::text("text/plain; charset=utf-8", || {
                "flashsale_events_total{event=\"accepted\"} 3\n".into()
            }),
        ),
        refusals: &[],
    },
    Route {
        method: Method::GET,
        path: "/api-docs",
        access: Access::Open,
        tag: Tag::Service,
        handler: |call| Box::pin(service::api_docs(call)),
        name: "apiDocs",
        summary: "This document as a page",
        description: None,
        id: None,
        body: None,
        answer: (
            200,
            "The page; it needs no network.",
            Content::text("text/html; charset=utf-8", || Value::Null),
        ),
        refusals: &[],
    },
    Route {
        method: Method::GET,
        path: "/api-docs/openapi.json",
        access: Access::Open,
        tag: Tag::Service,
        handler: |call| Box::pin(service::openapi(call)),
        name: "openapi",
        summary: "This document",
        description: None,
        id: None,
        body: None,
        answer: (
            200,
            "The document.",
            Content::json::<Any<Value>>(|| json!({ "openapi": "3.0.0" })),
        ),
        refusals: &[],
    },
];
