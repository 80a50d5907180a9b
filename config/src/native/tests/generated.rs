//! The schema and the reference page in git are those that the types make; and the schema takes what the parser takes.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use super::examples::files;
use super::{Format, root};
use crate::native::tree;
use crate::{reference, schema};

/// Holds a file to what makes it; `UPDATE=1` writes it.
fn hold(path: &Path, made: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, made).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == made,
        "{} is out of date: run `UPDATE=1 cargo test -p ringway-config`",
        path.display()
    );
}

#[test]
fn the_reference_page_is_up_to_date() {
    hold(&root().join("docs/configuration.md"), &reference());
}

#[test]
fn the_schema_is_up_to_date() {
    let text = format!("{:#}\n", schema());
    hold(&root().join("config/ringway.schema.json"), &text);
}

#[test]
fn the_schema_takes_every_example_and_no_unknown_key() {
    let schema = schema();
    for (path, text) in files() {
        let mut errors = Vec::new();
        let tree = match Format::of_path(&path).unwrap() {
            Format::Yaml => tree::yaml::read(&text, &mut errors),
            Format::Json => tree::json::read(&text, &mut errors),
            Format::Toml => tree::toml::read(&text, &mut errors),
        };
        let mut value = tree.unwrap().to_json();
        assert!(takes(&schema, &schema, &value), "{}", path.display());
        value["listeners"][0]["tls"] = Json::Bool(true);
        assert!(!takes(&schema, &schema, &value), "{}", path.display());
    }
}

#[test]
fn every_key_has_a_description() {
    let schema = schema();
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        assert!(definition["description"].is_string(), "{name}");
        let properties = definition["properties"].as_object();
        for (key, property) in properties.into_iter().flatten() {
            let about = property["description"].as_str().unwrap();
            assert!(about.ends_with('.'), "{name}.{key}: {about}");
        }
    }
}

/// Whether a schema takes a value; of JSON Schema as much as ours uses.
fn takes(root: &Json, schema: &Json, value: &Json) -> bool {
    let Some(rules) = schema.as_object() else {
        return true;
    };
    rules.iter().all(|(rule, said)| match rule.as_str() {
        "$ref" => {
            let name = said.as_str().unwrap().rsplit('/').next().unwrap();
            takes(root, &root["$defs"][name], value)
        }
        "anyOf" => {
            let mut any = said.as_array().unwrap().iter();
            any.any(|one| takes(root, one, value))
        }
        "const" => said == value,
        "type" => match said.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            other => panic!("unknown type {other}"),
        },
        "pattern" => value.as_str().is_some_and(|text| text.contains("${")),
        "minimum" => value.as_f64() >= said.as_f64(),
        "maximum" => value.as_f64() <= said.as_f64(),
        "minItems" => value.as_array().unwrap().len() as u64 >= said.as_u64().unwrap(),
        "minProperties" => value.as_object().unwrap().len() as u64 >= said.as_u64().unwrap(),
        "maxProperties" => value.as_object().unwrap().len() as u64 <= said.as_u64().unwrap(),
        "items" => {
            let mut items = value.as_array().into_iter().flatten();
            items.all(|item| takes(root, said, item))
        }
        "required" => {
            let mut keys = said.as_array().unwrap().iter();
            keys.all(|key| value.get(key.as_str().unwrap()).is_some())
        }
        "properties" => {
            let mut entries = value.as_object().into_iter().flatten();
            entries.all(|(key, value)| takes(root, &said[key], value))
        }
        "additionalProperties" => {
            let mut entries = value.as_object().into_iter().flatten();
            entries.all(|(key, value)| {
                let known = schema["properties"].get(key).is_some();
                known || (*said != Json::Bool(false) && takes(root, said, value))
            })
        }
        "$schema" | "$defs" | "title" | "description" | "default" | "propertyNames" => true,
        other => panic!("unknown rule {other}"),
    })
}
