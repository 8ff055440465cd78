//! The C header, printed: types and macros from a skeleton, numbers from `codes.rs`, layouts from the
//! structures, prototypes from the sources of the functions.

use crate::codes::{self, Constant};
use crate::ffi::types::{GUID, WSABUF, WSADATA, WSAMSG, WSAOVERLAPPED, WSATHREADID};
use std::fmt::Write;
use std::mem::offset_of;

const SKELETON: &str = include_str!("../include/hoptrail_winsock.h.in");
const SOURCES: &[&str] = &[
    include_str!("ffi/startup.rs"),
    include_str!("ffi/last_error.rs"),
    include_str!("ffi/sockets.rs"),
    include_str!("ffi/ioctl.rs"),
    include_str!("ffi/overlapped.rs"),
    include_str!("ffi/events.rs"),
    include_str!("ffi/ports.rs"),
    include_str!("ffi/messages.rs"),
    include_str!("ffi/threads.rs"),
    include_str!("ffi/options.rs"),
    include_str!("ffi/names.rs"),
];
/// Functions that stand behind a name of the system's have this before it.
const PREFIX: &str = "hoptrail_";
const GENERATED: &str = "Generated; docs/winsock.md says from what, and how.";
const WIDTH: usize = 100;

/// The text of `include/hoptrail_winsock.h`.
#[doc(hidden)]
#[must_use]
pub fn header() -> String {
    let functions: Vec<Function> = SOURCES.iter().flat_map(|text| functions(text)).collect();
    let mut text = SKELETON.replace("@GENERATED@", GENERATED);
    for (mark, table) in [
        ("@CONTROL_CODES@", codes::CONTROL_CODES),
        ("@OPTIONS@", codes::OPTIONS),
        ("@ERRORS@", codes::ERRORS),
        ("@WAITS@", codes::WAITS),
    ] {
        text = text.replace(mark, &numbers(table));
    }
    text = text.replace("@LAYOUTS@", &layouts());
    text =
        text.replace("@FUNCTIONS@", &functions.iter().map(Function::prototype).collect::<String>());
    text.replace(
        "@NAMES@",
        functions.iter().filter_map(Function::name_macro).collect::<String>().trim_end(),
    )
}

struct Function {
    comment: Vec<String>,
    name: String,
    parameters: Vec<(String, String)>,
    result: String,
}

impl Function {
    fn prototype(&self) -> String {
        let comment = self.comment.join("\n * ");
        let result = if self.result.is_empty() { "void" } else { &self.result };
        let parameters: Vec<String> =
            self.parameters.iter().map(|(name, kind)| format!("{kind} {name}")).collect();
        let start = format!("{result} WSAAPI {}(", self.name);
        let line = wrapped(&start, &parameters);
        format!("/* {comment} */\n{line}\n\n")
    }

    /// `#define bind(s, name, namelen) hoptrail_bind(s, name, namelen)`.
    fn name_macro(&self) -> Option<String> {
        let plain = self.name.strip_prefix(PREFIX)?;
        let names: Vec<&str> = self.parameters.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(", ");
        Some(format!("#define {plain}({names}) {}({names})\n", self.name))
    }
}

fn wrapped(start: &str, parameters: &[String]) -> String {
    if parameters.is_empty() {
        return format!("{start}void);");
    }
    let mut line = start.to_owned();
    let mut all = String::new();
    for (n, parameter) in parameters.iter().enumerate() {
        let end = if n + 1 == parameters.len() { ");" } else { ", " };
        if line.len() + parameter.len() + end.len() > WIDTH {
            let _ = writeln!(all, "{}", line.trim_end());
            line = " ".repeat(start.len().min(40));
        }
        line += parameter;
        line += end;
    }
    all + line.trim_end()
}

fn numbers(table: &[Constant]) -> String {
    let lines = table.iter().map(|c| format!("#define {} {}\n", c.name, c.text));
    lines.collect::<String>().trim_end().to_owned()
}

/// Every exported function of a source, with its comment.
fn functions(source: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let mut comment = Vec::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.trim().to_owned());
        } else if line == "#[unsafe(no_mangle)]" {
            let mut signature = String::new();
            while !signature.contains('{') {
                signature += lines.next().unwrap_or("{").trim();
            }
            found.extend(function(&signature, std::mem::take(&mut comment)));
        } else {
            comment.clear();
        }
    }
    found
}

