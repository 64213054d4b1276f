//! Finds groups of files that import each other.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Crate, Module, Segments};

/// The maximum number of re-exports that are followed, one after the other.
const DEPTH_MAX: usize = 8;

/// Returns the groups of files that import each other in a circle. Each group is sorted.
pub(crate) fn of(krate: &Crate) -> Vec<Vec<String>> {
    let edges = edges(krate);
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|file| (file.as_str(), reachable(&edges, file))).collect();
    let mut circles = BTreeSet::new();
    for (file, others) in &reach {
        let back = |other: &&&str| reach.get(**other).is_some_and(|from| from.contains(file));
        let mut circle: Vec<String> =
            others.iter().filter(back).map(|&other| other.to_owned()).collect();
        circle.sort();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// Returns the files that each file uses.
fn edges(krate: &Crate) -> BTreeMap<String, BTreeSet<String>> {
    let mut edges = BTreeMap::<String, BTreeSet<String>>::new();
    for (path, module) in &krate.modules {
        let used = edges.entry(module.file.clone()).or_default();
        for named in &module.paths {
            if let Some(found) = resolve(krate, path, named, DEPTH_MAX)
                && found.file != module.file
            {
                used.insert(found.file.clone());
            }
        }
    }
    edges
}

fn reachable<'a>(edges: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(file) = open.pop() {
        for next in edges.get(&file).into_iter().flatten() {
            if seen.insert(next.as_str()) {
                open.push(next.clone());
            }
        }
    }
    seen
}

/// Returns the module of this crate that defines the item at a path in the module `from`. Returns
/// `None` if the item belongs to another crate.
fn resolve<'a>(
    krate: &'a Crate,
    from: &Segments,
    named: &Segments,
    depth: usize,
) -> Option<&'a Module> {
    let mut at = from.clone();
    for (index, segment) in named.iter().enumerate() {
        match segment.as_str() {
            "crate" => at.clear(),
            "super" => drop(at.pop()),
            "self" => {}
            segment => {
                let child = [at.as_slice(), &[segment.to_owned()]].concat();
                let module = krate.modules.get(&at)?;
                if krate.modules.contains_key(&child) {
                    at = child;
                } else if let Some(import) = module.imports.get(segment) {
                    if depth == 0 || import.first() == Some(&segment.to_owned()) {
                        return None;
                    }
                    let full = [import.as_slice(), &named[index + 1..]].concat();
                    return resolve(krate, &at, &full, depth - 1);
                } else if index == 0 {
                    // The path names a local type or another crate.
                    return None;
                } else {
                    return Some(module);
                }
            }
        }
    }
    krate.modules.get(&at)
}
