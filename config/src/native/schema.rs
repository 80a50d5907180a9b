//! The JSON Schema and the reference page, made from the records.

use serde_json::{Map, Value as Json, json};

use super::wire::{Field, Form, Record, Root, Shape, Wire};

/// The JSON Schema (draft 2020-12) of a configuration file.
pub fn schema() -> Json {
    let mut definitions = Map::new();
    let root = of_shape(&Root::shape(), &mut definitions);
    let variable = json!({
        "type": "string",
        "pattern": "\\$\\{",
        "description": "A value that the environment gives: `${NAME}` or `${NAME:-default}`.",
    });
    definitions.insert("Variable".to_owned(), variable);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ringway's configuration",
        "$ref": root["$ref"],
        "$defs": definitions,
    })
}

fn of_shape(shape: &Shape, definitions: &mut Map<String, Json>) -> Json {
    match shape {
        Shape::Bool => or_variable(json!({"type": "boolean"})),
        Shape::Integer { min, max: u64::MAX } => {
            or_variable(json!({"type": "integer", "minimum": min}))
        }
        Shape::Integer { min, max } => {
            or_variable(json!({"type": "integer", "minimum": min, "maximum": max}))
        }
        Shape::Number { min, max } => {
            json!({"type": "number", "minimum": min, "maximum": max})
        }
        Shape::Text(form) => json!({"type": "string", "description": sentence(form.what)}),
        Shape::Choice(words) => {
            let words: Vec<_> = words
                .iter()
                .map(|(word, about)| json!({"const": word, "description": sentence(about)}))
                .collect();
            let mut any = words;
            any.push(json!({"$ref": "#/$defs/Variable"}));
            json!({"anyOf": any})
        }
        Shape::Only(value) => json!({"const": value}),
        Shape::List { of, min } => {
            let items = of_shape(of, definitions);
            let mut list = json!({"type": "array", "items": items});
            if *min > 0 {
                list["minItems"] = (*min).into();
            }
            list
        }
        Shape::Map { key, of } => {
            let values = of_shape(of, definitions);
            let names = json!({"description": sentence(key.what)});
            json!({"type": "object", "propertyNames": names, "additionalProperties": values})
        }
        Shape::Record(record) => of_record(record, definitions),
        Shape::Tagged(kinds) => {
            let mut properties = Map::new();
            for (name, shape) in kinds {
                properties.insert((*name).to_owned(), of_shape(shape, definitions));
            }
            json!({
                "type": "object",
                "properties": properties,
                "minProperties": 1,
                "maxProperties": 1,
            })
        }
        Shape::AnyOf(shapes) => {
            let shapes: Vec<_> = shapes
                .iter()
                .map(|shape| of_shape(shape, definitions))
                .collect();
            json!({"anyOf": shapes})
        }
    }
}

fn or_variable(shape: Json) -> Json {
    json!({"anyOf": [shape, {"$ref": "#/$defs/Variable"}]})
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else {
        return String::new();
    };
    format!("{}{}.", first.to_uppercase(), letters.as_str())
}

fn title(record: &Record) -> &'static str {
    record.name.strip_suffix("Record").unwrap_or(record.name)
}

fn of_record(record: &Record, definitions: &mut Map<String, Json>) -> Json {
    let name = title(record);
    let reference = json!({"$ref": format!("#/$defs/{name}")});
    if definitions.contains_key(name) {
        return reference;
    }
    // Its place is taken first, so that definitions stand in the order of the file.
    definitions.insert(name.to_owned(), Json::Null);
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in &record.fields {
        let mut shape = of_shape(&field.shape, definitions);
        shape["description"] = field.about.clone().into();
        if let Some(default) = &field.default {
            shape["default"] = default.clone();
        }
        properties.insert(field.key.to_owned(), shape);
        if field.required {
            required.push(field.key);
        }
    }
    let mut definition = json!({
        "description": record.about,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        definition["required"] = json!(required);
    }
    definitions.insert(name.to_owned(), definition);
    reference
}

/// The reference page, in Markdown: every key, its type, its default, its meaning.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut records = Vec::new();
    let mut forms = Vec::new();
    collect(&Root::shape(), &mut records, &mut forms);
    for record in &records {
        page.push_str(&section(record));
    }
    page.push_str("\n## Forms of texts\n\n| form | what to write |\n|---|---|\n");
    forms.sort_by_key(|form: &Form| form.name);
    forms.dedup_by_key(|form| form.name);
    for form in forms.iter().filter(|form| form.name != "text") {
        page.push_str(&format!("| {} | {} |\n", form.name, cell(form.what)));
    }
    page
}