/// `pub(super) extern "C" fn NAME(name: TYPE, ...) -> TYPE {`.
fn function(signature: &str, comment: Vec<String>) -> Option<Function> {
    let (name, rest) = signature.strip_prefix("pub(super) extern \"C\" fn ")?.split_once('(')?;
    let (parameters, rest) = rest.rsplit_once(')')?;
    let result = rest.trim_start_matches(" ->").trim_end_matches('{').trim();
    let parameters = parameters.split(',').filter_map(|p| p.split_once(':')).map(|(name, kind)| {
        let name = name.trim().trim_start_matches("r#").trim_start_matches('_');
        (name.to_owned(), kind.trim().to_owned())
    });
    Some(Function {
        comment,
        name: name.to_owned(),
        parameters: parameters.collect(),
        result: result.to_owned(),
    })
}

fn layouts() -> String {
    let facts = [
        ("sizeof(SOCKET)", size_of::<crate::ffi::types::SOCKET>()),
        ("sizeof(DWORD)", size_of::<crate::ffi::types::DWORD>()),
        ("sizeof(WSADATA)", size_of::<WSADATA>()),
        ("offsetof(WSADATA, szSystemStatus)", offset_of!(WSADATA, szSystemStatus)),
        ("sizeof(WSABUF)", size_of::<WSABUF>()),
        ("offsetof(WSABUF, buf)", offset_of!(WSABUF, buf)),
        ("sizeof(WSAMSG)", size_of::<WSAMSG>()),
        ("offsetof(WSAMSG, namelen)", offset_of!(WSAMSG, namelen)),
        ("offsetof(WSAMSG, lpBuffers)", offset_of!(WSAMSG, lpBuffers)),
        ("offsetof(WSAMSG, dwBufferCount)", offset_of!(WSAMSG, dwBufferCount)),
        ("offsetof(WSAMSG, Control)", offset_of!(WSAMSG, Control)),
        ("offsetof(WSAMSG, dwFlags)", offset_of!(WSAMSG, dwFlags)),
        ("sizeof(WSACMSGHDR)", size_of::<libc::cmsghdr>()),
        ("offsetof(WSACMSGHDR, cmsg_level)", offset_of!(libc::cmsghdr, cmsg_level)),
        ("offsetof(WSACMSGHDR, cmsg_type)", offset_of!(libc::cmsghdr, cmsg_type)),
        ("sizeof(WSAOVERLAPPED)", size_of::<WSAOVERLAPPED>()),
        ("offsetof(WSAOVERLAPPED, InternalHigh)", offset_of!(WSAOVERLAPPED, InternalHigh)),
        ("offsetof(WSAOVERLAPPED, hEvent)", offset_of!(WSAOVERLAPPED, hEvent)),
        ("sizeof(WSATHREADID)", size_of::<WSATHREADID>()),
        ("sizeof(GUID)", size_of::<GUID>()),
    ];
    let line =
        |(what, value): &(&str, usize)| format!("HOPTRAIL_WINSOCK_ASSERT({what} == {value});\n");
    facts.iter().map(line).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const COMMITTED: &str = "include/hoptrail_winsock.h";

    /// `HOPTRAIL_WRITE_HEADER=1 cargo test -p hoptrail-winsock header` writes it.
    #[test]
    fn header_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
        if std::env::var_os("HOPTRAIL_WRITE_HEADER").is_some() {
            std::fs::write(&path, header()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == header(),
            "{COMMITTED} is stale: HOPTRAIL_WRITE_HEADER=1 cargo test -p hoptrail-winsock header"
        );
    }

    #[test]
    fn every_exported_function_is_in_it() {
        let sources = SOURCES.concat();
        let exported = sources.matches("#[unsafe(no_mangle)]").count();
        let found: Vec<Function> = SOURCES.iter().flat_map(|text| functions(text)).collect();
        assert_eq!(found.len(), exported);
        assert!(found.iter().all(|f| !f.comment.is_empty()), "a function without a comment");
        let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ffi"));
        let of_files: usize = files
            .unwrap()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .map(|text| text.matches("\n#[unsafe(no_mangle)]\n").count())
            .sum();
        assert_eq!(of_files, exported, "a file is missing in SOURCES");
    }

    #[test]
    fn nothing_is_left_open() {
        assert!(!header().contains('@'), "a mark of the skeleton is left");
    }
}
