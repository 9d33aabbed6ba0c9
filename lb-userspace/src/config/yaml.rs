//! The text as a tree in which every value knows its place.
//!
//! The parser could fill the raw types itself, but it would stop at the first value that does not
//! fit. A tree can be looked at to the end.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_yaml::{
    DefaultMessageFormatter, DuplicateKeyPolicy, Location, MergeKeyPolicy, MessageFormatter as _,
    NonFiniteFloatPolicy, Spanned,
};

use super::error::{Mistake, Place, Report, escaped};

/// Values in a configuration of the largest size: it holds no more.
const NODES_MAX: usize = 1_000_000;
/// Values that aliases may add: a few of them say more than a file could hold.
const REPLAYED_MAX: usize = 250_000;
/// A configuration nests five levels; more is an accident or an attack.
const DEPTH_MAX: usize = 32;

/// A value and its place.
pub(super) type Node = Spanned<Yaml>;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Yaml {
    /// Nothing.
    Null,
    /// Text, quoted or not.
    Text(String),
    /// Text that YAML takes for a number or a truth value, in a normal form. `weir.yaml` has its
    /// own idea of both, see [`text`].
    Inferred(String),
    /// A list.
    List(Vec<Node>),
    /// Fields, in the order of the text.
    Fields(Vec<(Node, Node)>),
}

/// Where a node stands; for an alias, where the alias stands.
pub(super) fn place(node: &Node) -> Place {
    located(node.referenced)
}

/// The text of a scalar, as it was written.
pub(super) fn text<'a>(node: &'a Node, source: &'a str) -> Option<&'a str> {
    match &node.value {
        Yaml::Text(text) => Some(text),
        Yaml::Inferred(normal) => Some(written(node.defined, source).unwrap_or(normal)),
        Yaml::Null | Yaml::List(_) | Yaml::Fields(_) => None,
    }
}

fn written(location: Location, source: &str) -> Option<&str> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    source.get(start..start.checked_add(length)?)
}

/// The tree of a text. Text that is no YAML has one mistake: what follows it means nothing.
pub(super) fn read(text: &str, report: &mut Report) -> Option<Node> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: 3 * NODES_MAX,
            max_recorded_anchor_events: REPLAYED_MAX,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: REPLAYED_MAX },
        // The tree keeps both values of a field, and `decode` says where they stand.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        emit_comments: false,
        with_snippet: false,
    };
    match serde_yaml::from_str_with_options(text, options) {
        Ok(Node { value: Yaml::Null, .. }) => {
            // This is what a reader finds between the truncation and the writing of a careless
            // editor. It must not take all services away.
            let mistake = Mistake::new("there is nothing in this configuration");
            report.add(START, mistake.hint("`services: []` balances nothing"));
            None
        }
        Ok(root) => Some(root),
        Err(error) => {
            let place = error.location().map_or(START, located);
            report.add(place, mistake(&error));
            None
        }
    }
}

const START: Place = Place { line: 1, column: 1, width: 1 };

fn located(location: Location) -> Place {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).max(1);
    // Text over several lines is marked to the end of its first line.
    Place {
        line: number(location.line()),
        column: number(location.column()),
        width: number(location.span().len()),
    }
}

fn mistake(error: &serde_yaml::Error) -> Mistake {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser may learn new errors")]
    match error {
        serde_yaml::Error::AliasError { error, .. } => mistake(error),
        serde_yaml::Error::Budget { .. } => {
            Mistake::new("too deep, or too many values, for a configuration")
        }
        serde_yaml::Error::MultipleDocuments { .. } => {
            Mistake::new("a second document begins here; a configuration is one document")
        }
        serde_yaml::Error::RecursiveReferencesRequireWeakTypes { .. } => {
            Mistake::new("this alias contains itself")
        }
        other => {
            let message = DefaultMessageFormatter.format_message(other);
            Mistake::new(format!("not YAML: {}", escaped(&message)))
        }
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shape)
    }
}

struct Shape;

impl<'de> Visitor<'de> for Shape {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Yaml, E> {
        Ok(Yaml::Inferred(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Yaml, E> {
        Ok(Yaml::Inferred(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Yaml, E> {
        Ok(Yaml::Inferred(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Yaml, E> {
        Ok(Yaml::Inferred(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Yaml, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Yaml::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Yaml, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            fields.push(entry);
        }
        Ok(Yaml::Fields(fields))
    }
}
