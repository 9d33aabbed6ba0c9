//! From the tree to the raw types: serde, but a value that does not fit takes nothing with it.
//!
//! Every field of a raw type is a [`Field`](super::field::Field). This deserializer tells a `Field` its place and
//! whether its value fits; if not, the mistake is reported here and decoding goes on.

use std::{cell::RefCell, collections::BTreeMap, fmt, slice, vec};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, Error as _, IntoDeserializer as _, MapAccess, SeqAccess, Unexpected,
        Visitor,
        value::{SeqDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{
    error::{Mistake, Place, Report, escaped, nearest, shown},
    yaml::{self, Node, Yaml},
};

/// Fills a raw type from a tree.
pub(super) fn decode<'a, T: Deserialize<'a>>(
    root: &'a Node,
    source: &'a str,
    report: &mut Report,
) -> Option<T> {
    let report = RefCell::new(report);
    let decoded = T::deserialize(Decoder { node: root, source, report: &report });
    decoded.map_err(|mistake| report.borrow_mut().add(yaml::place(root), mistake)).ok()
}

#[derive(Clone, Copy)]
struct Decoder<'a, 'r> {
    node: &'a Node,
    source: &'a str,
    report: &'r RefCell<&'r mut Report>,
}

impl<'a> Decoder<'a, '_> {
    fn at(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    fn add(&self, node: &Node, mistake: Mistake) {
        self.report.borrow_mut().add(yaml::place(node), mistake);
    }

    fn unexpected(&self, expected: &dyn de::Expected) -> Mistake {
        let text = yaml::text(self.node, self.source);
        let found = match &self.node.value {
            Yaml::Null => Unexpected::Unit,
            Yaml::Text(_) | Yaml::Inferred(_) => Unexpected::Str(text.unwrap_or_default()),
            Yaml::List(_) => Unexpected::Seq,
            Yaml::Fields(_) => Unexpected::Map,
        };
        Mistake::invalid_type(found, expected)
    }

    /// The fields that the type has, each once; all others are reported.
    fn known(
        self,
        name: &str,
        fields: &'static [&'static str],
        entries: &'a [(Node, Node)],
    ) -> Vec<(&'static str, &'a Node)> {
        let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
        let mut known = Vec::new();
        let mut misspelled = Vec::new();
        for (key, value) in entries {
            let Some(word) = yaml::text(key, self.source) else {
                self.add(key, Mistake::new("the name of a field must be text"));
                continue;
            };
            let Some(field) = fields.iter().find(|field| **field == word) else {
                let near = nearest(word, fields.iter().copied());
                self.add(key, unknown(name, word, near, fields));
                misspelled.extend(near.map(|near| (near, value)));
                continue;
            };
            if let Some(first) = seen.get(field) {
                let line = first.line;
                self.add(
                    key,
                    Mistake::new(format!("`{field}` is given twice, first in line {line}")),
                );
                continue;
            }
            seen.insert(field, yaml::place(key));
            known.push((*field, value));
        }
        // What was meant is not missing, and its value may be wrong, too.
        for (field, value) in misspelled {
            if seen.insert(field, Place::default()).is_none() {
                known.push((field, value));
            }
        }
        known
    }
}

fn unknown(name: &str, word: &str, near: Option<&str>, fields: &[&str]) -> Mistake {
    let mistake = Mistake::new(format!("unknown field {} in {name}", shown(word)));
    match (word, near) {
        ("<<", _) => mistake.hint("merge keys have no meaning here; an alias `*name` has"),
        (_, Some(near)) => mistake.hint(format!("did you mean `{near}`?")),
        (_, None) => mistake.hint(format!("the fields are {}", list(fields))),
    }
}

/// Words in a sentence.
pub(super) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

impl<'a> Deserializer<'a> for Decoder<'a, '_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.node.value {
            Yaml::Text(_) | Yaml::Inferred(_) => {
                visitor.visit_borrowed_str(yaml::text(self.node, self.source).unwrap_or_default())
            }
            Yaml::List(items) => visitor.visit_seq(Items { decoder: self, items: items.iter() }),
            Yaml::Null | Yaml::Fields(_) => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let text = yaml::text(self.node, self.source);
        visitor.visit_borrowed_str(text.ok_or_else(|| self.unexpected(&"one value"))?)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let Yaml::List(items) = &self.node.value else {
            let hint = match yaml::text(self.node, self.source) {
                Some(text) => format!("in brackets it is one: `[{}]`", escaped(text)),
                None => "every element of a list begins with `- `".to_owned(),
            };
            let mistake = self.unexpected(&"a list");
            return Err(if mistake.hint.is_none() { mistake.hint(hint) } else { mistake });
        };
        visitor.visit_seq(Items { decoder: self, items: items.iter() })
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let Yaml::Fields(entries) = &self.node.value else {
            let expected = format!("the fields of {name}");
            let fields = format!("the fields are {}", list(fields));
            return Err(self.unexpected(&expected.as_str()).hint(fields));
        };
        let rest = self.known(name, fields, entries).into_iter();
        visitor.visit_map(Fields { decoder: self, rest, value: None })
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_seq(Value { decoder: self, placed: false })
    }

    forward_to_deserialize_any! {
        <V: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf option unit
        unit_struct tuple tuple_struct map enum identifier ignored_any
    }
}

struct Items<'a, 'r> {
    decoder: Decoder<'a, 'r>,
    items: slice::Iter<'a, Node>,
}

impl<'a> SeqAccess<'a> for Items<'a, '_> {
    type Error = Mistake;

    fn next_element_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Mistake> {
        self.items.next().map(|item| seed.deserialize(self.decoder.at(item))).transpose()
    }
}

struct Fields<'a, 'r> {
    decoder: Decoder<'a, 'r>,
    rest: vec::IntoIter<(&'static str, &'a Node)>,
    value: Option<&'a Node>,
}

impl<'a> MapAccess<'a> for Fields<'a, '_> {
    type Error = Mistake;

    fn next_key_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Mistake> {
        let Some((field, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        let field: StrDeserializer<'_, Mistake> = field.into_deserializer();
        seed.deserialize(field).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Mistake> {
        let value = self.value.take().ok_or_else(|| Mistake::custom("a value before its field"))?;
        seed.deserialize(self.decoder.at(value))
    }
}

/// What a [`Field`](super::field::Field) gets to see: a place, then a value or an error that is already reported.
struct Value<'a, 'r> {
    decoder: Decoder<'a, 'r>,
    placed: bool,
}

impl<'a> SeqAccess<'a> for Value<'a, '_> {
    type Error = Mistake;

    fn next_element_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Mistake> {
        if !self.placed {
            self.placed = true;
            let Place { line, column, width } = yaml::place(self.decoder.node);
            let place: SeqDeserializer<_, Mistake> =
                SeqDeserializer::new([line, column, width].into_iter());
            return seed.deserialize(place).map(Some);
        }
        let value = seed.deserialize(self.decoder);
        if let Err(mistake) = &value {
            self.decoder.add(self.decoder.node, mistake.clone());
        }
        value.map(Some)
    }
}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the tree has no other shapes")]
        let (found, hint) = match found {
            Unexpected::Unit => ("nothing".to_owned(), Some("give it a value, or remove the line")),
            Unexpected::Seq => ("a list".to_owned(), None),
            Unexpected::Map => ("fields".to_owned(), None),
            Unexpected::Str(text) => (shown(text), None),
            other => (other.to_string(), None),
        };
        Self::new(format!("expected {expected}, found {found}")).maybe_hint(hint.map(str::to_owned))
    }
}
