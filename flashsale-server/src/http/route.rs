use flashsale_core::domain::SaleId;
use poem::http::Method;

/// The routes of the contract: a closed set, so that they can label metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Route {
    /// `/api/auth/register`
    Register,
    /// `/api/auth/login`
    Login,
    /// `/api/flash-sale/status`
    SaleStatus,
    /// `/api/flash-sale/attempt/{saleId}`
    Attempt,
    /// `/api/orders/status/{productId}`
    OrderStatus,
    /// `/health`
    Health,
    /// `/ready`
    Ready,
    /// `/metrics`
    Metrics,
    /// `/api-docs`
    ApiDocs,
    /// `/api-docs/openapi.json`
    OpenApi,
    /// Everything else.
    Unmatched,
}

/// A route and the id in its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Matched {
    pub(super) route: Route,
    /// The id, if the path has one and it is a positive integer.
    pub(super) id: Option<i64>,
}

impl Route {
    /// All routes.
    pub(crate) const ALL: [Self; 11] = [
        Self::Register,
        Self::Login,
        Self::SaleStatus,
        Self::Attempt,
        Self::OrderStatus,
        Self::Health,
        Self::Ready,
        Self::Metrics,
        Self::ApiDocs,
        Self::OpenApi,
        Self::Unmatched,
    ];

    /// The pattern of the path.
    pub(crate) const fn pattern(self) -> &'static str {
        match self {
            Self::Register => "/api/auth/register",
            Self::Login => "/api/auth/login",
            Self::SaleStatus => "/api/flash-sale/status",
            Self::Attempt => "/api/flash-sale/attempt/{saleId}",
            Self::OrderStatus => "/api/orders/status/{productId}",
            Self::Health => "/health",
            Self::Ready => "/ready",
            Self::Metrics => "/metrics",
            Self::ApiDocs => "/api-docs",
            Self::OpenApi => "/api-docs/openapi.json",
            Self::Unmatched => "unmatched",
        }
    }

    /// The route of a path.
    pub(super) fn of(path: &str) -> Matched {
        if let Some(id) = path.strip_prefix("/api/flash-sale/attempt/") {
            return Self::with_id(Self::Attempt, id);
        }
        if let Some(id) = path.strip_prefix("/api/orders/status/") {
            return Self::with_id(Self::OrderStatus, id);
        }
        let route = match path {
            "/api/flash-sale/status" => Self::SaleStatus,
            "/api/auth/register" => Self::Register,
            "/api/auth/login" => Self::Login,
            "/health" => Self::Health,
            "/ready" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/api-docs" | "/api-docs/" => Self::ApiDocs,
            "/api-docs/openapi.json" => Self::OpenApi,
            _ => Self::Unmatched,
        };
        Matched { route, id: None }
    }

    fn with_id(route: Self, id: &str) -> Matched {
        let route = if id.is_empty() || id.contains('/') {
            Self::Unmatched
        } else {
            route
        };
        let id = Self::id(id);
        Matched { route, id }
    }

    /// The id that a piece of a path stands for. Sale and product ids follow one rule.
    pub(super) fn id(text: &str) -> Option<i64> {
        text.parse::<SaleId>().ok().map(SaleId::get)
    }

    /// Whether the route serves buyers, rather than operators.
    pub(super) const fn is_api(self) -> bool {
        match self {
            Self::Register | Self::Login | Self::SaleStatus | Self::Attempt | Self::OrderStatus => {
                true
            }
            Self::Health
            | Self::Ready
            | Self::Metrics
            | Self::ApiDocs
            | Self::OpenApi
            | Self::Unmatched => false,
        }
    }

    /// The `Allow` header of the route; nothing if the path does not exist.
    pub(super) const fn allow(self) -> Option<&'static str> {
        match self {
            Self::Register | Self::Login | Self::Attempt => Some("POST"),
            Self::SaleStatus
            | Self::OrderStatus
            | Self::Health
            | Self::Ready
            | Self::Metrics
            | Self::ApiDocs
            | Self::OpenApi => Some("GET, HEAD"),
            Self::Unmatched => None,
        }
    }

    /// Whether the route takes the method.
    pub(super) fn takes(self, method: &Method) -> bool {
        match self.allow() {
            Some("POST") => method == Method::POST,
            Some(_) => method == Method::GET || method == Method::HEAD,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_route_and_id() {
        let attempt = |id| Matched {
            route: Route::Attempt,
            id,
        };
        let cases = [
            ("/api/flash-sale/attempt/7", attempt(Some(7))),
            (
                "/api/flash-sale/attempt/9223372036854775807",
                attempt(Some(i64::MAX)),
            ),
            ("/api/flash-sale/attempt/9223372036854775808", attempt(None)),
            ("/api/flash-sale/attempt/0", attempt(None)),
            ("/api/flash-sale/attempt/-1", attempt(None)),
            ("/api/flash-sale/attempt/+1", attempt(None)),
            ("/api/flash-sale/attempt/one", attempt(None)),
            ("/api/flash-sale/attempt/%31", attempt(None)),
        ];
        for (path, matched) in cases {
            assert_eq!(Route::of(path), matched, "{path}");
        }
        for path in [
            "",
            "/",
            "/api/flash-sale/attempt",
            "/api/flash-sale/attempt/",
            "/api/flash-sale/attempt/1/",
            "/api/flash-sale/attempt/1/2",
            "/API/flash-sale/status",
            "/health/",
        ] {
            assert_eq!(Route::of(path).route, Route::Unmatched, "{path}");
        }
    }
}
