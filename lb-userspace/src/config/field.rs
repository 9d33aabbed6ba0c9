//! A field of a raw type.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use super::error::{Mistake, Place, Report};

/// The value of a field, if there is one that fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Field<T> {
    /// Not there.
    #[default]
    Absent,
    /// There, and reported.
    Wrong,
    /// There.
    Given(At<T>),
}

/// A value and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A field that holds a list.
pub(super) type List<T> = Field<Vec<Field<T>>>;

impl<T> Field<T> {
    pub(super) const fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Wrong => None,
        }
    }

    pub(super) const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value of a field that must be there; `missing` says at `place` that it is not.
    pub(super) fn required(
        &self,
        report: &mut Report,
        place: Place,
        missing: impl FnOnce() -> Mistake,
    ) -> Option<&At<T>> {
        if self.is_absent() {
            report.add(place, missing());
        }
        self.given()
    }
}

impl<T> List<T> {
    /// The elements that fit.
    pub(super) fn elements(&self) -> impl Iterator<Item = &At<T>> {
        self.given().into_iter().flat_map(|list| &list.value).filter_map(Field::given)
    }
}

impl Field<String> {
    /// The parsed value, if it is there and right; a mistake is reported.
    pub(super) fn parse<V>(
        &self,
        report: &mut Report,
        parser: impl FnOnce(&str) -> Result<V, Mistake>,
    ) -> Option<At<V>> {
        self.given()?.parse(report, parser)
    }

    /// The parsed value, `default` if it is not there; a mistake is reported.
    pub(super) fn parse_or<V>(
        &self,
        report: &mut Report,
        parser: impl FnOnce(&str) -> Result<V, Mistake>,
        default: V,
    ) -> Option<V> {
        match self {
            Self::Absent => Some(default),
            Self::Wrong => None,
            Self::Given(at) => at.parse(report, parser).map(|parsed| parsed.value),
        }
    }
}

impl At<String> {
    /// The parsed value, if it is right; a mistake is reported.
    pub(super) fn parse<V>(
        &self,
        report: &mut Report,
        parser: impl FnOnce(&str) -> Result<V, Mistake>,
    ) -> Option<At<V>> {
        match parser(&self.value) {
            Ok(value) => Some(At { value, place: self.place }),
            Err(mistake) => {
                report.add(self.place, mistake);
                None
            }
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct("Field", FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a configuration")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Field<T>, A::Error> {
        let place: Option<(u32, u32, u32)> = access.next_element()?;
        let (line, column, width) = place.unwrap_or_default();
        let place = Place { line, column, width };
        Ok(match access.next_element() {
            Ok(Some(value)) => Field::Given(At { value, place }),
            Ok(None) | Err(_) => Field::Wrong,
        })
    }
}
