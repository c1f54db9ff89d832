//! The template engine, set up as Hugging Face's apply_chat_template sets up Jinja2.

use crate::{json, time};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior};

/// One unit is about one instruction or 64 bytes of new text: long conversations need some thousands.
const FUEL: u64 = 4_000_000;
const RECURSION_LIMIT: usize = 200;

pub fn make() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the standard delimiters"));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_LIMIT);
    environment.set_unknown_method_callback(unknown_method);
    environment.set_formatter(format_value);
    environment.add_filter("tojson", tojson);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", time::strftime_now);
    environment
}

/// Templates mark the assistant's text for training by {% generation %} .. {% endgeneration %}, which the engine
/// does not know; a condition that always holds renders the same.
pub fn without_generation_tags(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + 2);
        result.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let body = &tag[..end];
        match body.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+') {
            "generation" => result.push_str(&body.replace("generation", "if true")),
            "endgeneration" => result.push_str(&body.replace("endgeneration", "endif")),
            _ => result.push_str(body),
        }
        rest = &tag[end..];
    }
    result + rest
}

/// The error and its causes on one line.
pub fn describe(error: &Error) -> String {
    if error.kind() == ErrorKind::InvalidOperation {
        if let Some(message) = error.detail().and_then(|d| d.strip_prefix(RAISED)) {
            return message.to_string();
        }
    }
    let mut text = match error.kind() {
        ErrorKind::OutOfFuel => "the chat template does too much work".to_string(),
        _ => error.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text.replace('\n', " ")
}

// Marks a message that the template itself raised, which is reported without our words around it.
const RAISED: &str = "\u{1}raised\u{1}";

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
}

fn tojson(value: &Value, indent: Option<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let indent = indent.or(kwargs.get::<Option<Value>>("indent")?);
    // HF's filter accepts these; ours writes as with their usual values unless told otherwise.
    let ensure_ascii = kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sort_keys = kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let separators = kwargs.get::<Option<Value>>("separators")?;
    kwargs.assert_all_used()?;
    let mut style = json::Style::new(indent, ensure_ascii, sort_keys)?;
    if let Some(separators) = separators.filter(|s| !s.is_none()) {
        style.set_separators(&separators)?;
    }
    Ok(Value::from(json::dump(value, &style)?))
}

/// Prints values as Python's str() does.
fn format_value(out: &mut minijinja::Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Bool => out.write_str(if value.is_true() { "True" } else { "False" }).map_err(Error::from),
        ValueKind::None => out.write_str("None").map_err(Error::from),
        ValueKind::Number if !value.is_integer() => {
            let number = f64::try_from(value.clone())?;
            out.write_str(&json::python_float(number)).map_err(Error::from)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

fn unknown_method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}
