//! Chat templates (Jinja) behind a C interface.
//!
//! Rules of the interface: no panic leaves it; strings go in as pointer and length; strings that come
//! out are freed with `commissure_text_free`; a template may be rendered from several threads at once.

mod environment;
mod json;
mod time;

use minijinja::Environment;
use std::os::raw::c_char;
use std::panic::{catch_unwind, AssertUnwindSafe};

const NAME: &str = "chat_template";

/// A string handed to C++, owned by this side until `commissure_text_free`.
#[repr(C)]
pub struct Text {
    data: *mut c_char,
    size: usize,
}

impl Text {
    fn new(text: String) -> Text {
        let bytes = text.into_bytes().into_boxed_slice();
        let size = bytes.len();
        Text { data: Box::into_raw(bytes) as *mut c_char, size }
    }
}

/// A compiled template.
pub struct Template {
    environment: Environment<'static>,
}

/// # Safety
/// `data` points to `size` readable bytes.
unsafe fn str_from(data: *const c_char, size: usize) -> Result<String, String> {
    let bytes = if size == 0 { &[] } else { std::slice::from_raw_parts(data as *const u8, size) };
    String::from_utf8(bytes.to_vec()).map_err(|_| "the text is no valid UTF-8".to_string())
}

fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("the template engine failed".to_string()))
}

/// Compiles a template; on failure returns null and sets `error`.
///
/// # Safety
/// `data` points to `size` readable bytes, `error` to a writable `Text`.
#[no_mangle]
pub unsafe extern "C" fn commissure_template_compile(
    data: *const c_char,
    size: usize,
    error: *mut Text,
) -> *mut Template {
    let compiled = guarded(|| {
        let source = environment::without_generation_tags(&str_from(data, size)?);
        let mut environment = environment::make();
        environment.add_template_owned(NAME, source).map_err(|e| environment::describe(&e))?;
        Ok(Template { environment })
    });
    match compiled {
        Ok(template) => Box::into_raw(Box::new(template)),
        Err(message) => {
            *error = Text::new(message);
            std::ptr::null_mut()
        }
    }
}

/// Renders with the variables of a JSON object; returns whether `output` is the text (else an error message).
///
/// # Safety
/// `template` comes from `commissure_template_compile`; `json` points to `size` readable bytes, `output` to a
/// writable `Text`.
#[no_mangle]
pub unsafe extern "C" fn commissure_template_render(
    template: *const Template,
    json: *const c_char,
    size: usize,
    output: *mut Text,
) -> bool {
    let rendered = guarded(|| {
        let text = str_from(json, size)?;
        let variables: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| format!("the template's variables: {e}"))?;
        let compiled = (*template).environment.get_template(NAME).map_err(|e| environment::describe(&e))?;
        compiled.render(json::to_engine(&variables)).map_err(|e| environment::describe(&e))
    });
    let succeeded = rendered.is_ok();
    *output = Text::new(rendered.unwrap_or_else(|message| message));
    succeeded
}

/// # Safety
/// `template` comes from `commissure_template_compile` and is not used again.
#[no_mangle]
pub unsafe extern "C" fn commissure_template_free(template: *mut Template) {
    if !template.is_null() {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(template))));
    }
}

/// # Safety
/// `text` comes from this library and is not used again.
#[no_mangle]
pub unsafe extern "C" fn commissure_text_free(text: Text) {
    if !text.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(text.data as *mut u8, text.size)));
    }
}
