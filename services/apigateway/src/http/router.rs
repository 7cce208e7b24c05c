//! Which route a request takes: pure.
//!
//! Source: Developer Guide, "Create routes for HTTP APIs in API Gateway" ("Routing API requests"): a full match before a greedy one before
//! `$default`; the most specific of several.

use http::Method;

/// A route's key, taken apart.
#[derive(Debug)]
struct Entry {
    /// `None` for `ANY`.
    method: Option<Method>,
    segments: Vec<Segment>,
    /// Place in the definition.
    route: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    // In this order: the more specific first.
    Fixed(String),
    Variable(String),
    Greedy(String),
}

/// The routes of a stage, the most specific first.
#[derive(Debug, Default)]
pub struct Router {
    entries: Vec<Entry>,
    default: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Matched {
    pub route: usize,
    /// Names and values, as sent.
    pub parameters: Vec<(String, String)>,
}

impl Router {
    pub fn new<'k>(keys: impl Iterator<Item = &'k str>) -> Router {
        let mut router = Router::default();
        for (route, key) in keys.enumerate() {
            match key.split_once(' ') {
                Some((method, path)) => {
                    let method =
                        (method != "ANY").then(|| Method::from_bytes(method.as_bytes()).ok()).flatten();
                    let segments = path.strip_prefix('/').unwrap_or(path).split('/').map(segment).collect();
                    router.entries.push(Entry { method, segments, route });
                }
                None if key == "$default" => router.default = Some(route),
                None => {}
            }
        }
        router.entries.sort_by(|a, b| {
            let rank = |entry: &Entry| entry.segments.iter().map(rank).collect::<Vec<_>>();
            rank(a).cmp(&rank(b)).then_with(|| a.method.is_none().cmp(&b.method.is_none()))
        });
        router
    }

    /// The route for a method and a path as sent, which begins with `/`.
    pub fn find(&self, method: &Method, path: &str) -> Option<Matched> {
        let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        for entry in &self.entries {
            if entry.method.as_ref().is_some_and(|own| own != method) {
                continue;
            }
            if let Some(parameters) = matches(&entry.segments, &parts) {
                return Some(Matched { route: entry.route, parameters });
            }
        }
        self.default.map(|route| Matched { route, parameters: Vec::new() })
    }
}

fn segment(text: &str) -> Segment {
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => match name.strip_suffix('+') {
            Some(name) => Segment::Greedy(name.to_owned()),
            None => Segment::Variable(name.to_owned()),
        },
        None => Segment::Fixed(text.to_owned()),
    }
}

fn rank(segment: &Segment) -> u8 {
    match segment {
        Segment::Fixed(_) => 0,
        Segment::Variable(_) => 1,
        Segment::Greedy(_) => 2,
    }
}

fn matches(segments: &[Segment], parts: &[&str]) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    for (at, segment) in segments.iter().enumerate() {
        let part = *parts.get(at)?;
        match segment {
            Segment::Fixed(text) if text == part => {}
            Segment::Fixed(_) => return None,
            Segment::Variable(_) if part.is_empty() => return None,
            Segment::Variable(name) => parameters.push((name.clone(), part.to_owned())),
            Segment::Greedy(name) => {
                let rest = parts[at..].join("/");
                if rest.is_empty() {
                    return None;
                }
                parameters.push((name.clone(), rest));
                return Some(parameters);
            }
        }
    }
    (segments.len() == parts.len()).then_some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_route_is_taken() {
        let keys = [
            "$default",
            "ANY /{proxy+}",
            "GET /pets/{proxy+}",
            "GET /pets/{id}",
            "GET /pets/dog",
            "ANY /pets/dog",
            "POST /",
            "GET /pets/{id}/toys/{toy}",
        ];
        let router = Router::new(keys.iter().copied());
        let cases: [(&str, &str, &str, &[(&str, &str)]); 11] = [
            ("GET", "/pets/dog", "GET /pets/dog", &[]),
            ("PUT", "/pets/dog", "ANY /pets/dog", &[]),
            ("GET", "/pets/cat", "GET /pets/{id}", &[("id", "cat")]),
            ("GET", "/pets/cat/1", "GET /pets/{proxy+}", &[("proxy", "cat/1")]),
            ("GET", "/pets/cat/toys/ball", "GET /pets/{id}/toys/{toy}", &[("id", "cat"), ("toy", "ball")]),
            ("POST", "/pets/cat", "ANY /{proxy+}", &[("proxy", "pets/cat")]),
            ("GET", "/a%20b", "ANY /{proxy+}", &[("proxy", "a%20b")]),
            ("POST", "/", "POST /", &[]),
            ("GET", "/", "$default", &[]),
            ("GET", "/pets/", "ANY /{proxy+}", &[("proxy", "pets/")]),
            ("GET", "/pets", "ANY /{proxy+}", &[("proxy", "pets")]),
        ];
        for (method, path, expected, parameters) in cases {
            let found = router.find(&Method::from_bytes(method.as_bytes()).unwrap(), path).unwrap();
            assert_eq!(keys[found.route], expected, "{method} {path}");
            let parameters: Vec<_> =
                parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(found.parameters, parameters, "{method} {path}");
        }
        assert_eq!(Router::new(["GET /a"].into_iter()).find(&Method::GET, "/b"), None);
        assert_eq!(Router::new(["GET /a"].into_iter()).find(&Method::POST, "/a"), None);
    }
}
