//! Which resource a path means: pure. Names go before variables, variables before greedy ones, part by part.
//!
//! Source: API Gateway Developer Guide, "API Gateway REST API resources" ("the most specific path").

use std::collections::HashMap;

/// A tree of path parts; leaves are numbers of resources.
#[derive(Debug, Default)]
pub struct Routes {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    resource: Option<usize>,
    names: HashMap<String, Node>,
    variable: Option<(String, Box<Node>)>,
    greedy: Option<(String, usize)>,
}

/// A resource and the path's variables, decoded.
pub type Found = (usize, Vec<(String, String)>);

impl Routes {
    pub fn add(&mut self, path: &str, resource: usize) {
        let mut node = &mut self.root;
        for part in parts(path) {
            let inner = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            match inner {
                Some(inner) => match inner.strip_suffix('+') {
                    Some(name) => {
                        node.greedy = Some((name.to_owned(), resource));
                        return;
                    }
                    None => {
                        node = &mut node.variable.get_or_insert_with(|| (inner.to_owned(), Box::default())).1
                    }
                },
                None => node = node.names.entry(part.to_owned()).or_default(),
            }
        }
        node.resource = Some(resource);
    }

    /// `path` as sent.
    pub fn find(&self, path: &str) -> Option<Found> {
        let decoded: Vec<String> = parts(path).map(crate::http::context::percent_decoded).collect();
        let mut variables = Vec::new();
        self.root.find(&decoded, &mut variables).map(|resource| (resource, variables))
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

impl Node {
    fn find(&self, parts: &[String], variables: &mut Vec<(String, String)>) -> Option<usize> {
        let Some((first, rest)) = parts.split_first() else { return self.resource };
        if let Some(found) = self.names.get(first).and_then(|node| node.find(rest, variables)) {
            return Some(found);
        }
        if let Some((name, node)) = &self.variable {
            let before = variables.len();
            variables.push((name.clone(), first.clone()));
            if let Some(found) = node.find(rest, variables) {
                return Some(found);
            }
            variables.truncate(before);
        }
        let (name, resource) = self.greedy.as_ref()?;
        variables.push((name.clone(), parts.join("/")));
        Some(*resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_resource_takes_a_path() {
        let paths = [
            "/",
            "/pets",
            "/pets/{id}",
            "/pets/new",
            "/pets/{id}/toys/{proxy+}",
            "/{proxy+}",
            "/files/{path+}",
        ];
        let mut routes = Routes::default();
        paths.iter().enumerate().for_each(|(at, path)| routes.add(path, at));
        let cases = [
            ("/", "/", vec![]),
            ("", "/", vec![]),
            ("/pets", "/pets", vec![]),
            ("/pets/", "/pets", vec![]),
            ("/pets/new", "/pets/new", vec![]),
            ("/pets/a%20b", "/pets/{id}", vec![("id", "a b")]),
            ("/pets/7/toys/x/y", "/pets/{id}/toys/{proxy+}", vec![("id", "7"), ("proxy", "x/y")]),
            ("/pets/7/toys", "/{proxy+}", vec![("proxy", "pets/7/toys")]),
            ("/files/a/b", "/files/{path+}", vec![("path", "a/b")]),
            ("/files", "/{proxy+}", vec![("proxy", "files")]),
        ];
        for (path, expected, variables) in cases {
            let (found, got) = routes.find(path).unwrap();
            let got: Vec<_> = got.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!((paths[found], got), (expected, variables), "{path}");
        }
        let mut few = Routes::default();
        few.add("/a/b", 0);
        assert!(few.find("/a").is_none() && few.find("/").is_none() && few.find("/a/b/c").is_none());
    }
}
