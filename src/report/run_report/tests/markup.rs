//! Markup, read strictly: a page or a picture that is not well-formed is a panic.

/// Well-formed markup, as far as these pages use it.
#[derive(Debug, Default)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    nodes: Vec<Node>,
}

#[derive(Debug)]
enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    /// Panics where XML would not be well-formed.
    pub fn parse(text: &str) -> Self {
        let mut open = vec![Element::default()];
        let mut rest = text.strip_prefix("<!DOCTYPE html>").unwrap_or(text);
        while let Some(start) = rest.find('<') {
            let parent = open.last_mut().unwrap();
            parent.nodes.push(Node::Text(unescaped(&rest[..start])));
            let end = start + closing(&rest[start..]);
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                let element = open.pop().unwrap();
                assert_eq!(element.name, name, "closed in the wrong order");
                open.last_mut().unwrap().nodes.push(Node::Element(element));
                continue;
            }
            let (tag, empty) = match tag.strip_suffix('/') {
                Some(tag) => (tag, true),
                None => (tag, false),
            };
            let element = Self::start(tag);
            match empty {
                true => open.last_mut().unwrap().nodes.push(Node::Element(element)),
                false => open.push(element),
            }
        }
        assert!(rest.trim().is_empty(), "text after the end");
        assert_eq!(
            open.len(),
            1,
            "<{}> is not closed",
            open.last().unwrap().name
        );
        open.remove(0)
    }

    fn start(tag: &str) -> Self {
        let (name, mut rest) = tag.split_once([' ', '\n']).unwrap_or((tag, ""));
        assert!(
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == ':'),
            "<{name}>"
        );
        let mut attributes: Vec<(String, String)> = Vec::new();
        while !rest.trim().is_empty() {
            let (key, value) = rest.split_once("=\"").expect(tag);
            let (value, after) = value.split_once('"').expect(tag);
            let key = key.trim().to_owned();
            assert!(
                attributes.iter().all(|(other, _)| *other != key),
                "twice {key}"
            );
            attributes.push((key, unescaped(value)));
            rest = after;
        }
        Element {
            name: name.to_owned(),
            attributes,
            nodes: Vec::new(),
        }
    }

    pub fn children(&self) -> impl Iterator<Item = &Element> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    pub fn everything(&self) -> Box<dyn Iterator<Item = &Element> + '_> {
        Box::new(
            self.children()
                .flat_map(|e| std::iter::once(e).chain(e.everything())),
        )
    }

    pub fn all(&self, name: &str) -> Vec<&Element> {
        self.everything().filter(|e| e.name == name).collect()
    }

    pub fn maybe(&self, attribute: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == attribute);
        found.map(|(_, value)| value.as_str())
    }

    pub fn attribute(&self, name: &str) -> &str {
        self.maybe(name).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        let nodes = self.nodes.iter().map(|node| match node {
            Node::Element(element) => element.text(),
            Node::Text(text) => text.clone(),
        });
        nodes.collect()
    }
}

/// Where a tag ends; attributes may hold anything but quotes and `<`.
fn closing(tag: &str) -> usize {
    let mut quoted = false;
    for (index, character) in tag.char_indices().skip(1) {
        match character {
            '"' => quoted = !quoted,
            '<' => panic!("`<` inside a tag: {}", &tag[..index]),
            '>' if !quoted => return index,
            _ => {}
        }
    }
    panic!("a tag does not end")
}

/// The characters that references stand for.
fn unescaped(text: &str) -> String {
    let allowed = |c: char| !c.is_control() || c == '\n' || c == '\t';
    assert!(text.chars().all(allowed), "a control character");
    let mut parts = text.split('&');
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(';').expect("a bare &");
        let references = [
            ("amp", "&"),
            ("lt", "<"),
            ("gt", ">"),
            ("quot", "\""),
            ("#39", "'"),
        ];
        let known = references.iter().find(|(known, _)| *known == name);
        result.push_str(known.expect(name).1);
        result.push_str(rest);
    }
    result
}

pub fn decode_base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("not base64"),
    };
    let digits: Vec<u32> = text
        .trim_end_matches('=')
        .bytes()
        .map(|byte| u32::from(value(byte)))
        .collect();
    let mut bytes = Vec::new();
    for chunk in digits.chunks(4) {
        let bits = chunk.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - chunk.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    bytes
}
