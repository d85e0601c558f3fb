//! Layout of a row: columns in objects, where a name is a path.

/// Object of a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout(Vec<Node>);

#[derive(Clone, Debug)]
struct Node {
    name: String,
    /// Name as JSON, with the colon.
    json: String,
    value: Member,
}

#[derive(Clone, Debug)]
enum Member {
    /// Index of the column.
    Column(usize),
    Object(Layout),
}

impl Layout {
    /// Creates the layout of columns by name. A name such as `device.id` is a path, unless `device`
    /// is a column as well.
    pub(super) fn new(names: &[&str]) -> Self {
        let mut layout = Self::default();
        for (column, name) in names.iter().enumerate() {
            if is_path(name, names) {
                layout.insert(name, column);
            } else {
                layout.0.push(Node::new(name, Member::Column(column)));
            }
        }
        layout
    }

    fn insert(&mut self, path: &str, column: usize) {
        let Some((first, rest)) = path.split_once('.') else {
            self.0.push(Node::new(path, Member::Column(column)));
            return;
        };
        for node in &mut self.0 {
            if let (true, Member::Object(layout)) = (node.name == first, &mut node.value) {
                layout.insert(rest, column);
                return;
            }
        }
        let mut layout = Self::default();
        layout.insert(rest, column);
        self.0.push(Node::new(first, Member::Object(layout)));
    }

    /// Appends the object; `push` appends the value of a column.
    pub(super) fn write(&self, out: &mut Vec<u8>, push: &mut impl FnMut(usize, &mut Vec<u8>)) {
        out.push(b'{');
        for (index, node) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(node.json.as_bytes());
            match &node.value {
                Member::Column(column) => push(*column, out),
                Member::Object(layout) => layout.write(out, push),
            }
        }
        out.push(b'}');
    }
}

impl Node {
    fn new(name: &str, value: Member) -> Self {
        let json = format!("{}:", serde_json::Value::from(name));
        Self { name: name.to_owned(), json, value }
    }
}

/// Returns `true` for a name whose parts are names, and of which no beginning is a column.
fn is_path(name: &str, names: &[&str]) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it))
    };
    let mut beginnings = name.match_indices('.').map(|(at, _)| &name[..at]);
    name.split('.').all(is_plain) && !beginnings.any(|beginning| names.contains(&beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(names: &[&str]) -> String {
        let mut out = Vec::new();
        Layout::new(names).write(&mut out, &mut |column, out| {
            out.extend_from_slice(column.to_string().as_bytes());
        });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dotted_names_share_objects() {
        assert_eq!(
            written(&["device.id", "at", "device.os.name", "a\"b"]),
            r#"{"device":{"id":0,"os":{"name":2}},"at":1,"a\"b":3}"#
        );
    }

    #[test]
    fn name_that_is_no_path_stays_flat() {
        assert_eq!(
            written(&["Temp. (C)", "at.lat", "at", "x."]),
            r#"{"Temp. (C)":0,"at.lat":1,"at":2,"x.":3}"#
        );
    }
}
