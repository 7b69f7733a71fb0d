use std::marker::PhantomData;

use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};

use super::failure::Failure;

/// The answer of a documented operation: a `P` with `STATUS` if all goes well.
///
/// What can go wrong is added to the document in one place for all operations; see
/// [`document`](super::document).
pub(super) struct Answer<const STATUS: u16, P>(Response, PhantomData<fn() -> P>);

/// An [`Answer`] with a `T` as JSON.
pub(super) type JsonAnswer<const STATUS: u16, T> = Answer<STATUS, Json<T>>;

impl<const STATUS: u16, P> From<Result<Response, Failure>> for Answer<STATUS, P> {
    fn from(answer: Result<Response, Failure>) -> Self {
        let response = answer.unwrap_or_else(Failure::into_response);
        Self(response, PhantomData)
    }
}

impl<const STATUS: u16, P: Send> IntoResponse for Answer<STATUS, P> {
    fn into_response(self) -> Response {
        self.0
    }
}

impl<const STATUS: u16, P: Payload> ApiResponse for Answer<STATUS, P> {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "",
                status: Some(STATUS),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: P::CONTENT_TYPE,
                    schema: P::schema_ref(),
                }],
                headers: vec![],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        P::register(registry);
    }
}
