//! Tables of documents that say what bytes mean, and the types that they are compared with.

/// Offset, size and name of a field.
pub type Field = (usize, usize, String);

/// The fields of a type, which are named in the order of the table.
#[macro_export]
macro_rules! fields {
    ($type:ident: $($name:ident)*) => {{
        // Exhaustive: a new field cannot stay out of the table.
        let _ = |$type { $($name: _),* }: $type| ();
        vec![$((
            ::std::mem::offset_of!($type, $name),
            $crate::layout::size_of_field(|value: &$type| &value.$name),
            stringify!($name).to_owned(),
        )),*]
    }};
}

/// Cells of the rows of the first table below a heading.
///
/// # Panics
/// When the document has no such heading.
#[must_use]
pub fn table<'d>(document: &'d str, heading: &str) -> Vec<Vec<&'d str>> {
    let start = document.find(&format!("# {heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    document[start..]
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// The fields that a table of offset, size, name and more tells: every byte of `bytes` exactly once.
///
/// # Panics
/// When it is no such table.
#[must_use]
pub fn documented(document: &str, heading: &str, bytes: usize) -> Vec<Field> {
    let number = |cell: &str| cell.parse().unwrap_or_else(|_| panic!("{heading}: {cell}"));
    let rows = table(document, heading);
    let fields: Vec<Field> =
        rows.iter().map(|row| (number(row[0]), number(row[1]), row[2].to_owned())).collect();
    let end = fields.iter().fold(0, |at, (offset, size, name)| {
        assert_eq!(at, *offset, "{heading}: {name}");
        offset + size
    });
    assert_eq!(end, bytes, "{heading}");
    fields
}

/// For [`fields!`](crate::fields).
#[must_use]
pub fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}
