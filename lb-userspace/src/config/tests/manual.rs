//! The manual has a section for each raw type, with a row for each of its fields and no other.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Visitor, forward_to_deserialize_any};

use super::{
    super::{
        error::Mistake,
        label_names, publish,
        raw::{
            RawAdmin, RawAffinity, RawBackend, RawConfig, RawDocker, RawFlowLimits, RawHairpin,
            RawHealth, RawHost, RawLimits, RawReport, RawScale, RawSelector, RawService,
            RawSources, RawTimeouts, RawTls, RawTunnel,
        },
    },
    mistakes,
};
use crate::model::{Forward, Policy};

const MANUAL: &str = include_str!("../../../../docs/configuration.md");

/// Takes the fields that a type asks for.
struct Fields<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Mistake> {
        Err(Mistake::new("no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Mistake> {
        self.0.extend(fields);
        Err(Mistake::new("only looking"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn fields<T: Deserialize<'static>>() -> Vec<&'static str> {
    let mut fields = Vec::new();
    assert!(T::deserialize(Fields(&mut fields)).is_err());
    assert!(!fields.is_empty());
    fields
}

/// The first cells of the tables, by the title of their section.
fn manual() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut title = "";
    let mut sections: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in MANUAL.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            title = text;
        } else if let Some((field, _)) = line
            .strip_prefix("| `weir.")
            .or_else(|| line.strip_prefix("| `"))
            .and_then(|row| row.split_once('`'))
        {
            sections.entry(title).or_default().push(field);
        }
    }
    sections
}

#[test]
fn every_field_is_in_the_manual() {
    let expected = BTreeMap::from([
        ("The file", fields::<RawConfig>()),
        ("`services[]`", fields::<RawService>()),
        ("`services[].policy`", Policy::ALL.map(Policy::name).to_vec()),
        ("`services[].forward`", Forward::ALL.map(Forward::name).to_vec()),
        ("`services[].backends[]`", fields::<RawBackend>()),
        ("`services[].health`", fields::<RawHealth>()),
        ("`services[].report`", fields::<RawReport>()),
        ("`services[].affinity`", fields::<RawAffinity>()),
        ("`services[].sources`", fields::<RawSources>()),
        ("`services[].limits`", fields::<RawFlowLimits>()),
        ("`services[].docker`", fields::<RawSelector>()),
        ("`services[].scale`", fields::<RawScale>()),
        ("`docker`", fields::<RawDocker>()),
        ("`hosts[]`", fields::<RawHost>()),
        ("`hosts[].tls`", fields::<RawTls>()),
        ("`docker` labels", label_names::LABELS.to_vec()),
        ("`admin`", fields::<RawAdmin>()),
        ("`timeouts`", fields::<RawTimeouts>()),
        ("`limits`", fields::<RawLimits>()),
        ("`hairpin`", fields::<RawHairpin>()),
        ("`tunnel`", fields::<RawTunnel>()),
    ]);
    let mut found = manual();
    let elements = found.remove("`weir.publish`").unwrap();
    assert_eq!(found, expected);
    for element in elements {
        assert!(publish::publish(element).is_ok(), "{element}");
    }
}

#[test]
fn the_examples_in_the_manual_are_right() {
    let examples: Vec<&str> = MANUAL
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .map(|(example, _)| example)
        .collect();
    assert!(examples.len() > 3);
    for example in examples {
        let services = if example.contains("services:") { "" } else { "services: []\n" };
        assert_eq!(mistakes(&format!("{example}{services}")), [""; 0], "{example}");
    }
}