const INTRODUCTION: &str = include_str!("introduction.md");

/// All records below a shape, each once, in the order of the file; and all forms.
fn collect(shape: &Shape, records: &mut Vec<Record>, forms: &mut Vec<Form>) {
    match shape {
        Shape::Bool
        | Shape::Integer { .. }
        | Shape::Number { .. }
        | Shape::Choice(_)
        | Shape::Only(_) => {}
        Shape::Text(form) => forms.push(*form),
        Shape::List { of, .. } => collect(of, records, forms),
        Shape::Map { key, of } => {
            forms.push(*key);
            collect(of, records, forms);
        }
        Shape::Record(record) => {
            if records.iter().any(|known| known.name == record.name) {
                return;
            }
            records.push(record.clone());
            for field in &record.fields {
                collect(&field.shape, records, forms);
            }
        }
        Shape::Tagged(kinds) => {
            for (_, shape) in kinds {
                collect(shape, records, forms);
            }
        }
        Shape::AnyOf(shapes) => {
            for shape in shapes {
                collect(shape, records, forms);
            }
        }
    }
}

fn section(record: &Record) -> String {
    let mut text = format!("\n## {}\n\n{}\n\n", heading(record), record.about);
    text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    for field in &record.fields {
        text.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            field.key,
            cell(&kind(&field.shape)),
            cell(&default(field)),
            cell(&meaning(field)),
        ));
    }
    text
}

/// `HeaderOpsRecord` is "Header ops", `Root` the file.
fn heading(record: &Record) -> String {
    let name = title(record);
    if name == "Root" {
        return "The file".to_owned();
    }
    let mut words = String::new();
    for (index, letter) in name.char_indices() {
        if letter.is_uppercase() && index > 0 {
            words.push(' ');
            words.extend(letter.to_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}

fn link(record: &Record) -> String {
    let heading = heading(record);
    let anchor = heading.to_lowercase().replace(' ', "-");
    format!("[{}](#{anchor})", heading.to_lowercase())
}

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "boolean".to_owned(),
        Shape::Integer { min, max: u64::MAX } => format!("integer ≥ {min}"),
        Shape::Integer { min, max } => format!("integer {min} to {max}"),
        Shape::Number { min, max } => format!("number {min} to {max}"),
        Shape::Text(form) => form.name.to_owned(),
        Shape::Choice(words) => {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            words.join(", ")
        }
        Shape::Only(value) => format!("`{value}`"),
        Shape::List { of, .. } => format!("list of {}", kind(of)),
        Shape::Map { key, of } => format!("map from {} to {}", key.name, kind(of)),
        Shape::Record(record) => link(record),
        Shape::Tagged(kinds) => {
            let kinds: Vec<_> = kinds
                .iter()
                .map(|(name, shape)| format!("`{name}`: {}", kind(shape)))
                .collect();
            format!("map of one key ({})", kinds.join(", "))
        }
        Shape::AnyOf(shapes) => {
            let shapes: Vec<_> = shapes.iter().map(kind).collect();
            shapes.join(" or ")
        }
    }
}

fn default(field: &Field) -> String {
    match &field.default {
        Some(Json::Object(_)) => String::new(),
        Some(Json::String(text)) => format!("`{text}`"),
        Some(value) => format!("`{value}`"),
        None if field.required => "required".to_owned(),
        None => String::new(),
    }
}

fn meaning(field: &Field) -> String {
    let Shape::Choice(words) = &field.shape else {
        return field.about.clone();
    };
    words_explained(&field.about, words)
}

fn words_explained(about: &str, words: &[(&str, &str)]) -> String {
    let words: Vec<_> = words
        .iter()
        .map(|(word, about)| format!("`{word}`: {about}"))
        .collect();
    format!("{about} {}.", words.join("; "))
}

/// A table's cell: no line breaks, no bars.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
