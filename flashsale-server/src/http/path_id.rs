use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromParameter, ParseResult, Type};

use super::Route;

/// The id in a path as the document shows it.
///
/// Any text is taken here: what an id may be is said in one place, [`Route`](super::Route), and the
/// operations answer what it says.
pub(super) struct PathId(pub(super) String);

impl Type for PathId {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "integer_int64".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("integer", "int64")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromParameter for PathId {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        Ok::<_, ParseError<Self>>(Self(value.to_owned()))
    }
}

impl PathId {
    /// The id, if it is a positive integer.
    pub(super) fn number(&self) -> Option<i64> {
        Route::id(&self.0)
    }
}
